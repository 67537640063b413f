"""Figures of a study: every copy as a dot beside its design's mean, accuracy against sfd, lifts, specification curves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from das_explain import figures
from das_explain.errors import UsageError
from das_explain.figures.drawing import COLOURS, COLUMN, DPI, MARKERS, PAGE, SMALL, TEXT, block_panels, tidy, title_of
from das_explain.figures.lettering import fit, plain
from das_explain.scoring.designs import TOP1
from das_explain.study.results import MODELS, Results

RIGHT = "right, top-1"


def draw(results: Results, folder: Path) -> list[Path]:
    """Writes every figure as PNG and PDF; the PNGs, in order."""
    return [figures.save(figure, folder / stem)[0] for stem, figure in _figures(results)]


def _figures(results: Results) -> Iterator[tuple[str, Figure]]:
    for data in results.runs:
        yield f"copies-{data}", copies_figure(results, data)
        if len(results.of("correlations", data=data, measure="sfd")):
            yield f"accuracy-sfd-{data}", accuracy_figure(results, data)
        lifts = results.of("design_lifts", data=data, measure="sfd")
        if len(lifts):
            yield f"lift-{data}", figures.lift_figure(lifts.rename(columns=MODELS))
        readings = results.readings(data)
        first, *others = results.designs
        for other in others if len(readings) else ():
            try:
                yield f"readings-{data}-{first}-{other}", figures.readings_figure(readings, first, other)
            except UsageError:  # no reading has a difference
                continue


def copies_figure(results: Results, data: str) -> Figure:
    """A panel for accuracy and one for sfd at each block; a line per design: a dot for each copy, a bar for the mean and a
    whisker for its 95 % interval over copies and images."""
    panels_of = [(RIGHT, TOP1, ""), *((f"sfd, {block}", "sfd", block) for block in results.blocks)]
    designs = results.designs
    figure, panels = block_panels([title for title, *_ in panels_of], designs, row_inches=0.3)
    for panel, (_, measure, block) in zip(panels, panels_of, strict=True):
        for y, design in enumerate(designs):
            copies = results.of("copies", data=data, measure=measure, block=block, group=design)["mean"].to_numpy(float)
            row = results.row("design_means", data=data, measure=measure, block=block, group=design)
            colour = COLOURS[y % len(COLOURS)]
            if row is not None:
                ends = np.clip([row.ci_low, row.ci_high], 0, 1)  # few copies: beyond what can be
                panel.plot(ends, [y, y], color=colour, linewidth=1, solid_capstyle="butt")
                panel.plot([row.mean] * 2, [y - 0.2, y + 0.2], color=colour, linewidth=1.6, solid_capstyle="butt")
            # None where the photos have no labels, or the design has no such block.
            offsets = np.linspace(0.18, 0.36, len(copies)) if len(copies) > 1 else np.full(len(copies), 0.27)
            panel.plot(copies, y + offsets, "o", color=colour, markersize=2.6, alpha=0.8, markeredgewidth=0)
        panel.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
    return figure


def accuracy_figure(results: Results, data: str) -> Figure:
    """Mean sfd of every copy against the share of photos that it gets right, a panel per block."""
    wide = COLUMN if len(results.blocks) <= 2 else PAGE
    figure = Figure(figsize=(wide, 2.0), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, len(results.blocks), squeeze=False)[0]
    copies = results.of("copies", data=data)
    right = copies[copies["measure"] == TOP1].set_index("model")["mean"]
    for panel, block in zip(panels, results.blocks, strict=True):
        mine = copies[(copies["measure"] == "sfd") & (copies["block"] == block)]
        _scatter(panel, mine, right, results.designs)
        row = results.row("correlations", data=data, measure="sfd", block=block)
        if row is not None and np.isfinite(row.r):
            panel.set_title(
                f"{fit(block, 1, TEXT)}\nr = {row.r:+.2f} [{row.ci_low:+.2f}, {row.ci_high:+.2f}]", size=SMALL, pad=3
            )
    panels[0].set_ylabel(f"mean {title_of('sfd')}", size=TEXT, labelpad=1)
    keys = [
        Line2D([], [], color=COLOURS[i % len(COLOURS)], marker=MARKERS[i % len(MARKERS)], linestyle="none", markersize=4,
               label=fit(design, 1, SMALL))
        for i, design in enumerate(results.designs)
    ]  # fmt: skip
    legend = figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), fontsize=SMALL, frameon=False)
    for text in legend.get_texts():
        text.set(**plain())
    return figure


def _scatter(panel: Axes, copies: pd.DataFrame, right: pd.Series, designs: list[str]) -> None:
    for i, design in enumerate(designs):
        mine = copies[copies["group"] == design]
        x, y = right.reindex(mine["model"]).to_numpy(float), mine["mean"].to_numpy(float)
        panel.plot(x, y, MARKERS[i % len(MARKERS)], color=COLOURS[i % len(COLOURS)], markersize=4)
    panel.set_xlabel(RIGHT, size=TEXT, labelpad=1)
    panel.margins(0.1)
    panel.xaxis.set_major_locator(MaxNLocator(3))
    panel.yaxis.set_major_locator(MaxNLocator(4))
    tidy(panel)
