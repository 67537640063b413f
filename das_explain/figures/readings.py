"""A specification curve: one difference in every reading of the measure (Simonsohn, Simmons and Nelson 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from das_explain.errors import UsageError
from das_explain.figures.drawing import COLOURS, DPI, GREY, SMALL, TEXT, grid, tidy
from das_explain.figures.lettering import fit, inches, plain
from das_explain.stats.sensitivity import CHOICES, DEFAULT_READING, sensitivity, specification_curve

NAMES = {"scaling": "{}", "threshold": "tau {}", "box": "B {}", "region": "R {}"}  # else the choice's own name
CURVE, ROW = 1.1, 0.1  # inches: the curve's height, and that of a line of choices
MARKS = 150  # an inch: a reading's mark is not thinner
CLEAR_ABOVE, CLEAR_BELOW, UNCLEAR = COLOURS[0], COLOURS[1], "#999999"


def readings_figure(
    readings: pd.DataFrame,
    model_a: str,
    model_b: str,
    *,
    default: Mapping[str, Any] = DEFAULT_READING,
    width: float | None = None,
) -> Figure:
    """The difference b - a in every reading, from the least to the greatest, a panel per block, from ``readings.csv``.

    Above, the line is the difference and the band its 95 % interval, coloured where that excludes zero; the diamond is
    the ``default`` reading, whose choices are printed bold. Below, a column is a reading, and a mark says which choices make it: where a line of marks is
    dense on one side, that choice decides the sign. Readings without a difference are left out.
    """
    table = readings.astype(dict.fromkeys(("block", "model_a", "model_b"), str))
    table = table[(table["model_a"] == model_a) & (table["model_b"] == model_b)]
    if not table["delta"].notna().any():
        raise UsageError(f"there are no readings of the difference between {model_a} and {model_b}")
    curve, counts = specification_curve(table, default), sensitivity(table, default).set_index("block")
    lines = [(name, value) for name in CHOICES for value in dict.fromkeys(table[name].astype(str))]
    labels = [NAMES.get(name, f"{name} {{}}").format(value) for name, value in lines]
    blocks = [block for block, mine in curve.groupby("block", sort=False) if mine["delta"].notna().any()]
    rows, columns, page = grid(len(blocks), width)
    left = max(0.5, max(inches(label, SMALL) for label in labels) + 0.1)
    gap, right, above, between, below, key = 0.36, 0.08, 0.54, 0.06, 0.06, 0.22
    wide = (page - left - right - (columns - 1) * gap) / columns
    marks = ROW * len(lines)
    high = above + CURVE + between + marks + below
    total = rows * high + key
    figure = Figure(figsize=(page, total), dpi=DPI)
    for index, block in enumerate(blocks):
        row, column = divmod(index, columns)
        x, top = left + column * (wide + gap), total - row * high - above
        mine = curve[(curve["block"] == block) & curve["delta"].notna()]
        panel = figure.add_axes((x / page, (top - CURVE) / total, wide / page, CURVE / total))
        _draw_curve(panel, mine)
        of = counts.loc[block]
        other = f"\nor, on the other side, {of.other_excludes_zero}" if of.other_excludes_zero else ""
        told = f"sign holds in {of.same_sign} of {of.readings},\nexcludes zero in {of.excludes_zero}{other}"
        panel.set_title(told, size=SMALL, pad=2)
        named = fit(block, wide, TEXT)
        figure.text((x + wide / 2) / page, (top + 0.36) / total, named, size=TEXT, ha="center", **plain())
        if column == 0:
            text = fit(f"{model_b} \u2212 {model_a}", CURVE + above, TEXT)
            at = (top - CURVE / 2) / total
            figure.text(0.03 / page, at, text, size=TEXT, rotation=90, va="center", **plain())
        panel = figure.add_axes((x / page, (top - CURVE - between - marks) / total, wide / page, marks / total))
        _draw_choices(panel, mine, lines)
        if column == 0:
            panel.set_yticks(range(len(lines)), labels, size=SMALL, **plain())
            for tick, (name, value) in zip(panel.yaxis.get_major_ticks(), lines, strict=True):
                tick.label1.set_fontweight("bold" if value == str(default[name]) else "normal")
    _draw_key(figure)
    return figure


def _draw_curve(panel: Axes, curve: pd.DataFrame) -> None:
    delta, low, high = (curve[name].to_numpy(dtype=float) for name in ("delta", "ci_low", "ci_high"))
    place = np.arange(len(curve))
    edges = np.append(place - 0.5, len(curve) - 0.5)
    clear = {UNCLEAR: (low <= 0) & (high >= 0), CLEAR_ABOVE: low > 0, CLEAR_BELOW: high < 0}
    for colour, chosen in clear.items():
        if chosen.any():
            ends = [np.where(chosen, each, np.nan) for each in (low, high)]
            ends = [np.append(each, each[-1]) for each in ends]
            panel.fill_between(edges, *ends, step="post", color=colour, alpha=0.4, linewidth=0)
    panel.axhline(0, color=GREY, linewidth=0.6, linestyle="--")
    panel.plot(place, delta, color="black", linewidth=1, drawstyle="steps-mid")
    for at in place[curve["default"].to_numpy(dtype=bool)]:
        panel.plot([at], [delta[at]], marker="D", markersize=4, color="black", markerfacecolor="white", zorder=5)
    panel.set_xlim(-0.5, len(curve) - 0.5)
    tidy(panel)
    panel.set_xticks([])
    panel.yaxis.set_major_locator(MaxNLocator(5, prune="both"))


def _draw_choices(panel: Axes, curve: pd.DataFrame, lines: list[tuple[str, str]]) -> None:
    """A line per choice: black where a reading makes it, grey where some of those that share a mark do."""
    texts = {name: curve[name].astype(str).to_numpy() for name in CHOICES}
    made = np.stack([texts[name] == value for name, value in lines])
    marks = min(len(curve), round(MARKS * panel.get_window_extent().width / DPI))
    starts = np.arange(marks) * len(curve) // marks
    shares = np.add.reduceat(made, starts, axis=1, dtype=float) / np.diff([*starts, len(curve)])
    panel.imshow(1 - 0.85 * shares, cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for at in range(1, len(lines)):
        change = lines[at][0] != lines[at - 1][0]
        panel.axhline(at - 0.5, color=GREY if change else "white", linewidth=0.6 if change else 0.8)
    tidy(panel)
    for spine in panel.spines.values():
        spine.set_visible(False)
    panel.tick_params(length=0)
    panel.set(xticks=[], yticks=[])


def _draw_key(figure: Figure) -> None:
    keys = [
        Line2D([], [], color="black", linewidth=0, marker="D", markersize=4, markerfacecolor="white", label="default"),
        Line2D([], [], color=CLEAR_ABOVE, alpha=0.5, linewidth=4, label="interval above 0"),
        Line2D([], [], color=UNCLEAR, alpha=0.5, linewidth=4, label="holds 0"),
        Line2D([], [], color=CLEAR_BELOW, alpha=0.5, linewidth=4, label="below 0"),
    ]
    figure.legend(
        handles=keys,
        loc="lower center",
        ncols=4,
        fontsize=SMALL,
        frameon=False,
        borderaxespad=0.2,
        columnspacing=1,
        handlelength=1.2,
    )
