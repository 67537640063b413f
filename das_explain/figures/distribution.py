"""How a measure is distributed over the images."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from das_explain.figures.drawing import (
    CLEAR,
    COLOURS,
    GREY,
    MANY,
    SMALL,
    TEXT,
    block_panels,
    range_of,
    title_of,
    value_ticks,
)
from das_explain.stats import tables as stats
from das_explain.stats.pairing import of_measure
from das_explain.statuses import SCORED


def distribution_figure(scores: pd.DataFrame, measure: str = "sfd", *, width: float | None = None) -> Figure:
    """How a measure is distributed over the images: a panel per block, a line per model.

    ``scores`` is ``scores.csv``, or ``measures.csv`` for any measure.

    Each scored image is a point, the hill above them their density; the diamond is the mean with its 95 % interval over
    images; the dashed line is 0.5, an even map's sfd.
    """
    scores, column = of_measure(scores, measure)
    summary = stats.summarize(scores, measure)
    models, blocks = list(dict.fromkeys(summary["model"])), list(dict.fromkeys(summary["block"]))
    figure, panels = block_panels(blocks, models, row_inches=0.44, width=width)
    scored = scores[scores["status"].isin(SCORED)].astype({"model": str, "block": str})
    limits = range_of(measure, scored[column].to_numpy(dtype=float))
    for panel, block in zip(panels, blocks, strict=True):
        if measure == "sfd":
            panel.axvline(0.5, color=GREY, linewidth=0.6, linestyle="--", zorder=0)
        for y, model in enumerate(models):
            row = summary[(summary["model"] == model) & (summary["block"] == block)]
            if row.empty:
                continue
            mean, low, high, count = row.iloc[0][[f"mean_{measure}", "ci_low", "ci_high", "n_scored"]]
            values = scored.loc[(scored["model"] == model) & (scored["block"] == block), column].to_numpy(dtype=float)
            colour = COLOURS[y % len(COLOURS)]
            jitter = np.random.default_rng(0).uniform(0.14, 0.32, len(values))
            panel.scatter(
                values,
                y + jitter,
                s=2,
                alpha=min(1, 0.25 + 20 / max(len(values), 1)),
                color=colour,
                linewidths=0,
                rasterized=len(values) > MANY,
            )
            if len(values) >= 5 and np.ptp(values) > 1e-6:
                grid = np.linspace(values.min(), values.max(), 200)
                density = _density(values, grid)
                panel.fill_between(grid, y, y - 0.3 * density / density.max(), color=colour, alpha=0.35, linewidth=0)
            if count:
                panel.plot([low, high], [y + 0.05] * 2, color="black", linewidth=1.2)
                panel.plot([mean], [y + 0.05], marker="D", markersize=3, color="black", markerfacecolor="white")
            text = f"{mean:.2f} (n {count})" if count else "nothing scored"
            panel.text(
                0.99,
                y - 0.33,
                text,
                ha="right",
                transform=panel.get_yaxis_transform(),
                va="bottom",
                size=SMALL,
                path_effects=CLEAR,
            )
        panel.set_xlim(*limits)
        value_ticks(panel, *limits)
        panel.set_xlabel(title_of(measure), size=TEXT, labelpad=1)
    return figure


def _density(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """How dense values (n,) lie about the places of ``grid``, up to a factor: a Gaussian kernel of Scott's width, as of
    `scipy.stats.gaussian_kde`, which takes half a second to import. A place at a time, since there may be many values."""
    width = np.std(values, ddof=1) * len(values) ** -0.2
    return np.array([np.exp(-0.5 * ((place - values) / width) ** 2).sum() for place in grid])
