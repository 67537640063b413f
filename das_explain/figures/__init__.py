"""Figures for a paper or a report: heatmaps over photos in the manner of the paper's Figure 4, and measures in plots.

The plots take tables; ``kinds.draw`` makes them of a run, ``kinds.save_figures`` writes them.
"""

from das_explain.cam.colours import overlay
from das_explain.figures.distribution import distribution_figure
from das_explain.figures.drawing import COLORMAPS, COLOURS, COLUMN, DPI, FORMATS, HEAT, MARKERS, PAGE, colormap, save
from das_explain.figures.grid import GridRow, View, grid_figure
from das_explain.figures.lift import lift_figure
from das_explain.figures.paired import scatter_figure
from das_explain.figures.readings import readings_figure
from das_explain.figures.sheet import HeatmapRow, heatmap_figure
from das_explain.figures.strata import strata_figure

__all__ = [
    "COLORMAPS", "COLOURS", "COLUMN", "DPI", "FORMATS", "HEAT", "MARKERS", "PAGE", "GridRow", "HeatmapRow", "View",
    "colormap", "distribution_figure", "grid_figure", "heatmap_figure", "lift_figure", "overlay", "readings_figure",
    "save", "scatter_figure", "strata_figure",
]  # fmt: skip
