"""Models beside maps that know nothing of the image."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from das_explain.figures.drawing import COLOURS, GREY, MARKERS, SMALL, TEXT, block_panels, grid, range_of, title_of
from das_explain.figures.lettering import fit, inches, plain


def lift_figure(lifts: pd.DataFrame, measure: str = "sfd", *, width: float | None = None) -> Figure:
    """Each model's mean of a measure beside maps that know nothing of the image, a panel per block, from `lift_over_nulls`.

    The vertical bar is the model's mean; a marker is a null's mean, its whisker the 95 % interval of the paired
    difference, laid off from the model's mean. Where a whisker reaches the bar the two are not told apart.
    """
    lifts = lifts[lifts["measure"] == measure].astype(dict.fromkeys(("model", "block", "null"), str))
    models, blocks = list(dict.fromkeys(lifts["model"])), list(dict.fromkeys(lifts["block"]))
    nulls = list(dict.fromkeys(lifts["null"]))
    page = grid(len(blocks), width)[2]
    keys = [Line2D([], [], color="black", linewidth=1.4, marker="|", linestyle="none", markersize=7, label="the model")]
    for kind, null in enumerate(nulls):
        colour, marker = COLOURS[kind % len(COLOURS)], MARKERS[kind % len(MARKERS)]
        name = fit(null, 1, SMALL)
        keys.append(Line2D([], [], color=colour, marker=marker, linewidth=1, markersize=3.5, label=name))
    widest = 0.3 + max(inches(str(key.get_label()), SMALL) for key in keys)
    columns = max(1, min(len(keys), int((page - 0.1) / widest)))
    room = 0.06 + 0.13 * -(-len(keys) // columns)
    figure, panels = block_panels(blocks, models, row_inches=0.16 + 0.13 * len(nulls), legend=room, width=width)
    offsets = np.linspace(-0.28, 0.28, len(nulls)) if len(nulls) > 1 else [0.0]
    # The interval is of the lift, and drawn about the null.
    ends = lifts["mean"].to_numpy()[:, None] - lifts[["ci_low", "ci_high"]].to_numpy()
    reach = np.concatenate([lifts[["mean", "mean_null"]].to_numpy(dtype=float), ends], axis=1)
    reach = reach[np.isfinite(reach)] if np.isfinite(reach).any() else np.array([0.0, 1.0])
    least, most = range_of(measure, reach)
    step = (most - least) / 10
    limits = (
        min(reach.min(), max(least, (np.floor(reach.min() / step - 0.5)) * step)),
        max(reach.max(), min(most, (np.ceil(reach.max() / step + 0.5)) * step)),
    )
    for panel, block in zip(panels, blocks, strict=True):
        if measure == "sfd":
            panel.axvline(0.5, color=GREY, linewidth=0.6, linestyle="--", zorder=0)
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
        panel.xaxis.set_major_locator(MaxNLocator(5, prune="both"))
        panel.set_xlabel(f"mean {title_of(measure)}", size=TEXT, labelpad=1)
    legend = figure.legend(
        handles=keys,
        loc="lower center",
        ncols=columns,
        fontsize=SMALL,
        frameon=False,
        borderaxespad=0.1,
        borderpad=0.1,
        labelspacing=0.3,
        columnspacing=1,
        handlelength=1.5,
    )
    for text in legend.get_texts():
        text.set(**plain())
    return figure
