"""Geometry of the charts that need no JavaScript: distributions of sfd, and intervals of differences.

Pure: numbers in, SVG coordinates out. The template draws them, so that colours follow the page's theme.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from das_explain.evidence.values import Key
from das_explain.report.results import Results
from das_explain.report.tally import BINS, histogram

WIDTH, LEFT, RIGHT = 320, 12, 12
TOP, BOTTOM = 8, 36


@dataclass(frozen=True)
class Ridge:
    """One model's histogram: SVG paths, and where its median and its label stand."""

    model: str
    number: int
    count: int
    base: float
    top: float
    area: str
    shuffled: str
    median: float | None
    median_x: float | None


@dataclass(frozen=True)
class Distribution:
    """All models' histograms of one block, one above the other, on one scale."""

    block: str
    height: float
    ridges: tuple[Ridge, ...]
    ticks: tuple[tuple[float, str], ...]


def position(value: float) -> float:
    """sfd in [0, 1] -> x in the chart."""
    return round(LEFT + value * (WIDTH - LEFT - RIGHT), 2)


def steps(heights: np.ndarray, base: float, scale: float, *, closed: bool) -> str:
    """A histogram's outline as SVG path data; ``closed`` returns along the base line."""
    edges = [position(i / BINS) for i in range(BINS + 1)]
    parts = [f"M{edges[0]:g} {base:g}" if closed else f"M{edges[0]:g} {round(base - heights[0] * scale, 2):g}"]
    for i, height in enumerate(heights):
        parts.append(f"V{round(base - height * scale, 2):g}H{edges[i + 1]:g}")
    return "".join(parts) + (f"V{base:g}Z" if closed else "")


def _share(counts: np.ndarray) -> np.ndarray:
    return counts / max(1, counts.sum())


def distributions(results: Results) -> list[Distribution]:
    """One chart per block; models without a row in it are left out, those without a score keep an empty ridge."""
    charts = []
    for block in results.blocks:
        models = [model for model in results.models if Key(model, block) in results.tally.sfd]
        rows = max(len(models), 1)
        room = max(320 - TOP - BOTTOM, 70 * rows) / rows
        values = {model: results.scored(model, block) for model in models}
        histograms = {model: _share(histogram(values[model])) for model in models}
        blind = {model: results.tally.shuffled.get(Key(model, block)) for model in models}
        lines = {model: _share(counts) for model, counts in blind.items() if counts is not None and counts.any()}
        peak = max([0.01, *(float(heights.max()) for heights in (*histograms.values(), *lines.values()))])
        ridges = []
        for row, model in enumerate(models):
            base = round(TOP + (row + 1) * room, 2)
            scale = (room - 38) / peak
            median = float(np.median(values[model])) if len(values[model]) else None
            ridges.append(
                Ridge(
                    model=model,
                    number=results.models.index(model),
                    count=len(values[model]),
                    base=base,
                    top=round(base - room, 2),
                    area=steps(histograms[model], base, scale, closed=True) if median is not None else "",
                    shuffled=steps(lines[model], base, scale, closed=False) if model in lines else "",
                    median=median,
                    median_x=None if median is None else position(median),
                )
            )
        ticks = tuple((position(value), f"{value:g}") for value in (0, 0.25, 0.5, 0.75, 1))
        charts.append(Distribution(block, round(TOP + rows * room + BOTTOM, 2), tuple(ridges), ticks))
    return charts


@dataclass(frozen=True)
class Interval:
    """A difference with its interval as x positions in a strip of 0..100 whose middle is zero."""

    low: float
    middle: float
    high: float
