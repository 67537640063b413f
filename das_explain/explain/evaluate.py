"""The loop that joins samples, models, maps and masks: batches in, one record per image out."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from das_explain.batches.load import Batch
from das_explain.cam.engine import Cam, Maps
from das_explain.cam.methods import explain_with
from das_explain.checkpoint.model import LoadedModel
from das_explain.measures.sfd import SFD, centre_map, sfd_score

Record = dict[str, Any]
Nulls = dict[str, dict[int, dict[str, Any]]]
"""null -> row among the readable images -> sfd and status."""


@dataclass(frozen=True)
class Options:
    """How maps are made and scored; everything here is part of a run's identity.

    ``target``: ``label`` explains the image's own class (its prediction, where the data has no labels),
    ``predicted`` each model's highest logit, anything else is the name of one class. ``box``: as ``sfd_score``'s, or ``shared``: one rectangle for all models of
    a block, around R and the salient pixels of every one of them.
    """

    method: str = "gradcam"
    target: str = "label"
    threshold: float = 0.3
    scaling: str = "antilog"
    box: str = "rect"
    precision: str = "fp32"


@dataclass
class Contestant:
    """A loaded model, ready to be scored: the network to run, the blocks to explain, class name -> logit."""

    model: LoadedModel
    network: nn.Module
    blocks: dict[str, nn.Module]
    logit: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def geometry(self) -> str:
        return self.model.preprocess.geometry.key

    def class_name(self, index: int) -> str:
        return self.model.labels[index] if self.model.labels else str(index)


@dataclass(frozen=True)
class Scored:
    """One model's maps of a batch and their scores, over the batch's readable images only."""

    contestant: Contestant
    explanation: Maps
    scores: dict[str, SFD]


def score_batch(
    contestants: Sequence[Contestant], batch: Batch, options: Options, targets: Tensor | None = None
) -> tuple[list[int], list[Scored]]:
    """One forward and one backward pass per model; also the positions in the batch of the images scored.

    ``targets``, int64, one for each readable image: the logits to explain, of every model; default: as ``options`` say.
    """
    readable = readable_positions(batch)
    if not readable:
        return readable, []
    explained = [(contestant, _explain(contestant, batch, readable, options, targets)) for contestant in contestants]
    scored = []
    for contestant, explanation in explained:
        scores = {}
        for block, cam in explanation.cams.items():
            others = [explanation.cams[block].map for _, explanation in explained if block in explanation.cams]
            scores[block] = _score(cam.map, batch, readable, contestant.geometry, options, others)
        scored.append(Scored(contestant, explanation, scores))
    return readable, scored


def evaluate(
    contestants: Sequence[Contestant], batches: Iterable[Batch], options: Options
) -> Iterator[tuple[list[Record], dict[str, bytes]]]:
    """Explains and scores batch after batch.

    Yields:
        Per batch the records of its images, in order, as the journal holds them (see ``store``), and the JPEG frames
        by file name. Memory does not grow with the number of images.
    """
    for batch in batches:
        records = [_blank(batch, position) for position in range(len(batch.samples))]
        readable, models = score_batch(contestants, batch, options)
        blind: dict[str, Nulls] = {}  # by geometry: they depend on the mask alone, not on model or block
        for scored in models:
            contestant = scored.contestant
            for block, cam in scored.explanation.cams.items():
                if contestant.geometry not in blind:
                    blind[contestant.geometry] = _blind_scores(cam.map, batch, readable, contestant.geometry, options)
                shuffled = _shuffled_scores(
                    cam.map, scored.scores[block], batch, readable, contestant.geometry, options
                )
                for row, position in enumerate(readable):
                    record, about = records[position], {"model": contestant.name, "block": block}
                    record["scores"].append(table_row(scored, block, row, batch, position))
                    if record["scores"][-1]["sfd"] is not None:
                        record["nulls"] += [
                            {"image": record["image"], **about, "null": null, **values[row]}
                            for null, values in (*shuffled.items(), *blind[contestant.geometry].items())
                        ]
                    record["maps"].setdefault(contestant.name, {})[block] = _pack_map(cam, row, contestant.geometry)
        for position in set(range(len(records))) - set(readable):
            records[position]["scores"] = empty_rows(contestants, batch, position)
        yield records, _frames(batch, readable)


def empty_rows(contestants: Sequence[Contestant], batch: Batch, position: int) -> list[Record]:
    """The rows of an image that no model could be shown."""
    sample, status = batch.samples[position], batch.statuses[position]
    return [_empty_row(c.name, block, sample.name, sample.label, status) for c in contestants for block in c.blocks]


def readable_positions(batch: Batch) -> list[int]:
    """The images of a batch that a network can be shown."""
    return [position for position, status in enumerate(batch.statuses) if status != "unreadable"]


def model_inputs(contestant: Contestant, batch: Batch, readable: list[int], options: Options) -> tuple[Tensor, Tensor]:
    """What the network is given, float32 (n, 3, H, W), and the logits to explain, int64 (n,), on its device.

    -1: no label, or none that this model knows; its prediction is explained instead (and said in the row).
    """
    device = next(contestant.network.parameters()).device
    frames = batch.frames[contestant.geometry][readable].to(device, non_blocking=True)
    # The layout that folded networks and GPUs are quickest on.
    images = contestant.model.preprocess.normalize(frames).contiguous(memory_format=torch.channels_last)
    wanted = [-1] * len(readable)
    if options.target == "label":
        wanted = [contestant.logit.get(batch.samples[position].label or "", -1) for position in readable]
    elif options.target != "predicted":
        wanted = [contestant.logit[options.target]] * len(readable)
    return images, torch.tensor(wanted, device=device)


def _explain(
    contestant: Contestant, batch: Batch, readable: list[int], options: Options, targets: Tensor | None
) -> Maps:
    images, wanted = model_inputs(contestant, batch, readable, options)
    targets = wanted if targets is None else targets
    device, bf16 = images.device, options.precision == "bf16"
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
        return explain_with(options.method, contestant.network, images, targets, contestant.blocks)


def _score(
    cam: Tensor, batch: Batch, readable: list[int], geometry: str, options: Options, others: Sequence[Tensor] = ()
) -> SFD:
    """Scores on the masks of ``readable``; with a shared box, B also holds what is salient in any of ``others``."""
    mask = batch.masks[geometry][readable].to(cam.device) if batch.masks else torch.zeros_like(cam, dtype=torch.bool)
    shared = None
    if options.box == "shared" and others:
        shared = torch.stack([other >= options.threshold for other in others]).any(0)
    box = "rect" if options.box == "shared" else options.box
    return sfd_score(cam, mask, threshold=options.threshold, scaling=options.scaling, box=box, shared=shared)


def _blind_scores(like: Tensor, batch: Batch, readable: list[int], geometry: str, options: Options) -> Nulls:
    """What maps that never saw a photo get on its mask; ``like`` gives their size and device."""
    height, width = like.shape[1:]
    candidates = {
        "centre": centre_map(height, width, device=like.device).expand(len(readable), -1, -1),
        "uniform": torch.ones_like(like),
    }
    rows = range(len(readable))
    return {null: _rows(_score(fake, batch, readable, geometry, options), rows) for null, fake in candidates.items()}


def _shuffled_scores(
    cam: Tensor, score: SFD, batch: Batch, readable: list[int], geometry: str, options: Options
) -> Nulls:
    """What the same model's map of another image of the batch gets (batches are drawn at random); needs two."""
    rows = [row for row, status in enumerate(score.status) if status in ("ok", "no_background")]
    if len(rows) < 2:
        return {}
    positions = [readable[row] for row in rows]
    return {"shuffled": _rows(_score(cam[rows].roll(1, 0), batch, positions, geometry, options), rows)}


def _rows(score: SFD, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    """row -> its sfd and status."""
    return {row: {"sfd": _number(score.sfd[i]), "status": score.status[i]} for i, row in enumerate(rows)}


def table_row(scored: Scored, block: str, row: int, batch: Batch, position: int) -> Record:
    """One line of scores.csv: the image at ``position`` of the batch, ``row`` of the scored ones.

    A map that is not finite is said before anything about the mask; logits that give no probabilities (NaN, infinity)
    claim no class.
    """
    contestant, explanation, score = scored.contestant, scored.explanation, scored.scores[block]
    sample, logits = batch.samples[position], explanation.logits[row]
    status = batch.statuses[position] if batch.masks else "no_mask"
    has_mask = status == "ok"
    known = sample.label in contestant.logit
    if status == "ok":
        unknown = sample.label is not None and bool(contestant.logit) and not known
        status = "unknown_label" if unknown else score.status[row]
    if score.status[row] == "nonfinite_cam":
        status = "nonfinite_cam"
    record = _empty_row(contestant.name, block, sample.name, sample.label, status)
    record["cam_max"] = _number(explanation.cams[block].raw_max[row])
    confidence, highest = logits.softmax(0).max(), int(logits.argmax())
    if not confidence.isnan():
        record |= {
            "target": contestant.class_name(int(explanation.target[row])),
            "predicted": contestant.class_name(highest),
            "confidence": _number(confidence),
            "correct": highest == contestant.logit[sample.label] if known else None,
        }
    if has_mask:
        record["r_area"] = _number(batch.masks[contestant.geometry][position].float().mean())
    if status in ("ok", "no_background"):
        record |= {"w_r": _number(score.w_r[row]), "w_n": _number(score.w_n[row]), "sfd": _number(score.sfd[row])}
        record |= dict(zip(("b_x0", "b_y0", "b_x1", "b_y1"), score.box[row].tolist(), strict=True))
    return record


def _empty_row(model: str, block: str, image: str, label: str | None, status: str) -> Record:
    numbers = ("target", "predicted", "confidence", "correct", "cam_max", "r_area")
    box_and_score = ("b_x0", "b_y0", "b_x1", "b_y1", "w_r", "w_n", "sfd")
    return {
        **{"image": image, "model": model, "block": block, "label": label},
        **dict.fromkeys((*numbers, *box_and_score)),
        "status": status,
    }


def region_record(batch: Batch, position: int) -> Record:
    """What is known of the image at ``position`` before any model has seen it: its status, and how R was found."""
    sample, (width, height) = batch.samples[position], batch.sizes[position]
    return {
        **{"index": sample.index, "image": sample.name, "label": sample.label, "status": batch.statuses[position]},
        **{"message": batch.messages[position], "width": width, "height": height},
        "region": batch.regions[position].detail,
    }


def _blank(batch: Batch, position: int) -> Record:
    record = region_record(batch, position)
    masks = {key: _pack_mask(masks[position]) for key, masks in batch.masks.items() if record["status"] == "ok"}
    frame = None if record["status"] == "unreadable" else _frame_name(record["index"])
    return {**record, "frame": frame, "mask": masks, "scores": [], "nulls": [], "maps": {}}


def _number(value: Tensor) -> float | None:
    """Six significant digits: what float32 carries, and the same on every run. NaN and infinity become None."""
    number = float(value)
    return float(f"{number:.6g}") if np.isfinite(number) else None


def _pack_map(cam: Cam, row: int, geometry: str) -> Record:
    native = torch.nan_to_num(cam.native[row]).cpu()
    height, width = native.shape
    data = (native * 255).round().clamp(0, 255).to(torch.uint8).numpy().tobytes()
    return {"h": height, "w": width, "data": base64.b64encode(data).decode(), "geometry": geometry}


def _pack_mask(mask: Tensor) -> str:
    buffer = io.BytesIO()
    Image.fromarray(mask.numpy()).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _frame_name(index: int, geometry: str | None = None) -> str:
    return f"frames/{index:06d}{'.' + geometry if geometry else ''}.jpg"


def _frames(batch: Batch, readable: list[int]) -> dict[str, bytes]:
    frames = {}
    for order, (geometry, images) in enumerate(batch.frames.items()):
        for position in readable:
            buffer = io.BytesIO()
            Image.fromarray(images[position].permute(1, 2, 0).numpy()).save(buffer, "JPEG", quality=88)
            frames[_frame_name(batch.samples[position].index, geometry if order else None)] = buffer.getvalue()
    return frames
