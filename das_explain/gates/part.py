"""The gates of a batch of photos, all models: the rows of the tables, and each photo's figures and arrays."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from das_explain import figures
from das_explain.batches.load import Batch
from das_explain.cam.maps import upsample
from das_explain.errors import UsageError
from das_explain.explain.explainer import Explainer
from das_explain.figures.heatmaps import unique_stem
from das_explain.files import replace_file, six_digits
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
from das_explain.types import Sample


@dataclass(frozen=True)
class Part:
    """What the tables hold of some photos: rows of gates.csv and attention.csv, and how each R was found."""

    effects: pd.DataFrame
    described: list[Record]
    regions: list[Record]

    @classmethod
    def joined(cls, parts: Sequence[Part]) -> Part:
        """One part of several."""
        effects = pd.concat([part.effects for part in parts], ignore_index=True)
        return cls(effects, [row for p in parts for row in p.described], [row for p in parts for row in p.regions])


def file_stems(samples: Sequence[Sample], models: Sequence[str], drawn: int | None) -> list[tuple[str, ...]]:
    """What the files of each photo are called, a name for each model; none from the photo ``drawn`` on. A photo that
    cannot be read has a name like the others, which do not depend on it."""
    taken: set[str] = set()
    suffixes = [f"-{_file_part(name)}" if len(models) > 1 else "" for name in models]
    return [
        tuple(
            unique_stem(Path(sample.name).with_suffix("").as_posix() + suffix + "-gate.npz", taken)
            for suffix in (suffixes if drawn is None or place < drawn else ())
        )
        for place, sample in enumerate(samples)
    ]


class Gates:
    """The gates of all models, ready to be looked at. Raises UsageError for a model without any.

    ``at``: places to show, in pixels of the photo.
    """

    def __init__(self, explainer: Explainer, scoring: ScoreOptions, at: Sequence[tuple[float, float]]) -> None:
        self.models = [GatedModel(explainer, contestant, scoring) for contestant in explainer.contest.contestants]
        self.at = at

    def part(self, loaded: Batch, stems: Sequence[Sequence[str]], out: Path) -> Part:
        """The rows of a batch; figures and arrays of its readable photos are written to ``out``, as ``stems`` say.

        Raises UsageError for a place that a network does not see.
        """
        looks = [model.look(loaded) for model in self.models]
        seen, evidence = [each for each, _ in looks], looks[0][1]
        described: list[Record] = []
        for row, position in enumerate(evidence.shown):
            for number, model in enumerate(seen):
                described += _describe_gates(model, row)
                if stems[position]:
                    points = _points(model, row, self.at)
                    stem = out / stems[position][number]
                    figures.save(gate_figure(_lay_out(model, row, points)), stem)
                    _save_arrays(stem, model, row, points)
        regions = [asdict(photo) for photo in evidence.photos]
        return Part(_by_image([each.effects for each in seen], len(loaded)), described, regions)


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
