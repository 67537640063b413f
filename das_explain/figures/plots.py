"""Figures for a paper or a report: heatmaps over a photo in the manner of the paper's Figure 4, and sfd in plots.

Every function returns a `matplotlib.figure.Figure` of one or two paper columns' width (3.5 or 7.16 inches, text 6 to
8 points) and touches no pyplot state; `save` writes it as PNG (300 dpi) and PDF. Names from data (classes, models,
files) are shown as they are: no mathtext, control characters escaped, the middle of too long ones cut out.
Lines and points use the colour-blind-safe palette of Okabe and Ito; maps run from blue (0) to red (1).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from scipy.stats import gaussian_kde

from das_explain.cam import colours
from das_explain.cam.colours import overlay
from das_explain.errors import DasExplainError, UsageError
from das_explain.figures.lettering import fit, inches, plain, two_lines
from das_explain.stats import tables as stats
from das_explain.statuses import SCORED

COLUMN, PAGE = 3.5, 7.16  # inches: one column, two columns
DPI = 300
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P")
HEAT = ListedColormap(colours.HEAT / 255, "heat")
_SMALL, _TEXT, _TITLE = 6.0, 7.0, 8.0  # points
_GREY = "#666666"
_MANY = 1000  # points from which on they are drawn as pixels inside the vector file
_HALO = [withStroke(linewidth=1.8, foreground="black")]
_CLEAR = [withStroke(linewidth=1.5, foreground="white")]
_DASHES = (
    ("black", 1.8, "-"),
    ("white", 0.9, (0, (3, 2))),
)  # a dashed line that shows on any ground: colour, points, style

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
    high = max(sum(steps) - 3.8 * line, inches(meaning, _SMALL))  # of the colour bar; its label is as long
    total = max(sum(steps) + edge, high + 2 * edge)
    figure = Figure(figsize=(page, total), dpi=DPI)

    def axes(x: float, top: float, wide: float, tall: float) -> Axes:
        return figure.add_axes((x / page, 1 - (top + tall) / total, wide / page, tall / total))

    def write(x: float, top: float, room: float, text: str, size: float = _TEXT, weight="normal", **style) -> None:
        text = fit(text, room, size, weight)
        figure.text(x / page, 1 - top / total, text, size=size, weight=weight, va="top", **plain(), **style)

    for number, text in enumerate(two_lines("photo" if label is None else label, cell, _TEXT, "bold")):
        write(edge, edge + number * line, cell, text, weight="bold")
    outline = Line2D([], [], color="white", linewidth=0.9, path_effects=_HALO)
    dashes = tuple(Line2D([], [], color=colour, linewidth=width, linestyle=style) for colour, width, style in _DASHES)
    keys = {"R, object": outline} if any(mask is not None and mask.any() for _, mask in views) else {}
    keys |= {"B, scored region": dashes} if any(boxes.values()) else {}
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
            at.legend(keys.values(), keys, loc="upper left", bbox_to_anchor=(0, 0), fontsize=_SMALL, **looks)
        room = columns * cell + (columns - 1) * gap
        write(left, top, room, row.model, weight="bold")
        write(left, top + line, room, _prediction(row), _SMALL, color=_GREY)
        for column, (block, cam) in enumerate(row.cams.items()):
            x = left + column * (cell + gap)
            at = axes(x, top + 2 * line, cell, tall)
            drawable = cam is not None and bool(np.isfinite(np.asarray(cam)).all())
            show_photo(at, overlay(photo, cam) if drawable else photo // 3 + 160, mask)
            if not drawable:
                at.text(0.5, 0.5, "no map", transform=at.transAxes, ha="center", va="center", size=_TEXT, **plain())
            box = boxes.get(row.model, {}).get(block)
            if box is not None and np.isfinite(box).all():
                _draw_box(at, box)
            status = row.status.get(block, "ok")
            if row.sfd.get(block) is not None and status != "ok":
                at.text(0.03, 0.03, status, transform=at.transAxes, size=_SMALL, path_effects=_CLEAR, **plain())
            score = _score(row.sfd.get(block), status, known=mask is not None)
            room_block = cell - inches(score, _TEXT) - (0.06 if score else 0)
            write(x, top + 2 * line + tall + 0.03, room_block, block, color=_GREY)
            write(x + cell, top + 2 * line + tall + 0.03, cell, score, ha="right")
    at = axes(page - bar + 0.02, min(edge + 2 * line, total - edge - high), 0.07, high)  # beside the maps, or longer
    scale = figure.colorbar(ScalarMappable(cmap=HEAT), cax=at, ticks=[0, 0.5, 1])
    scale.ax.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    scale.ax.tick_params(length=2, pad=1.5, labelsize=_SMALL)
    scale.outline.set_linewidth(0.4)
    scale.set_label(meaning, size=_SMALL, labelpad=2)
    return figure


def distribution_figure(scores: pd.DataFrame) -> Figure:
    """How sfd is distributed over the images: a panel per block, a line per model, from ``scores.csv``.

    Each scored image is a point, the hill above them their density; the diamond is the mean with its 95 % interval over
    images; the dashed line is 0.5.
    """
    summary = stats.summarize(scores)
    models, blocks = list(dict.fromkeys(summary["model"])), list(dict.fromkeys(summary["block"]))
    figure, panels = _panels(blocks, models, row_inches=0.44)
    scored = scores[scores["status"].isin(SCORED)].astype({"model": str, "block": str})
    for panel, block in zip(panels, blocks, strict=True):
        panel.axvline(0.5, color=_GREY, linewidth=0.6, linestyle="--", zorder=0)
        for y, model in enumerate(models):
            row = summary[(summary["model"] == model) & (summary["block"] == block)]
            if row.empty:
                continue
            mean, low, high, count = row.iloc[0][["mean_sfd", "ci_low", "ci_high", "n_scored"]]
            values = scored.loc[(scored["model"] == model) & (scored["block"] == block), "sfd"].to_numpy(dtype=float)
            colour = COLOURS[y % len(COLOURS)]
            jitter = np.random.default_rng(0).uniform(0.14, 0.32, len(values))
            panel.scatter(
                values,
                y + jitter,
                s=2,
                alpha=min(1, 0.25 + 20 / max(len(values), 1)),
                color=colour,
                linewidths=0,
                rasterized=len(values) > _MANY,
            )
            if len(values) >= 5 and np.ptp(values) > 1e-6:
                grid = np.linspace(values.min(), values.max(), 200)
                density = gaussian_kde(values)(grid)
                panel.fill_between(grid, y, y - 0.3 * density / density.max(), color=colour, alpha=0.35, linewidth=0)
            if count:
                panel.plot([low, high], [y + 0.05] * 2, color="black", linewidth=1.2)
                panel.plot([mean], [y + 0.05], marker="D", markersize=3, color="black", markerfacecolor="white")
            text = f"{mean:.2f} (n {count})" if count else "nothing scored"
            panel.text(0.99, y - 0.33, text, ha="right", va="bottom", size=_SMALL, path_effects=_CLEAR)
        panel.set_xlim(0, 1)
        panel.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        panel.set_xlabel("sfd", size=_TEXT, labelpad=1)
    return figure


def scatter_figure(scores: pd.DataFrame, model_a: str, model_b: str) -> Figure:
    """sfd of two models image by image, a panel per block both have; above the diagonal ``model_b`` is higher.

    Above each panel: the mean difference b - a with its 95 % interval over images, n and the win rate of b.
    """
    for model in (model_a, model_b):
        if model not in set(scores["model"].astype(str)):
            raise UsageError(f"no model is called {model}: the run's models are {', '.join(scores['model'].unique())}")
    chosen = pd.concat([scores[scores["model"].astype(str) == model] for model in (model_a, model_b)])
    comparison = stats.compare(chosen)
    if comparison.empty:
        raise UsageError(f"{model_a} and {model_b} have no block of the same name to compare")
    lines, columns, page = _grid(len(comparison))
    left, right, gap, above, below = 0.42, 0.08, 0.16, 0.42, 0.34  # inches
    side = min(2.0, (page - left - right - (columns - 1) * gap) / columns)
    page = left + columns * side + (columns - 1) * gap + right
    total = lines * (side + above + below)
    figure = Figure(figsize=(page, total), dpi=DPI)
    for index, row in enumerate(comparison.itertuples()):
        line, column = divmod(index, columns)
        x, y = left + column * (side + gap), total - line * (side + above + below) - above - side
        panel = figure.add_axes((x / page, y / total, side / page, side / total))
        block = chosen[(chosen["block"].astype(str) == row.block) & chosen["status"].isin(SCORED)]
        wide = block.assign(model=block["model"].astype(str)).pivot(index="image", columns="model", values="sfd")
        pair = wide.reindex(columns=[model_a, model_b]).astype(float).dropna().to_numpy()
        panel.plot([0, 1], [0, 1], color=_GREY, linewidth=0.6, linestyle="--", zorder=0)
        panel.scatter(
            pair[:, 0],
            pair[:, 1],
            s=4,
            color=COLOURS[0],
            alpha=min(1, 0.3 + 20 / max(len(pair), 1)),
            linewidths=0,
            rasterized=len(pair) > _MANY,
        )
        panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        _tidy(panel)
        panel.set_yticks([0, 0.5, 1], ["0", "0.5", "1"] if column == 0 else [""] * 3)
        panel.set_xlabel(fit(f"sfd {model_a}", side, _TEXT), size=_TEXT, labelpad=1, **plain())
        if column == 0:
            panel.set_ylabel(fit(f"sfd {model_b}", side, _TEXT), size=_TEXT, labelpad=1, **plain())
        panel.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        interval = f" [{row.ci_low:+.3f}, {row.ci_high:+.3f}]" if np.isfinite(row.ci_low) else ""
        above_it = f"y \u2212 x {row.delta:+.3f}{interval}\nn {row.n}, y wins {row.win_rate:.0%}"
        panel.set_title(above_it if row.n else "no image scored\nfor both", size=_SMALL, pad=2)
        name = fit(row.block, side, _TEXT)
        figure.text((x + side / 2) / page, (y + side + 0.26) / total, name, size=_TEXT, ha="center", **plain())
    return figure


def lift_figure(lifts: pd.DataFrame) -> Figure:
    """Each model's mean sfd beside maps that know nothing of the image, a panel per block, from `lift_over_nulls`.

    The vertical bar is the model's mean; a marker is a null's mean, its whisker the 95 % interval of the paired
    difference, laid off from the model's mean. Where a whisker reaches the bar the two are not told apart.
    """
    models, blocks = list(dict.fromkeys(lifts["model"])), list(dict.fromkeys(lifts["block"]))
    nulls = list(dict.fromkeys(lifts["null"]))
    figure, panels = _panels(blocks, models, row_inches=0.16 + 0.13 * len(nulls), legend=True)
    offsets = np.linspace(-0.28, 0.28, len(nulls)) if len(nulls) > 1 else [0.0]
    reach = lifts[["mean", "mean_null"]].to_numpy(dtype=float)
    reach = reach[np.isfinite(reach)] if np.isfinite(reach).any() else np.array([0.0, 1.0])
    limits = max(0, np.floor(reach.min() * 10 - 0.5) / 10), min(1, np.ceil(reach.max() * 10 + 0.5) / 10)
    for panel, block in zip(panels, blocks, strict=True):
        panel.axvline(0.5, color=_GREY, linewidth=0.6, linestyle="--", zorder=0)
        for row in lifts[lifts["block"] == block].itertuples():
            kind = nulls.index(row.null)
            y = models.index(row.model) + offsets[kind]
            half = 0.28 / max(1, len(nulls) - 1)
            panel.plot([row.mean] * 2, [y - half, y + half], color="black", linewidth=1.4, solid_capstyle="butt")
            colour = COLOURS[kind % len(COLOURS)]
            panel.plot([row.mean_null, row.mean], [y, y], color=colour, linewidth=0.5, alpha=0.5)
            panel.plot([row.mean - row.ci_high, row.mean - row.ci_low], [y, y], color=colour, linewidth=1.2)
            panel.plot([row.mean_null], [y], marker=MARKERS[kind % len(MARKERS)], color=colour, markersize=3.5)
        panel.set_xlim(*limits)
        panel.xaxis.set_major_locator(MaxNLocator(4, prune="upper"))
        panel.set_xlabel("mean sfd", size=_TEXT, labelpad=1)
    keys = [Line2D([], [], color="black", linewidth=1.4, marker="|", linestyle="none", markersize=7, label="the model")]
    for kind, null in enumerate(nulls):
        keys.append(
            Line2D(
                [],
                [],
                color=COLOURS[kind % len(COLOURS)],
                marker=MARKERS[kind % len(MARKERS)],
                linewidth=1,
                markersize=3.5,
                label=fit(null, 1, _SMALL),
            )
        )
    legend = figure.legend(
        handles=keys,
        loc="lower center",
        ncols=len(keys),
        fontsize=_SMALL,
        frameon=False,
        borderaxespad=0.1,
        columnspacing=1,
        handlelength=1.5,
    )
    for text in legend.get_texts():
        text.set(**plain())
    return figure


def save(figure: Figure, stem: str | Path) -> list[Path]:
    """Write ``stem.png`` (300 dpi) and ``stem.pdf`` (vectors, embedded fonts, no time stamp); returns both paths."""
    stem = Path(stem)
    paths = [stem.with_name(stem.name + suffix) for suffix in (".png", ".pdf")]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"pdf.fonttype": 42}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box is drawn in its place
            figure.savefig(paths[0], dpi=DPI, pil_kwargs={"compress_level": 3})
            figure.savefig(paths[1], dpi=DPI, metadata={"CreationDate": None})
    except OSError as error:
        raise DasExplainError(
            f"cannot write the figure {stem}: {error.strerror or error}; choose another --out"
        ) from None
    return paths


def _panels(blocks: list[str], models: list[str], row_inches: float, legend: bool = False) -> tuple[Figure, list[Axes]]:
    """One panel per block, titled; models from top to bottom at y = 0, 1, ..., named at the left."""
    if not blocks:
        raise DasExplainError("there is nothing to draw: the table has no rows")
    lines, columns, page = _grid(len(blocks))
    names = [fit(model, 0.3 * COLUMN, _TEXT) for model in models]
    left = max(inches(name, _TEXT) for name in names) + 0.1
    right, gap, above, below = 0.1, 0.14, 0.2, 0.34
    wide = (page - left - right - (columns - 1) * gap) / columns
    high = row_inches * len(models)
    total = lines * (high + above + below) + (0.2 if legend else 0)
    figure, panels = Figure(figsize=(page, total), dpi=DPI), []
    for index, block in enumerate(blocks):
        line, column = divmod(index, columns)
        x, y = left + column * (wide + gap), total - line * (high + above + below) - above - high
        panel = figure.add_axes((x / page, y / total, wide / page, high / total))
        panel.set_title(fit(block, wide, _TEXT), size=_TEXT, pad=3, **plain())
        panel.set_ylim(len(models) - 0.5, -0.55)
        _tidy(panel)
        panel.tick_params(axis="y", length=0)
        panel.set_yticks(range(len(models)), names if column == 0 else [""] * len(names), size=_TEXT, **plain())
        panels.append(panel)
    return figure, panels


def _grid(panels: int) -> tuple[int, int, float]:
    """Lines and columns for so many panels, at most four a line, and the figure's width in inches."""
    lines = -(-panels // 4)
    columns = -(-panels // lines)
    return lines, columns, COLUMN if columns <= 2 else PAGE


def _tidy(panel: Axes) -> None:
    panel.tick_params(labelsize=_SMALL, length=2, width=0.5, pad=1.5)
    for side, spine in panel.spines.items():
        spine.set(linewidth=0.5, visible=side in ("left", "bottom"))


def show_photo(panel: Axes, pixels: np.ndarray, mask: np.ndarray | None) -> None:
    """A frame uint8 (H, W, 3) with the outline of a mask bool (H, W)."""
    height, width = pixels.shape[:2]
    panel.imshow(pixels, interpolation="lanczos" if max(height, width) < 400 else "antialiased")
    frame_panel(panel, height, width, mask)


def frame_panel(panel: Axes, height: int, width: int, mask: np.ndarray | None) -> None:
    """The axes of a frame of so many pixels, without ticks, and the outline of a mask bool (height, width) in it."""
    if mask is not None and mask.any():
        framed = np.pad(mask.astype(float), 1)  # so that an object at the frame's edge is outlined there, too
        lines = panel.contour(
            np.arange(-1, width + 1), np.arange(-1, height + 1), framed, levels=[0.5], colors="white", linewidths=0.9
        )
        lines.set_path_effects(_HALO)
    panel.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[], anchor="NW")
    for spine in panel.spines.values():
        spine.set_visible(False)


def _draw_box(panel: Axes, box: Box) -> None:
    """Dashed, and kept wholly inside the frame, whose edge would cut off half the line."""
    (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
    inset = 0.006 * max(right - left, bottom - top)
    x0, x1 = np.clip(np.array([box[0], box[2]]) - 0.5, left + inset, right - inset)
    y0, y1 = np.clip(np.array([box[1], box[3]]) - 0.5, top + inset, bottom - inset)
    for colour, width, style in _DASHES:
        panel.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, lw=width, linestyle=style))


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
