"""Figures for a paper or a report: heatmaps over a photo in the manner of the paper's Figure 4, and measures in plots."""

from das_explain.cam.colours import overlay
from das_explain.figures.distribution import distribution_figure
from das_explain.figures.drawing import COLOURS, COLUMN, DPI, HEAT, MARKERS, PAGE, save
from das_explain.figures.lift import lift_figure
from das_explain.figures.paired import scatter_figure
from das_explain.figures.sheet import HeatmapRow, heatmap_figure

__all__ = [
    "COLOURS", "COLUMN", "DPI", "HEAT", "MARKERS", "PAGE", "HeatmapRow", "distribution_figure", "heatmap_figure",
    "lift_figure", "overlay", "save", "scatter_figure",
]  # fmt: skip
