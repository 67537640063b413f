"""Where two models differ: the paired difference within strata of the images."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from das_explain.errors import UsageError
from das_explain.figures.drawing import COLOURS, DPI, GREY, SMALL, TEXT, grid, tidy
from das_explain.figures.lettering import fit, inches, plain

FAMILIES = {"correct": "prediction", "area": "object's area", "centre": "object's place", "class": "class"}
MOST_CLASSES = 12  # those with the most images: a paper's figure has no room for a thousand
LINE = 0.135  # inches


def strata_figure(
    strata: pd.DataFrame, comparison: pd.DataFrame, model_a: str, model_b: str, *, width: float | None = None
) -> Figure:
    """The paired difference b - a within each stratum, a panel per block, from ``strata.csv`` and ``comparison.csv``.

    A point is a mean difference with its 95 % interval over images, at the right the number of images; it is filled
    where p, by Holm's correction within the family, is below 0.05. The first line is all images. Of more than twelve
    classes those with the most images are shown.
    """
    mine, overall = (
        table.astype(dict.fromkeys(("block", "model_a", "model_b"), str)).query("model_a == @a and model_b == @b")
        for a, b in [(model_a, model_b)]
        for table in (strata, comparison)
    )
    if mine.empty:
        raise UsageError(f"there are no strata of the difference between {model_a} and {model_b}")
    lines = _lines(mine)
    blocks = list(dict.fromkeys(mine["block"]))
    rows, columns, page = grid(len(blocks), width)
    left = min(0.33 * page, max(inches(text, SMALL, "bold" if head else "normal") for text, _, head in lines) + 0.16)
    gap, right, above, below, key = 0.34, 0.34, 0.22, 0.36, 0.24
    wide = (page - left - right - (columns - 1) * gap) / columns
    tall = LINE * len(lines)
    total = rows * (above + tall + below) + key
    figure = Figure(figsize=(page, total), dpi=DPI)
    for index, block in enumerate(blocks):
        row, column = divmod(index, columns)
        x, top = left + column * (wide + gap), total - row * (above + tall + below) - above
        panel = figure.add_axes((x / page, (top - tall) / total, wide / page, tall / total))
        panel.set_title(fit(block, wide, TEXT), size=TEXT, pad=3, **plain())
        panel.axvline(0, color=GREY, linewidth=0.6, linestyle="--", zorder=0)
        of_all = overall[overall["block"] == block].assign(family="", stratum="all images")
        _draw(panel, pd.concat([of_all, mine[mine["block"] == block]]), lines)
        tidy(panel)
        panel.tick_params(axis="y", length=0)
        panel.set_ylim(len(lines) - 0.5, -0.5)
        panel.set_yticks(range(len(lines)), [""] * len(lines))
        if column == 0:
            for y, (text, _, head) in enumerate(lines):
                _write(panel, 0, y, fit(text, left - 0.1, SMALL), "right", -3, weight="bold" if head else "normal")
        panel.set_xticks(_ticks(*panel.get_xlim(), most=max(2, int(wide / 0.38))))
        named = fit(f"{model_b} \u2212 {model_a}", wide + 0.2, TEXT)
        panel.set_xlabel(named, size=TEXT, labelpad=1, **plain())
    keys = [
        Line2D([], [], color=COLOURS[0], marker="o", markersize=3.5, linewidth=1, label="p < 0.05, adjusted"),
        Line2D([], [], color=COLOURS[0], marker="o", markersize=3.5, linewidth=1, markerfacecolor="white", label="not"),
    ]
    figure.legend(handles=keys, loc="lower center", ncols=2, fontsize=SMALL, frameon=False, borderaxespad=0.2)
    return figure


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round values within an axis that has zero, away from its ends, two at least: one alone would give no scale."""
    values = MaxNLocator(most, prune="both", min_n_ticks=1).tick_values(low, high)
    inside = [float(value) for value in values if low <= value <= high]
    if len(inside) > 1:
        return inside
    side = high if high >= -low else low
    power = 10.0 ** math.floor(math.log10(0.8 * abs(side)))
    return [0.0, math.copysign(next(each * power for each in (5, 2, 1) if each * power <= 0.8 * abs(side)), side)]


def _lines(strata: pd.DataFrame) -> list[tuple[str, tuple[str, str] | None, bool]]:
    """From top to bottom: the text, which family and stratum stand there, and whether it is a heading."""
    lines: list[tuple[str, tuple[str, str] | None, bool]] = [("all images", ("", "all images"), False)]
    for family, rows in strata.astype({"family": str, "stratum": str}).groupby("family", sort=False):
        names = list(dict.fromkeys(rows["stratum"]))
        heading = FAMILIES.get(str(family), str(family))
        if family == "class" and len(names) > MOST_CLASSES:
            largest = rows.groupby("stratum", sort=False)["n"].max().sort_values(ascending=False, kind="stable")
            heading += f", {MOST_CLASSES} of {len(names)}"
            names = [name for name in names if name in set(largest.index[:MOST_CLASSES])]
        lines.append((heading, None, True))
        lines += [(name, (str(family), name), False) for name in names]
    return lines


def _draw(panel: Axes, rows: pd.DataFrame, lines: list[tuple[str, tuple[str, str] | None, bool]]) -> None:
    found = {(str(row.family), str(row.stratum)): row for row in rows.itertuples()}
    for y, (_, at, _) in enumerate(lines):
        if at is None or at not in found:
            continue
        row = found[at]
        if np.isfinite(row.ci_low):
            panel.plot([row.ci_low, row.ci_high], [y, y], color=COLOURS[0], linewidth=1)
        sure = np.isfinite(row.p_adjusted) and row.p_adjusted < 0.05
        fill = COLOURS[0] if sure else "white"
        panel.plot([row.delta], [y], marker="o", markersize=3.5, color=COLOURS[0], markerfacecolor=fill)
        _write(panel, 1, y, f"{row.n}", "left", 2, color=GREY)


def _write(panel: Axes, x: float, y: float, text: str, side: str, points: float, **style: str) -> None:
    """A text beside the panel, ``points`` from its left (x = 0) or right (1) edge."""
    where = {"xycoords": panel.get_yaxis_transform(), "textcoords": "offset points"}
    panel.annotate(text, (x, y), (points, 0), ha=side, va="center", size=SMALL, **where, **style, **plain())
