"""A measure of two models, image by image."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from das_explain.errors import UsageError
from das_explain.figures.drawing import (
    COLOURS,
    DPI,
    GREY,
    MANY,
    SMALL,
    TEXT,
    grid,
    range_of,
    tidy,
    title_of,
    value_ticks,
)
from das_explain.figures.lettering import fit, plain
from das_explain.stats import tables as stats
from das_explain.stats.pairing import of_measure, pair, pairs_of


def scatter_figure(
    scores: pd.DataFrame, model_a: str, model_b: str, measure: str = "sfd", *, width: float | None = None
) -> Figure:
    """A measure of two models image by image, a panel per block both have; above the diagonal ``model_b`` is higher.

    Above each panel: the mean difference b - a with its 95 % interval over images, n and the win rate of b.
    """
    scores, _ = of_measure(scores, measure)
    for model in (model_a, model_b):
        if model not in set(scores["model"].astype(str)):
            raise UsageError(f"no model is called {model}: the run's models are {', '.join(scores['model'].unique())}")
    chosen = scores[scores["model"].astype(str).isin((model_a, model_b))]
    wide = pair(chosen, ["block", "model"], measure)
    comparison = stats.compare_paired([(measure, wide, pairs_of(chosen, model_a))])
    if comparison.empty:
        raise UsageError(f"{model_a} and {model_b} have no block of the same name to compare")
    lines, columns, page = grid(len(comparison), width)
    left, right, gap, above, below = 0.42, 0.08, 0.16, 0.42, 0.34  # inches
    side = min(2.0, (page - left - right - (columns - 1) * gap) / columns)
    used = left + columns * side + (columns - 1) * gap + right
    if width is None:
        page = used
    left += (page - used) / 2
    total = lines * (side + above + below)
    figure = Figure(figsize=(page, total), dpi=DPI)
    limits = range_of(measure, wide.values[~np.isnan(wide.values)])
    for index, row in enumerate(comparison.itertuples()):
        line, column = divmod(index, columns)
        x, y = left + column * (side + gap), total - line * (side + above + below) - above - side
        panel = figure.add_axes((x / page, y / total, side / page, side / total))
        of_a, of_b = wide.common((row.block, model_a), (row.block, model_b))
        panel.plot(limits, limits, color=GREY, linewidth=0.6, linestyle="--", zorder=0)
        panel.scatter(
            of_a,
            of_b,
            s=4,
            color=COLOURS[0],
            alpha=min(1, 0.3 + 20 / max(len(of_a), 1)),
            linewidths=0,
            rasterized=len(of_a) > MANY,
        )
        edge = 0.02 * (limits[1] - limits[0])
        ends = (limits[0] - edge, limits[1] + edge)
        panel.set(xlim=ends, ylim=ends)
        tidy(panel)
        value_ticks(panel, *limits, across=False, named=column == 0)
        panel.set_xlabel(fit(f"{title_of(measure)} {model_a}", side, TEXT), size=TEXT, labelpad=1, **plain())
        if column == 0:
            panel.set_ylabel(fit(f"{title_of(measure)} {model_b}", side, TEXT), size=TEXT, labelpad=1, **plain())
        value_ticks(panel, *limits)
        interval = f" [{row.ci_low:+.3f}, {row.ci_high:+.3f}]" if np.isfinite(row.ci_low) else ""
        above_it = f"y \u2212 x {row.delta:+.3f}{interval}\nn {row.n}, y wins {row.win_rate:.0%}"
        panel.set_title(above_it if row.n else "no image scored\nfor both", size=SMALL, pad=2)
        name = fit(row.block, side, TEXT)
        figure.text((x + side / 2) / page, (y + side + 0.26) / total, name, size=TEXT, ha="center", **plain())
    return figure
