"""Photos x models x blocks on one sheet: the paper's Figure 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from das_explain.cam.colours import overlay
from das_explain.errors import UsageError
from das_explain.figures.drawing import (
    COLUMN,
    DPI,
    GREY,
    HEAT,
    PAGE,
    SMALL,
    TEXT,
    draw_box,
    region_keys,
    show_photo,
)
from das_explain.figures.lettering import fit, inches, plain

NARROWEST = 0.36  # inches of a map in which an object can be told, and under which its score fits
EDGE, GAP, PART = 0.04, 0.03, 0.1  # inches: around the sheet, between maps, between blocks
LINE = 0.115
SCORE = "sfd "  # before a score in a caption, where there is room
KEY = 0.26  # of the colour bar and what the lines mean, at the bottom


@dataclass(frozen=True)
class View:
    """What a model's block sees in a photo: its own frame uint8 (H, W, 3), ``mask`` bool (H, W) or ``None``, ``cam`` float
    (h, w) in [0, 1] or ``None``, ``box`` B, xyxy exclusive, and ``caption``: the score, or why there is none."""

    frame: np.ndarray
    mask: np.ndarray | None = None
    cam: np.ndarray | None = None
    box: tuple[float, float, float, float] | None = None
    caption: str = ""


@dataclass(frozen=True)
class GridRow:
    """One photo, what stands under it, and its views by block and model."""

    frame: np.ndarray
    mask: np.ndarray | None
    caption: str
    views: Mapping[tuple[str, str], View] = field(default_factory=dict)


def grid_figure(
    rows: Sequence[GridRow],
    columns: Mapping[str, Sequence[str]],
    *,
    width: float | None = None,
    colours: Colormap = HEAT,
) -> Figure:
    """Photos, a line each, and the maps of models beside one another, block by block.

    ``columns``: block -> the models that have it, both in the order to show. R is outlined, B dashed, the score stands
    under each map. ``width`` in inches; a column of a paper for up to four maps, else its page. Raises `UsageError`
    where the maps would be narrower than 0.36 inches.
    """
    count = sum(map(len, columns.values()))
    if not rows or not count:
        raise UsageError("a grid needs at least one photo and one model's maps")
    page = width or (COLUMN if count <= 4 else PAGE)
    cell = (page - 2 * EDGE - len(columns) * PART - (count - len(columns)) * GAP) / (count + 1)
    if cell < NARROWEST:
        raise UsageError(
            f"{count} maps beside a photo have {max(0.0, cell):.2f} inches each in {page:g}: choose --width {PAGE}, or "
            "fewer --blocks"
        )
    weight = min(1.0, cell)  # of lines: thinner in small maps
    tall = [cell * _aspect([row.frame, *(view.frame for view in row.views.values())]) for row in rows]
    head = EDGE + 2 * LINE + 0.02
    total = head + sum(tall) + len(rows) * (LINE + 0.05) + KEY
    figure = Figure(figsize=(page, total), dpi=DPI)

    def axes(x: float, top: float, high: float) -> Axes:
        return figure.add_axes((x / page, 1 - (top + high) / total, cell / page, high / total))

    def write(x: float, top: float, room: float, text: str, size: float = SMALL, weight="normal", **style) -> None:
        text = fit(text, room, size, weight)
        figure.text((x + room / 2) / page, 1 - top / total, text, size=size, weight=weight, ha="center", va="top",
                    **plain(), **style)  # fmt: skip

    places = _places(columns, cell)
    for block, models in columns.items():
        start, end = places[block, models[0]], places[block, models[-1]] + cell
        write(start, EDGE, end - start, block, TEXT, "bold")
        for model in models:
            write(places[block, model], EDGE + LINE, cell, model)
    top = head
    for row, high in zip(rows, tall, strict=True):
        show_photo(axes(EDGE, top, high), row.frame, row.mask, weight)
        write(EDGE, top + high + 0.02, cell, row.caption)
        for place, x in places.items():
            if (view := row.views.get(place)) is not None:
                _draw(axes(x, top, high), view, colours, weight)
                caption = view.caption if inches(view.caption, SMALL) <= cell else view.caption.removeprefix(SCORE)
                write(x, top + high + 0.02, cell, caption, color=GREY if view.cam is None else "black")
        top += high + LINE + 0.05
    _draw_key(figure, rows, colours)
    return figure


def _aspect(frames: Sequence[np.ndarray]) -> float:
    return max(min(frame.shape[0] / frame.shape[1], 1.8) for frame in frames)


def _places(columns: Mapping[str, Sequence[str]], cell: float) -> dict[tuple[str, str], float]:
    """How far from the left each map begins, in inches."""
    places, x = {}, EDGE + cell
    for block, models in columns.items():
        x += PART
        for number, model in enumerate(models):
            x += GAP if number else 0
            places[block, model] = x
            x += cell
    return places


def _draw(panel: Axes, view: View, colours: Colormap, weight: float) -> None:
    drawable = view.cam is not None and bool(np.isfinite(view.cam).all())
    table = np.rint(255 * colours(np.arange(256))[:, :3]).astype(np.uint8)
    pixels = overlay(view.frame, view.cam, colours=table) if drawable else view.frame // 3 + 160
    show_photo(panel, pixels, view.mask, weight)
    if view.box is not None and np.isfinite(view.box).all():
        draw_box(panel, view.box, weight)


def _draw_key(figure: Figure, rows: Sequence[GridRow], colours: Colormap) -> None:
    """The colour bar at the bottom right, the lines' meaning at its left."""
    page, total = figure.get_size_inches()
    long, right = min(1.0, 0.25 * page), 0.12
    bar = figure.add_axes(((page - long - right) / page, 0.17 / total, long / page, 0.05 / total))
    scale = figure.colorbar(ScalarMappable(cmap=colours), cax=bar, orientation="horizontal", ticks=[0, 0.5, 1])
    scale.ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    scale.ax.tick_params(length=1.5, width=0.4, pad=1, labelsize=SMALL)
    scale.outline.set_linewidth(0.4)
    views = [view for row in rows for view in row.views.values()]
    outlined = any(row.mask is not None and row.mask.any() for row in rows)
    keys = region_keys(outlined, any(view.box is not None for view in views))
    room = page - long - right - 0.08
    meaning = "weight of the map"
    figure.text(room / page, 0.2 / total, meaning, size=SMALL, ha="right", va="center")
    if keys:
        look = {"frameon": False, "borderpad": 0, "borderaxespad": 0, "handlelength": 1.9, "handletextpad": 0.4}
        side = room - inches(meaning, SMALL) - 0.1 > 1.6
        figure.legend(
            keys.values(),
            keys,
            loc="center left",
            bbox_to_anchor=(EDGE / page, 0.2 / total if side else 0.07 / total),
            ncols=2,
            fontsize=SMALL,
            columnspacing=0.8,
            **look,
        )
