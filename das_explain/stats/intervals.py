"""95 % intervals of means and of proportions: arrays in, numbers out. Those of designs are in `copies`.

Every generator starts from one fixed seed (`resampling`), so the same values give the same digits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import binomtest

from das_explain.stats import resampling

CONFIDENCE = 0.95


def mean_intervals(columns: Sequence[np.ndarray]) -> list[tuple[float, float, float]]:
    """Mean and 95 % BCa bootstrap interval (Efron 1987) of each column of values (n,), from 9999 resamples.

    Columns of one length share their resamples, and the jackknife of a mean is in closed form; equal to
    `scipy.stats.bootstrap(method="BCa")` on the same resamples, several times faster. No value: all NaN. One value: NaN
    ends. Equal values: both ends are that value.

    >>> [[round(number, 3) for number in interval] for interval in mean_intervals([[0.5, 0.7], [0.2, 0.2, 0.2]])]
    [[0.6, 0.5, 0.7], [0.2, 0.2, 0.2]]
    """
    columns = [np.asarray(column, dtype=float) for column in columns]
    results = [(mean(column), np.nan, np.nan) for column in columns]
    for n in sorted({len(column) for column in columns} - {0, 1}):
        which = [i for i, column in enumerate(columns) if len(column) == n]
        stacked = resampling.stack([columns[i] for i in which])
        resampled, start = np.empty((len(which), resampling.RESAMPLES)), 0
        for drawn in resampling.draws(n):
            resampled[:, start : start + len(drawn)] = resampling.sums(drawn, stacked)[: len(which)] / n
            start += len(drawn)
        for row, i in enumerate(which):
            results[i] = (mean(columns[i]), *_bca(columns[i], resampled[row]))
    return results


def _bca(values: np.ndarray, resampled: np.ndarray) -> tuple[float, float]:
    """BCa ends for the mean of values (n,), n >= 2, from its bootstrap distribution (resamples,)."""
    middle = mean(values)
    if np.ptp(values) < 1e-9:
        return middle, middle
    below = (
        np.mean(resampled < middle - 1e-12) + np.mean(resampled < middle + 1e-12)
    ) / 2  # ties, whatever the rounding
    deviation = values - middle
    acceleration = np.sum(deviation**3) / (
        6 * np.sum(deviation**2) ** 1.5
    )  # leaving one out moves the mean by its share
    levels = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    if 0 < below < 1:
        z = ndtri(below) + ndtri(levels)
        levels = ndtr(ndtri(below) + z / (1 - acceleration * z))
    low, high = np.quantile(resampled, levels)
    return float(low), float(high)


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a proportion, right of n (Wilson 1927), in [0, 1]; NaN where n is 0.

    >>> [round(end, 3) for end in wilson(9, 10)]
    [0.596, 0.982]
    """
    if not n:
        return np.nan, np.nan
    low, high = binomtest(right, n).proportion_ci(CONFIDENCE, "wilson")
    return float(low), float(high)


def mean(values: np.ndarray) -> float:
    """The mean; NaN of nothing."""
    return float(np.mean(values)) if np.size(values) else np.nan
