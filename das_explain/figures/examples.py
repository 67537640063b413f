"""Photos of a run for a sheet: those that are named, or a few that stand for all."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from PIL import Image

from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence.run import ALL, Run
from das_explain.evidence.tables import read_table
from das_explain.evidence.values import Evidence, Key
from das_explain.figures.drawing import HEAT
from das_explain.figures.grid import SCORE, GridRow, View, grid_figure
from das_explain.statuses import SCORED

COUNT = 6  # photos of a sheet, if no number is given
EDGES = ("b_x0", "b_y0", "b_x1", "b_y1")
SHOWN = ("image", "model", "block", *EDGES, "sfd", "status")  # of scores.csv


def draw_grid(
    run: Run,
    images: Sequence[str] = (),
    blocks: Sequence[str] = (),
    *,
    width: float | None = None,
    colours: Colormap = HEAT,
) -> Figure:
    """The maps of some photos by all models and ``blocks`` (none: all), from the run's evidence.

    ``images``: their names, or one whole number: so many, chosen as in `representative`. Raises `UsageError` for a
    photo or block that the run does not have, and for one that no model was shown.
    """
    columns = _columns(run, blocks)
    scores = read_table(run.folder / "scores.csv", only=SHOWN)
    names = _named(run, images) or representative(scores, columns, _count(images))
    return grid_figure(_rows(run, names, columns, scores), columns, width=width, colours=colours)


def representative(scores: pd.DataFrame, columns: dict[str, list[str]], count: int = COUNT) -> list[str]:
    """So many images, spread evenly over the ranks of what the run is about: in the last block with two models the
    difference of the first two, else the first model's sfd. Nobody has picked them, the extremes are not among them.

    Images in the order of that value, the greatest first.
    """
    scored = scores[scores["status"].isin(SCORED)].astype({"block": str, "model": str})
    block = [block for block, models in columns.items() if len(models) > 1 or len(columns) == 1] or list(columns)
    wide = scored[scored["block"] == block[-1]].pivot(index="image", columns="model", values="sfd")
    wide = wide.reindex(columns=columns[block[-1]][:2]).astype(float).dropna()
    value = wide.iloc[:, -1] - (wide.iloc[:, 0] if wide.shape[1] > 1 else 0)
    value = value.sort_values(ascending=False, kind="stable")
    if value.empty:
        raise UsageError("no image is scored for the models of a block: name photos with --images")
    count = min(count, len(value))
    places = ((np.arange(count) + 0.5) * len(value) / count).astype(int)
    return [str(name) for name in value.index[places]]


def _columns(run: Run, blocks: Sequence[str]) -> dict[str, list[str]]:
    """Block -> the models that have it."""
    columns: dict[str, list[str]] = {}
    for entry in run.manifest["models"]:
        for block in map(str, entry["blocks"]):
            columns.setdefault(block, []).append(str(entry["name"]))
    if unknown := [block for block in blocks if block not in columns]:
        raise UsageError(f"--blocks {unknown[0]}: the run's blocks are {', '.join(columns)}")
    return {block: columns[block] for block in blocks or columns}


def _named(run: Run, images: Sequence[str]) -> list[str]:
    known = set(run.sample)
    if len(images) == 1 and images[0] not in known and images[0].isdecimal():
        return []
    if unknown := [image for image in images if image not in known]:
        some = ", ".join(run.sample[:3])
        raise UsageError(f"--images {unknown[0]}: the run has no such image; the first of its {len(known)} are {some}")
    return list(images)


def _count(images: Sequence[str]) -> int:
    if images and not int(images[0]):
        raise UsageError("--images 0: a sheet needs a photo")
    return int(images[0]) if images else COUNT


def _rows(run: Run, names: Sequence[str], columns: dict[str, list[str]], scores: pd.DataFrame) -> list[GridRow]:
    wanted = scores[scores["image"].isin(list(names))].astype({"image": str, "model": str, "block": str})
    facts = {(row.image, row.block, row.model): row for row in wanted.itertuples()}
    found: dict[str, GridRow] = {}
    for evidence in run.evidence(ALL, _parts(run, names)):
        places = {evidence.photos[at].image: row for row, at in enumerate(evidence.shown)}
        for name in (name for name in names if name in places):
            views = {
                (key.block, key.model): _view(evidence, places[name], key, facts.get((name, key.block, key.model)))
                for key in evidence.maps
                if key.model in columns.get(key.block, ())
            }
            first = views[next((block, models[0]) for block, models in columns.items())]
            photo = evidence.photos[evidence.shown[places[name]]]
            found[name] = GridRow(first.frame, first.mask, photo.label or name, views)
    for name in names:
        if name not in found:
            raise DasExplainError(f"{name} has no maps: no model was shown it (see its status in scores.csv)")
    return [found[name] for name in names]


def _parts(run: Run, names: Iterable[str]) -> list[int]:
    """The parts of the evidence that hold these images."""
    at = {name: place for place, name in enumerate(run.sample)}
    return sorted({run.shards.number_of(at[name]) for name in names})


def _view(evidence: Evidence, row: int, key: Key, facts: Any) -> View:
    geometry = evidence.geometries[key.model]
    with Image.open(io.BytesIO(evidence.frames[geometry][row])) as image:
        frame = np.asarray(image.convert("RGB"))
    known = geometry in evidence.masks and evidence.masks[geometry][row].any()
    cam = evidence.maps[key].native[row]
    scored = facts is not None and facts.status in SCORED
    caption = "" if facts is None else f"{SCORE}{facts.sfd:.2f}" if scored else str(facts.status)
    return View(
        frame,
        evidence.masks[geometry][row] if known else None,
        cam if np.isfinite(cam).all() else None,
        tuple(float(getattr(facts, edge)) for edge in EDGES) if scored else None,
        caption,
    )
