"""``das-explain gate`` as one call: photos and models in; figures, arrays and tables of their gates out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from das_explain import figures
from das_explain.batches.workers import killed_workers_told
from das_explain.cam.maps import upsample
from das_explain.data.dataset import Dataset
from das_explain.errors import UsageError
from das_explain.evidence.tables import write_rows, write_table
from das_explain.explain.explainer import Explainer
from das_explain.figures.heatmaps import KINDS, unique_stem
from das_explain.files import json_line, replace_file, six_digits
from das_explain.folders import claim_files, inside
from das_explain.gates.effects import (
    EFFECT_COLUMNS,
    summarize_effects,
)
from das_explain.gates.figure import GateFigure, GatePanel, gate_figure
from das_explain.gates.look import GateView, describe
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
from das_explain.gates.seen import GatedModel, Record, Seen
from das_explain.scoring.options import ScoreOptions
from das_explain.segment import Segmenter
from das_explain.signals import Stopped
from das_explain.types import Progress, no_progress

TABLES = ("gates.csv", "attention.csv", "regions.jsonl", "effects.csv")
ATTENTION_COLUMNS = (
    "image", "model", "gate", "channels", "height", "width", "a_mean", "a_min", "a_max", "a_sd_positions",
    "a_sd_channels", "passed_object", "passed_background", "offset_mean", "offset_max", "modulation_mean",
)  # fmt: skip


def study_gates(
    dataset: Dataset,
    segmenter: Segmenter | None,
    explainer: Explainer,
    scoring: ScoreOptions,
    out: Path,
    *,
    at: Sequence[tuple[float, float]] = (),
    drawn: int | None = None,
    batch: int = 8,
    workers: int | None = None,
    finding: Progress = no_progress,
    progress: Progress = no_progress,
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
        UsageError: a model without gates, a point that the network does not see, or a file of such a name in ``out`` that
            is somebody's own.
    """
    models = [GatedModel(explainer, contestant, scoring) for contestant in explainer.contest.contestants]
    stems = _stems([sample.name for sample in dataset.samples[:drawn]], [model.contestant.name for model in models])
    claim_files(out, [*(f"{stem}.{kind}" for each in stems for stem in each for kind in KINDS), *TABLES])
    effects: list[pd.DataFrame] = []
    described: list[Record] = []
    regions: list[Record] = []
    done = 0
    try:
        with killed_workers_told():
            batches = explainer.batches(
                dataset.source, dataset.samples, segmenter, batch=batch, workers=workers, finding=finding
            )
            for loaded in batches:
                looks = [model.look(loaded) for model in models]
                seen, evidence = [each for each, _ in looks], looks[0][1]
                regions += [asdict(photo) for photo in evidence.photos]
                effects.append(_by_image([each.effects for each in seen], len(loaded)))
                for row, position in enumerate(evidence.shown):
                    for number, model in enumerate(seen):
                        described += _describe_gates(model, row)
                        if drawn is None or done + position < drawn:
                            points = _points(model, row, at)
                            stem = out / stems[done + position][number]
                            figures.save(gate_figure(_lay_out(model, row, points)), stem)
                            _save_arrays(stem, model, row, points)
                done += len(loaded)
                progress(done, len(dataset.samples))
    except Stopped:  # the figures so far keep their tables
        if effects:
            _write_tables(out, effects, described, regions)
        raise
    return _write_tables(out, effects, described, regions)


def _stems(images: Sequence[str], models: Sequence[str]) -> list[list[str]]:
    """Of each image a file name for each model, without its ending."""
    taken: set[str] = set()
    suffixes = [f"-{_file_part(model)}" if len(models) > 1 else "" for model in models]
    names = [[f"{Path(image).with_suffix('').as_posix()}{suffix}-gate.npz" for suffix in suffixes] for image in images]
    return [[unique_stem(name, taken) for name in each] for each in names]


def _write_tables(
    out: Path, effects: Sequence[pd.DataFrame], described: Sequence[Record], regions: Sequence[Record]
) -> pd.DataFrame:
    """Writes the four tables; the summary."""
    table = pd.concat(effects, ignore_index=True)
    summary = summarize_effects(table)
    gates, attention, found, changed = (inside(out, name) for name in TABLES)
    write_table(gates, table[list(EFFECT_COLUMNS)])
    write_rows(attention, ATTENTION_COLUMNS, described)
    replace_file(found, lambda part: part.write_bytes(b"".join(map(json_line, regions))))
    write_table(changed, summary)
    return summary


def _by_image(parts: Sequence[pd.DataFrame], images: int) -> pd.DataFrame:
    """Models' rows of the same images, image by image."""
    image = [np.repeat(np.arange(images), len(part) // images) for part in parts]
    return pd.concat(parts, ignore_index=True).iloc[np.argsort(np.concatenate(image), kind="stable")]


def _describe_gates(model: Seen, row: int) -> Iterator[Record]:
    mask = model.masks[row]
    for gate, view in model.views.items():
        numbers = describe(view, row, None if mask is None else torch.from_numpy(mask))
        rounded = {key: six_digits(value) if isinstance(value, float) else value for key, value in numbers.items()}
        yield {"image": model.photos[row].image, "model": model.contestant.name, "gate": gate, **rounded}


def _points(model: Seen, row: int, at: Sequence[tuple[float, float]]) -> Points:
    """The places to look at, (P, 2) in pixels of the frame."""
    geometry, photo = model.contestant.model.preprocess.geometry, (model.photos[row].width, model.photos[row].height)
    height, width = geometry.size
    if at:
        points = photo_to_frame(np.array(at, dtype=float), geometry, photo)
        outside = ((points < -0.5) | (points > (width - 0.5, height - 0.5))).any(1)
        if outside.any():
            x0, y0, x1, y1 = geometry.box(*photo)
            x, y = at[int(outside.argmax())]
            raise UsageError(
                f"--at {x:g},{y:g} lies outside what {model.contestant.name} sees of {model.photos[row].image}: "
                f"x {max(x0, 0):.0f} to {min(x1, photo[0]) - 1:.0f}, y {max(y0, 0):.0f} to {min(y1, photo[1]) - 1:.0f}"
            )
        return points
    if (mask := model.masks[row]) is not None:
        return innermost(mask)[None]
    cam = _last_map(model, row)
    if not cam.any():
        return np.array([[(width - 1) / 2, (height - 1) / 2]])
    y, x = np.unravel_index(int(cam.argmax()), cam.shape)
    return np.array([[x, y]], dtype=float)


def _last_map(model: Seen, row: int) -> np.ndarray:
    """The trained network's map of the last block on the frame, float32 (H, W); what is not finite is 0."""
    native = np.nan_to_num(model.last[row])
    size = model.contestant.model.preprocess.geometry.size
    return upsample(torch.from_numpy(native)[None], size)[0].numpy()


def _places(view: GateView, row: int, points: Points, frame: tuple[int, int]) -> tuple[Points, Points, np.ndarray]:
    """Of each point (P, K, 2) in pixels of the frame: the plain kernel's grid and the places; modulation (P, K)."""
    offset, modulation = view.offset[row].numpy(), view.modulation[row].numpy()
    cells = [cell_at(point, frame, view.size) for point in points]
    grid = np.stack([rescale(kernel_grid(len(offset), cell), view.size, frame) for cell in cells])
    places = np.stack([rescale(kernel_places(offset, cell), view.size, frame) for cell in cells])
    return grid, places, np.stack([modulation[:, y, x] for y, x in cells])


def _lay_out(model: Seen, row: int, points: Points) -> GateFigure:
    contestant, frame, rows = model.contestant, model.frames[row], model.records[row]
    panels = []
    for name, view in model.views.items():
        about: dict = {"name": name, "passed": view.passed[row].numpy()}
        attention = view.attention[row].numpy()
        about |= {"weights": attention[:, 0, 0]} if view.per_channel else {"mean": attention.mean(0)}
        if view.offset is not None:
            about |= dict(zip(("grid", "places", "modulation"), _places(view, row, points, frame.shape[:2])))
            about |= {"modulation_scale": view.modulation_scale}
        panels.append(GatePanel(**about))
    last = [record for record in rows if record["block"] == rows[-1]["block"]]
    told = f"predicted {last[0]['predicted']}, logit and probability of {last[0]['target']}"
    return GateFigure(
        photo=frame,
        model=contestant.name,
        about=told,
        gates=panels,
        points=points,
        label=model.photos[row].label,
        mask=model.masks[row],
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


def _save_arrays(stem: Path, model: Seen, row: int, points: Points) -> None:
    geometry, photo = model.contestant.model.preprocess.geometry, (model.photos[row].width, model.photos[row].height)
    arrays = {"frame": model.frames[row]}
    if (mask := model.masks[row]) is not None:
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
    replace_file(stem.with_name(stem.name + ".npz"), lambda part: np.savez_compressed(part, **arrays))


def _file_part(name: str) -> str:
    """A model's name as a part of a file name."""
    return re.sub(r"[^\w.+=-]+", "_", name)
