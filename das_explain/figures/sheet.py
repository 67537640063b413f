"""A photo and what models look at in it, block by block: the paper's Figure 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from das_explain.cam.colours import overlay
from das_explain.errors import UsageError
from das_explain.figures.drawing import (
    CLEAR,
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
from das_explain.figures.lettering import fit, inches, plain, two_lines

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class HeatmapRow:
    """One model's maps of one image, one row of `heatmap_figure`.

    ``cams`` maps block names, in the order to show, to float maps (h, w) in [0, 1] over the whole frame, or ``None``
    where there is none; ``sfd`` gives their scores and ``status`` the reason where a score is ``None``. ``confidence``
    is in [0, 1]. ``target`` is the class the maps explain, told when it is not the predicted one. ``photo`` uint8
    (H, W, 3) and ``mask`` bool (H, W) are the model's own view, where it is not the one that the figure begins with.
    """

    model: str
    cams: Mapping[str, np.ndarray | None]
    sfd: Mapping[str, float | None] = field(default_factory=dict)
    predicted: str | None = None
    confidence: float | None = None
    target: str | None = None
    status: Mapping[str, str] = field(default_factory=dict)
    photo: np.ndarray | None = None
    mask: np.ndarray | None = None


def heatmap_figure(
    photo: np.ndarray,
    rows: Sequence[HeatmapRow],
    label: str | None = None,
    mask: np.ndarray | None = None,
    boxes: Mapping[str, Mapping[str, Box]] | None = None,
) -> Figure:
    """A photo and, row by row, what each model looks at in it, block by block (the paper's Figure 4).

    ``photo`` uint8 (H, W, 3); ``mask`` bool (H, W) is region R, drawn as an outline; ``boxes[model][block]`` is region
    B, xyxy in pixels of the photo, exclusive, drawn dashed. One paper column wide for up to two blocks, else two.
    Where a row has a photo and mask of its own, its maps and boxes are drawn on those, and every row begins with its
    photo.
    """
    if not rows:
        raise UsageError("a heatmap figure needs at least one model's maps")
    boxes = boxes or {}
    views = [(photo, mask) if row.photo is None else (row.photo, row.mask) for row in rows]
    views = [(seen, None if region is None else np.asarray(region, dtype=bool)) for seen, region in views]
    columns = max(1, *(len(row.cams) for row in rows))
    page = COLUMN if columns <= 2 else PAGE
    edge, gap, bar, line = 0.05, 0.07, 0.44, 0.125  # inches
    cell = (page - 2 * edge - bar - columns * gap) / (columns + 1)
    # As high as its frame, but never too low for the text that may stand in it.
    talls = [max(line, cell * min(seen.shape[0] / seen.shape[1], 1.8)) for seen, _ in views]
    steps = [2 * line + tall + 1.8 * line for tall in talls]  # heading of two lines, maps, captions
    meaning = "weight of the map"
    high = max(sum(steps) - 3.8 * line, inches(meaning, SMALL))  # of the colour bar; its label is as long
    total = max(sum(steps) + edge, high + 2 * edge)
    figure = Figure(figsize=(page, total), dpi=DPI)

    def axes(x: float, top: float, wide: float, tall: float) -> Axes:
        return figure.add_axes((x / page, 1 - (top + tall) / total, wide / page, tall / total))

    def write(x: float, top: float, room: float, text: str, size: float = TEXT, weight="normal", **style) -> None:
        text = fit(text, room, size, weight)
        figure.text(x / page, 1 - top / total, text, size=size, weight=weight, va="top", **plain(), **style)

    for number, text in enumerate(two_lines("photo" if label is None else label, cell, TEXT, "bold")):
        write(edge, edge + number * line, cell, text, weight="bold")
    keys = region_keys(any(mask is not None and mask.any() for _, mask in views), any(boxes.values()))
    looks = {
        "frameon": False,
        "borderpad": 0.3,
        "borderaxespad": 0,
        "handlelength": 1.9,
        "handletextpad": 0.5,
        "labelspacing": 0.25,
    }
    every_photo = any(row.photo is not None for row in rows)
    for index, (row, (photo, mask), tall) in enumerate(zip(rows, views, talls, strict=True)):
        top, left = edge + sum(steps[:index]), edge + cell + gap
        if index == 0 or every_photo:
            at = axes(edge, top + 2 * line, cell, tall)
            show_photo(at, photo, mask)
        if index == 0 and keys:
            at.legend(keys.values(), keys, loc="upper left", bbox_to_anchor=(0, 0), fontsize=SMALL, **looks)
        room = columns * cell + (columns - 1) * gap
        write(left, top, room, row.model, weight="bold")
        write(left, top + line, room, _prediction(row), SMALL, color=GREY)
        for column, (block, cam) in enumerate(row.cams.items()):
            x = left + column * (cell + gap)
            at = axes(x, top + 2 * line, cell, tall)
            drawable = cam is not None and bool(np.isfinite(np.asarray(cam)).all())
            show_photo(at, overlay(photo, cam) if drawable else photo // 3 + 160, mask)
            if not drawable:
                at.text(0.5, 0.5, "no map", transform=at.transAxes, ha="center", va="center", size=TEXT, **plain())
            box = boxes.get(row.model, {}).get(block)
            if box is not None and np.isfinite(box).all():
                draw_box(at, box)
            status = row.status.get(block, "ok")
            if row.sfd.get(block) is not None and status != "ok":
                at.text(0.03, 0.03, status, transform=at.transAxes, size=SMALL, path_effects=CLEAR, **plain())
            score = _score(row.sfd.get(block), status, known=mask is not None)
            room_block = cell - inches(score, TEXT) - (0.06 if score else 0)
            write(x, top + 2 * line + tall + 0.03, room_block, block, color=GREY)
            write(x + cell, top + 2 * line + tall + 0.03, cell, score, ha="right")
    at = axes(page - bar + 0.02, min(edge + 2 * line, total - edge - high), 0.07, high)  # beside the maps, or longer
    scale = figure.colorbar(ScalarMappable(cmap=HEAT), cax=at, ticks=[0, 0.5, 1])
    scale.ax.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    scale.ax.tick_params(length=2, pad=1.5, labelsize=SMALL)
    scale.outline.set_linewidth(0.4)
    scale.set_label(meaning, size=SMALL, labelpad=2)
    return figure


def _prediction(row: HeatmapRow) -> str:
    if row.predicted is None:
        return f"map of {row.target}" if row.target is not None else ""
    sure = "" if row.confidence is None or not np.isfinite(row.confidence) else f" {row.confidence:.0%}"
    other = f", map of {row.target}" if row.target not in (None, row.predicted) else ""
    return f"predicted{sure} {row.predicted}{other}"


def _score(sfd: float | None, status: str, known: bool) -> str:
    if sfd is not None and np.isfinite(sfd):
        return f"sfd {sfd:.2f}"
    return status if status != "ok" else "no sfd" if known else ""
