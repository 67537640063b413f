"""``das-explain gate`` as one call: photos and models in; figures, arrays and tables of their gates out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from das_explain.batches.load import Batch
from das_explain.batches.workers import killed_workers_told
from das_explain.data.dataset import Dataset
from das_explain.errors import UsageError
from das_explain.evidence.run import json_line, write_dicts
from das_explain.explain.evaluate import (
    Contestant,
    Options,
    Record,
    Scored,
    empty_rows,
    model_inputs,
    readable_positions,
    region_record,
    score_batch,
)
from das_explain.explain.pipeline import batches_for
from das_explain.figures import plots as figures
from das_explain.figures.heatmaps import unique_stem
from das_explain.gates.effects import (
    EFFECT_COLUMNS,
    SUMMARY_COLUMNS,
    VARIANTS,
    effect_rows,
    fixed_targets,
    summarize_effects,
    variants_of,
)
from das_explain.gates.figure import GateFigure, GatePanel, gate_figure
from das_explain.gates.look import GateView, describe, look
from das_explain.gates.places import (
    Points,
    cell_at,
    frame_to_photo,
    innermost,
    kernel_grid,
    kernel_places,
    photo_to_frame,
    rescale,
)
from das_explain.segment import Segmenter
from das_explain.types import Progress

ATTENTION_COLUMNS = (
    "image", "model", "gate", "channels", "height", "width", "a_mean", "a_min", "a_max", "a_sd_positions",
    "a_sd_channels", "passed_object", "passed_background", "offset_mean", "offset_max", "modulation_mean",
)  # fmt: skip


@dataclass(frozen=True)
class _Seen:
    """One model's gates on the readable images of a batch, and the scores of its variants."""

    contestant: Contestant
    views: dict[str, GateView]
    variants: list[Scored]


def study_gates(
    dataset: Dataset,
    segmenter: Segmenter | None,
    contestants: Sequence[Contestant],
    options: Options,
    out: Path,
    *,
    at: Sequence[tuple[float, float]] = (),
    drawn: int | None = None,
    batch: int = 8,
    workers: int | None = None,
    finding: Progress = lambda done, of: None,
    progress: Progress = lambda done, of: None,
) -> pd.DataFrame:
    """Writes to ``out``, per image and model, ``IMAGE[-MODEL]-gate.png``, ``.pdf`` and ``.npz``, and for all images
    ``gates.csv`` (``effects.effect_rows``), ``effects.csv`` (``effects.summarize_effects``) and ``attention.csv``
    (``look.describe``, of every image and gate); ``regions.jsonl`` tells how each region R was found.

    The ``.npz`` holds ``frame`` uint8 (H, W, 3), ``mask`` bool (H, W) where one is known, ``points`` (P, 2), and of each
    gate ``GATE/attention`` and ``GATE/passed``, with a deformable kernel also ``GATE/offset`` (K, 2, h, w), (dy, dx) in
    map pixels, ``GATE/modulation`` (K, h, w) and ``GATE/places`` (P, K, 2): where it looks at the points. Points and
    places are (x, y) in pixels of the photo.

    Args:
        at: the points, in pixels of the photo, the same for every photo. Default: one, the pixel deepest inside the
            object where a mask is known, else where the map of the last block is highest.
        drawn: figures and arrays of that many images, from the first on; the tables are of all. Default: of all.

    Returns:
        The summary, as in ``effects.csv``.

    Raises:
        UsageError: a model without gates, or a point that the network does not see.
    """
    variants = [variants_of(contestant, options) for contestant in contestants]
    out.mkdir(parents=True, exist_ok=True)
    effects: list[Record] = []
    described: list[Record] = []
    regions: list[Record] = []
    taken: set[str] = set()
    done = 0
    with killed_workers_told():
        batches = batches_for(
            contestants, dataset, dataset.samples, segmenter, batch_size=batch, workers=workers, finding=finding
        )
        for loaded in batches:
            readable = readable_positions(loaded)
            seen = [_see(group, loaded, readable, options) for group in variants] if readable else []
            for position, sample in enumerate(loaded.samples):
                regions.append(region_record(loaded, position))
                if position not in readable:
                    effects += _unreadable(contestants, loaded, position)
                    continue
                row = readable.index(position)
                for model in seen:
                    rows = effect_rows(model.variants, loaded, position, row)
                    effects += rows
                    described += _described(model, loaded, position, row)
                    if drawn is None or done + position < drawn:
                        points = _points(model, loaded, position, row, at)
                        suffix = f"-{_file_part(model.contestant.name)}" if len(seen) > 1 else ""
                        name = Path(sample.name).with_suffix("").as_posix() + suffix + "-gate.npz"
                        stem = out / unique_stem(name, taken)
                        figures.save(gate_figure(_shown(model, rows, loaded, position, row, points)), stem)
                        _save_arrays(stem, model, loaded, position, row, points)
            done += len(loaded)
            progress(done, len(dataset.samples))
    write_dicts(out / "gates.csv", EFFECT_COLUMNS, effects)
    write_dicts(out / "attention.csv", ATTENTION_COLUMNS, described)
    (out / "regions.jsonl").write_bytes(b"".join(map(json_line, regions)))
    summary = summarize_effects(pd.DataFrame(effects, columns=EFFECT_COLUMNS))
    records = summary.astype(object).where(summary.notna(), None).to_dict("records")
    write_dicts(out / "effects.csv", SUMMARY_COLUMNS, records)
    return summary


def _see(variants: list[Contestant], batch: Batch, readable: list[int], options: Options) -> _Seen:
    trained = variants[0]
    images, wanted = model_inputs(trained, batch, readable, options)
    logits, views = look(trained.model.network, images)
    views = {name: view.cpu() for name, view in views.items()}
    _, scored = score_batch(variants, batch, options, fixed_targets(wanted, logits))
    return _Seen(trained, views, scored)


def _unreadable(contestants: Sequence[Contestant], batch: Batch, position: int) -> Iterator[Record]:
    for record in empty_rows(contestants, batch, position):
        for variant in VARIANTS:
            yield {
                **dict.fromkeys(EFFECT_COLUMNS),
                **{k: v for k, v in record.items() if k in EFFECT_COLUMNS},
                "variant": variant,
            }


def _described(model: _Seen, batch: Batch, position: int, row: int) -> Iterator[Record]:
    mask = _mask(model, batch, position)
    for gate, view in model.views.items():
        numbers = describe(view, row, None if mask is None else torch.from_numpy(mask))
        rounded = {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in numbers.items()}
        yield {"image": batch.samples[position].name, "model": model.contestant.name, "gate": gate, **rounded}


def _mask(model: _Seen, batch: Batch, position: int) -> np.ndarray | None:
    """The object in the frame, bool (H, W), where there is one."""
    known = bool(batch.masks) and batch.statuses[position] == "ok"
    mask = batch.masks[model.contestant.geometry][position].numpy() if known else None
    return mask if mask is not None and mask.any() else None


def _points(model: _Seen, batch: Batch, position: int, row: int, at: Sequence[tuple[float, float]]) -> Points:
    """The places to look at, (P, 2) in pixels of the frame."""
    geometry, photo = model.contestant.model.preprocess.geometry, batch.sizes[position]
    height, width = geometry.size
    if at:
        points = photo_to_frame(np.array(at, dtype=float), geometry, photo)
        outside = ((points < -0.5) | (points > (width - 0.5, height - 0.5))).any(1)
        if outside.any():
            x0, y0, x1, y1 = geometry.box(*photo)
            x, y = at[int(outside.argmax())]
            raise UsageError(
                f"--at {x:g},{y:g} lies outside what {model.contestant.name} sees of {batch.samples[position].name}: "
                f"x {max(x0, 0):.0f} to {min(x1, photo[0]) - 1:.0f}, y {max(y0, 0):.0f} to {min(y1, photo[1]) - 1:.0f}"
            )
        return points
    if (mask := _mask(model, batch, position)) is not None:
        return innermost(mask)[None]
    cam = list(model.variants[0].explanation.cams.values())[-1].map[row].cpu().numpy()
    if not np.nan_to_num(cam).any():
        return np.array([[(width - 1) / 2, (height - 1) / 2]])
    y, x = np.unravel_index(int(np.nan_to_num(cam).argmax()), cam.shape)
    return np.array([[x, y]], dtype=float)


def _places(view: GateView, row: int, points: Points, frame: tuple[int, int]) -> tuple[Points, Points, np.ndarray]:
    """Of each point (P, K, 2) in pixels of the frame: the plain kernel's grid and the places; modulation (P, K)."""
    offset, modulation = view.offset[row].numpy(), view.modulation[row].numpy()
    cells = [cell_at(point, frame, view.size) for point in points]
    grid = np.stack([rescale(kernel_grid(len(offset), cell), view.size, frame) for cell in cells])
    places = np.stack([rescale(kernel_places(offset, cell), view.size, frame) for cell in cells])
    return grid, places, np.stack([modulation[:, y, x] for y, x in cells])


def _shown(model: _Seen, rows: Sequence[Record], batch: Batch, position: int, row: int, points: Points) -> GateFigure:
    contestant = model.contestant
    frame = batch.frames[contestant.geometry][position].permute(1, 2, 0).numpy()
    panels = []
    for name, view in model.views.items():
        about: dict = {"name": name, "passed": view.passed[row].numpy()}
        attention = view.attention[row].numpy()
        about |= {"weights": attention[:, 0, 0]} if view.per_channel else {"mean": attention.mean(0)}
        if view.offset is not None:
            about |= dict(zip(("grid", "places", "modulation"), _places(view, row, points, frame.shape[:2])))
        panels.append(GatePanel(**about))
    last = [record for record in rows if record["block"] == rows[-1]["block"]]
    told = f"predicted {last[0]['predicted']}, logit and probability of {last[0]['target']}"
    return GateFigure(
        photo=frame,
        model=contestant.name,
        about=told,
        gates=panels,
        points=points,
        label=batch.samples[position].label,
        mask=_mask(model, batch, position),
        effects=_effect_lines(last),
    )


def _effect_lines(rows: Sequence[Record]) -> list[tuple[str, ...]]:
    """The variants' logit, probability and sfd of the last block, as the figure tells them."""
    scored = any(record["sfd"] is not None for record in rows)
    lines: list[tuple[str, ...]] = [("gates", "logit", "prob.", *(("sfd",) if scored else ()))]
    for record in rows:
        sfd = "-" if record["sfd"] is None else f"{record['sfd']:.2f}"
        probability = "-" if record["probability"] is None else f"{record['probability']:.0%}"
        logit = "-" if record["logit"] is None else f"{record['logit']:.2f}"
        lines.append((record["variant"], logit, probability, *((sfd,) if scored else ())))
    lines += [(f"{record['variant']}: predicts {record['predicted']}",) for record in rows if record["changed"]]
    return [*lines, *([(f"sfd at {rows[0]['block']}",)] if scored else [])]


def _save_arrays(stem: Path, model: _Seen, batch: Batch, position: int, row: int, points: Points) -> None:
    contestant = model.contestant
    geometry, photo = contestant.model.preprocess.geometry, batch.sizes[position]
    arrays = {"frame": batch.frames[contestant.geometry][position].permute(1, 2, 0).numpy()}
    if (mask := _mask(model, batch, position)) is not None:
        arrays["mask"] = mask
    arrays["points"] = frame_to_photo(points, geometry, photo)
    for name, view in model.views.items():
        arrays[f"{name}/attention"] = view.attention[row].numpy()
        arrays[f"{name}/passed"] = view.passed[row].numpy()
        if view.offset is not None:
            arrays[f"{name}/offset"] = view.offset[row].numpy()
            arrays[f"{name}/modulation"] = view.modulation[row].numpy()
            _, places, _ = _places(view, row, points, geometry.size)
            arrays[f"{name}/places"] = frame_to_photo(places, geometry, photo)
    np.savez_compressed(stem.with_name(stem.name + ".npz"), **arrays)


def _file_part(name: str) -> str:
    """A model's name as a part of a file name."""
    return re.sub(r"[^\w.+=-]+", "_", name)
