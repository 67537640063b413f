"""The figure of one model's gates on one photo: their attention, where their kernels look, and what taking them away does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from das_explain.figures.drawing import COLOURS, COLUMN, DPI, PAGE, frame_panel, show_photo
from das_explain.figures.lettering import fit, inches, plain, two_lines

SMALL, TEXT = 6.0, 7.0  # points
GREY = "#666666"
MAP = "viridis"
POINTS = ("#E69F00", "#56B4E9", "#CC79A7", "#F0E442", "#D55E00", "#009E73")  # of Okabe and Ito's, those seen on photos
EDGE, GAP, BAR, LINE = 0.05, 0.09, 0.58, 0.125  # inches
FIRST = 1.25  # inches at least for the photo and the table under it
LINE_OF_GATES = 6  # at most
LARGEST = 32.0  # square points of a tap with the most modulation that there can be

_HALO = [withStroke(linewidth=1.6, foreground="black")]


@dataclass(frozen=True)
class GatePanel:
    """One gate: its ``mean`` attention over channels and ``passed`` (``look.GateView``), float (h, w).

    ``weights`` (C,) instead of ``mean`` where A knows no positions. ``grid`` and ``places`` (P, K, 2): where a kernel
    of K taps would look without offsets and where it looks, (x, y) in pixels of the frame, for P places, with
    ``modulation`` (P, K) in 0 to ``modulation_scale``; ``None`` without a deformable kernel.
    """

    name: str
    passed: np.ndarray
    mean: np.ndarray | None = None
    weights: np.ndarray | None = None
    grid: np.ndarray | None = None
    places: np.ndarray | None = None
    modulation: np.ndarray | None = None
    modulation_scale: float = 1.0


@dataclass(frozen=True)
class GateFigure:
    """What ``gate_figure`` draws. ``photo`` uint8 (H, W, 3), ``mask`` bool (H, W); ``points`` (P, 2) in its pixels.

    ``effects``: lines of a small table under the photo, cells as they are shown, the first line its heading.
    """

    photo: np.ndarray
    model: str
    about: str
    gates: Sequence[GatePanel]
    points: np.ndarray
    label: str | None = None
    mask: np.ndarray | None = None
    effects: Sequence[Sequence[str]] = field(default_factory=tuple)


def gate_figure(shown: GateFigure) -> Figure:
    """Columns: the photo, then the gates in forward order, at most six a line. Rows: mean A, A where the features are,
    and where the deformable kernels look at the points, with the mean length of their offsets in pixels of the frame.
    Each row of maps has one scale for all gates, with its true ends beside it.
    """
    lines = -(-len(shown.gates) // LINE_OF_GATES)
    columns = -(-len(shown.gates) // lines)
    height, width = shown.photo.shape[:2]
    page = COLUMN if columns == 1 else PAGE
    room = page - 2 * EDGE - BAR - columns * GAP
    first = max(FIRST, room / (columns + 1))
    cell = (room - first) / columns
    aspect = min(max(height / width, 0.4), 1.8)
    tall = cell * aspect
    deformable = any(gate.places is not None for gate in shown.gates)
    most = max((gate.modulation_scale for gate in shown.gates if gate.places is not None), default=1.0)
    kinds = 3 if deformable else 2
    step = LINE + kinds * (tall + LINE + 0.04) + 0.06
    under = 2 * LINE + first * aspect + 0.08 + (len(shown.effects) + 3.2) * LINE  # the first column's height
    total = max(EDGE + 2 * LINE + lines * step, under + EDGE)
    figure = Figure(figsize=(page, total), dpi=DPI)

    def axes(x: float, top: float, wide: float = cell, high: float = tall) -> Axes:
        return figure.add_axes((x / page, 1 - (top + high) / total, wide / page, high / total))

    def write(x: float, top: float, room: float, text: str, size: float = TEXT, **style) -> None:
        text = fit(text, room, size, style.get("weight", "normal"))
        figure.text(x / page, 1 - top / total, text, size=size, va="top", **plain(), **style)

    for number, text in enumerate(two_lines("photo" if shown.label is None else shown.label, first, TEXT, "bold")):
        write(EDGE, EDGE + number * LINE, first, text, weight="bold")
    left = EDGE + first + GAP
    across = columns * (cell + GAP) - GAP
    write(left, EDGE, across, shown.model, weight="bold")
    write(left, EDGE + LINE, across, shown.about, SMALL, color=GREY)
    at = axes(EDGE, EDGE + 2 * LINE, first, first * aspect)
    show_photo(at, shown.photo, shown.mask)
    _mark(at, shown.points)
    below = EDGE + 2 * LINE + first * aspect + 0.08
    _legend(figure, EDGE / page, 1 - below / total, shown, deformable)
    below += LINE * ((shown.mask is not None and bool(shown.mask.any())) + (2 if deformable else 0)) + 0.06
    for number, cells in enumerate(shown.effects):
        _table_line(write, cells, below + number * LINE, first, heading=number == 0)

    bar_x = left + columns * (cell + GAP) - GAP + 0.06
    for line in range(lines):
        gates = shown.gates[line * columns : (line + 1) * columns]
        top = EDGE + 2 * LINE + line * step
        for column, gate in enumerate(gates):
            write(left + column * (cell + GAP), top, cell, _heading(gate, cell), SMALL, weight="bold")
        for kind, values in enumerate(([g.mean for g in shown.gates], [g.passed for g in shown.gates])):
            title = ("A, channel mean", "A on the features")[kind]
            at_top = top + LINE + kind * (tall + LINE + 0.04)
            scale = _scale(values)
            for column, gate in enumerate(gates):
                x = left + column * (cell + GAP)
                at = axes(x, at_top)
                map_ = gate.mean if kind == 0 else gate.passed
                if map_ is None:
                    _draw_weights(at, gate.weights)
                else:
                    at.imshow(
                        map_,
                        cmap=MAP,
                        norm=scale,
                        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
                        interpolation="nearest",
                    )
                    frame_panel(at, height, width, shown.mask)
                write(x, at_top + tall + 0.02, cell, _span(map_, gate.weights), SMALL, color=GREY)
            if scale is not None:
                _bar(figure, axes(bar_x, at_top, 0.07, tall), scale, title)
        if deformable:
            at_top = top + LINE + 2 * (tall + LINE + 0.04)
            for column, gate in enumerate(gates):
                if gate.places is not None:
                    at = axes(left + column * (cell + GAP), at_top)
                    show_photo(at, shown.photo, None)
                    _draw_places(at, gate, shown.points, LARGEST / most)
                    length = np.linalg.norm(gate.places - gate.grid, axis=2).mean()
                    told = f"offsets {length:.1f} px"
                    write(left + column * (cell + GAP), at_top + tall + 0.02, cell, told, SMALL, color=GREY)
            _draw_sizes(axes(bar_x, at_top, 0.45, tall), most)
    return figure


def _scale(maps: Sequence[np.ndarray | None]) -> Normalize | None:
    values = [each for each in maps if each is not None]
    if not values:
        return None
    low, high = min(each.min() for each in values), max(each.max() for each in values)
    return Normalize(low, high) if high - low > 1e-6 else Normalize(low - 0.5e-3, high + 0.5e-3)


def _bar(figure: Figure, at: Axes, scale: Normalize, title: str) -> None:
    """A colour bar whose ends are the values that the colours end at."""
    bar = figure.colorbar(ScalarMappable(scale, MAP), cax=at)
    ends = np.array([scale.vmin, (scale.vmin + scale.vmax) / 2, scale.vmax])
    bar.ax.set_yticks(ends, _as_text(ends))
    bar.ax.tick_params(length=2, pad=1.5, labelsize=SMALL)
    bar.outline.set_linewidth(0.4)
    bar.set_label(title, size=SMALL, labelpad=2)


def _span(map_: np.ndarray | None, weights: np.ndarray | None) -> str:
    values = weights if map_ is None else map_
    return " to ".join(_as_text(np.array([values.min(), values.max()])))


def _as_text(values: np.ndarray) -> list[str]:
    """Rounded, with as many digits as it takes to tell them apart."""
    spread = float(np.ptp(values))
    digits = 2 if spread >= 0.05 else 3 if spread >= 0.005 else 4
    return [f"{value:.{digits}f}" for value in values]


def _heading(gate: GatePanel, room: float) -> str:
    """The gate's name, and its map's size if there is room for it."""
    full = f"{gate.name}  {gate.passed.shape[0]} \u00d7 {gate.passed.shape[1]}"
    return full if inches(full, SMALL, "bold") <= room else gate.name


def _draw_weights(at: Axes, weights: np.ndarray) -> None:
    """The weights of the channels, largest first."""
    at.plot(np.linspace(0, 1, len(weights)), np.sort(weights)[::-1], color=COLOURS[0], linewidth=0.9)
    low, high = min(0.0, float(weights.min())), max(1.0, float(weights.max()))
    at.text(0.95, 0.95, "A, channels\nsorted", transform=at.transAxes, size=SMALL, color=GREY, ha="right", va="top")
    at.set(xlim=(0, 1), ylim=(low, high), xticks=[], yticks=[])
    for end, y, side in ((low, 0.03, "bottom"), (high, 0.97, "top")):
        at.text(0.03, y, f"{end:g}", transform=at.transAxes, size=SMALL, color=GREY, va=side)
    for spine in at.spines.values():
        spine.set(linewidth=0.4, color=GREY)


def _mark(at: Axes, points: np.ndarray) -> None:
    for number, (x, y) in enumerate(points):
        colour = POINTS[number % len(POINTS)]
        at.plot([x], [y], marker="+", markersize=6, color=colour, markeredgewidth=1.1, path_effects=_HALO)
        if len(points) > 1:
            at.annotate(
                f"{number + 1}",
                (x, y),
                (3, 2),
                textcoords="offset points",
                size=SMALL,
                color=colour,
                path_effects=_HALO,
                annotation_clip=False,
                zorder=6,
            )


def _draw_places(at: Axes, gate: GatePanel, points: np.ndarray, size: float) -> None:
    """Rings where the plain kernel would look, lines to the dots where this one looks; what lies outside is cut off.

    ``size``: square points of a dot with modulation 1.
    """
    for number in range(len(points)):
        colour = POINTS[number % len(POINTS)]
        grid, places, modulation = gate.grid[number], gate.places[number], gate.modulation[number]
        for start, end in zip(grid, places, strict=True):
            at.plot(*zip(start, end), color="white", linewidth=0.6, path_effects=_HALO, solid_capstyle="round")
        at.scatter(*grid.T, s=5, facecolors="none", edgecolors="white", linewidths=0.5, zorder=3)
        at.scatter(*places.T, s=size * modulation, color=colour, edgecolors="black", linewidths=0.4, zorder=4)
    _mark(at, points)


def _draw_sizes(at: Axes, most: float) -> None:
    """How large a dot is for a quarter, half and all of the most modulation there can be, beside the row of places."""
    sizes = (most / 4, most / 2, most)
    heights = np.linspace(0.62, 0.86, len(sizes))
    at.scatter(
        [0.1] * len(sizes),
        heights,
        s=LARGEST / most * np.array(sizes),
        color=POINTS[0],
        edgecolors="black",
        linewidths=0.4,
        clip_on=False,
    )
    for size, y in zip(sizes, heights):
        at.text(0.32, y, f"{size:g}", size=SMALL, va="center")
    at.text(0.9, 0.74, "modulation", size=SMALL, va="center", ha="center", rotation=90)
    at.set(xlim=(0, 1), ylim=(0, 1))
    at.axis("off")


def _legend(figure: Figure, x: float, y: float, shown: GateFigure, deformable: bool) -> None:
    keys: dict[str, Line2D] = {}
    if shown.mask is not None and shown.mask.any():
        keys["R, object"] = Line2D([], [], color="white", linewidth=0.9, path_effects=_HALO)
    if deformable:
        ring = {"marker": "o", "linestyle": "none", "markerfacecolor": "white", "markeredgecolor": GREY}
        keys["taps, no offsets"] = Line2D([], [], markersize=2.5, markeredgewidth=0.5, **ring)
        dot = {"marker": "o", "linestyle": "none", "markeredgecolor": "black", "markeredgewidth": 0.4}
        keys["taps, with offsets"] = Line2D([], [], markersize=(LARGEST / 2) ** 0.5, markerfacecolor=POINTS[0], **dot)
    if keys:
        figure.legend(
            list(keys.values()),
            list(keys),
            loc="upper left",
            bbox_to_anchor=(x, y),
            fontsize=SMALL,
            frameon=False,
            borderpad=0,
            borderaxespad=0,
            handlelength=1.4,
            handletextpad=0.5,
            labelspacing=0.3,
        )


def _table_line(write, cells: Sequence[str], top: float, width: float, heading: bool) -> None:
    """The first cell at the left, the others right-aligned in equal columns."""
    first = 0.31 if len(cells) > 1 else 1.0
    style = {"weight": "bold"} if heading else {}
    write(EDGE, top, first * width, cells[0], SMALL, **style)
    room = (1 - first) * width / max(1, len(cells) - 1)
    for number, text in enumerate(cells[1:]):
        write(EDGE + first * width + (number + 1) * room, top, room, text, SMALL, ha="right", **style)
