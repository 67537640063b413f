"""95 % intervals of means and of proportions: arrays in, numbers out. Those of designs are in `copies`.

Every generator starts from one fixed seed (`resampling`), so the same values give the same digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from scipy.special import ndtr, ndtri

from das_explain.stats import resampling

CONFIDENCE = 0.95
ENOUGH = 20  # values for an interval to hold what it says, nearly: 93 of 100
SHARES = "93 of 100 cases with 20 of them, 90 with 10, 84 with 5, 52 with 2"
"""In how many an interval of `mean_intervals` over few normal values holds the true mean."""
MANY = 2000  # values that may be drawn again: of more, the ends in closed form err less than resampling does
_COLUMNS = 16  # looked at together: what is made of them on the way is several times as large as they are
_VALUES = 2**17  # in them, unless one column has more


def mean_intervals(columns: Iterable[np.ndarray]) -> list[tuple[float, float, float]]:
    """Mean and 95 % BCa bootstrap interval (Efron 1987) of each column of values (n,), from 9999 resamples; of more than
    ``MANY`` values the interval that this tends to (`mean_intervals_in_closed_form`).

    Columns of one length share their resamples, and the jackknife of a mean is in closed form; equal to
    `scipy.stats.bootstrap(method="BCa")` on the same resamples, several times faster. Columns of more than ``MANY`` values
    may come one at a time: none is kept. No value: all NaN. One value: NaN ends. Equal values: both ends are that value.

    >>> [[round(number, 3) for number in interval] for interval in mean_intervals([[0.5, 0.7], [0.2, 0.2, 0.2]])]
    [[0.6, 0.5, 0.7], [0.2, 0.2, 0.2]]
    """
    results, few = [], {}
    for i, column in enumerate(np.asarray(column, dtype=float) for column in columns):
        results.append((mean(column), np.nan, np.nan))
        if len(column) > MANY:
            _, middle, low, high = mean_intervals_in_closed_form(column[:, None])
            results[i] = float(middle[0]), float(low[0]), float(high[0])
        elif len(column) > 1:
            few[i] = column
    for n in sorted({len(column) for column in few.values()}):
        which = [i for i, column in few.items() if len(column) == n]
        stacked = resampling.stack([few[i] for i in which])
        resampled, start = np.empty((len(which), resampling.RESAMPLES)), 0
        for drawn in resampling.draws(n):
            resampled[:, start : start + len(drawn)] = resampling.sums(drawn, stacked)[: len(which)] / n
            start += len(drawn)
        for row, i in enumerate(which):
            results[i] = (mean(few[i]), *_bca(few[i], resampled[row]))
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


def caution(n: int, what: str) -> str:
    """What people are told of an interval over n values, ``what``; nothing where there is none, or n is enough.

    The shares are those of `mean_intervals` on normal values (``tests/stats/test_intervals.py``), to a hundredth; those of
    skewed values are smaller.

    >>> caution(7, "images of das at layer4")
    'an interval over the 7 images of das at layer4 is too short: over normal values it holds the true mean in 93 of 100 cases with 20 of them, 90 with 10, 84 with 5, 52 with 2'
    """
    if not 1 < n < ENOUGH:
        return ""
    return f"an interval over the {n} {what} is too short: over normal values it holds the true mean in {SHARES}"


def mean_intervals_in_closed_form(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """n, mean and the ends of the 95 % interval of each column of values (n, columns), NaN being no value.

    What `mean_intervals` tends to with more resamples, without any: the bootstrap distribution of a mean by its first
    three moments (DiCiccio and Efron 1992, the ABC interval; the ends by Cornish and Fisher). For hundreds of columns
    that lack different values, and for thousands of values. The ends differ from resampled ones by at most 5 % of the width
    from 20 values on, by 2 % from 2000 on, most of which is the resampling.

    >>> [array.round(3).tolist() for array in mean_intervals_in_closed_form(np.array([[0.5, 0.2], [0.7, np.nan]]))]
    [[2, 1], [0.6, 0.2], [0.461, nan], [0.739, nan]]
    """
    return closed_form_of_parts(lambda some: values[:, some], *values.shape)


def closed_form_of_parts(
    part: Callable[[slice], np.ndarray], n: int, columns: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`mean_intervals_in_closed_form` of so many columns of n values, of which ``part`` makes some at a time."""
    together = max(1, min(_COLUMNS, _VALUES // max(1, n)))
    parts = [_in_closed_form(part(slice(start, start + together))) for start in range(0, max(1, columns), together)]
    counts, middle, low, high = map(np.concatenate, zip(*parts))
    return counts, middle, low, high


def _in_closed_form(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    known = ~np.isnan(values)
    n = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.where(known, values, 0)
        middle = deviation.sum(axis=0) / n
        deviation -= middle
        deviation[~known] = 0
        squares = (deviation**2).sum(axis=0)
        acceleration = np.where(squares > 1e-18, (deviation**3).sum(axis=0) / (6 * squares**1.5), 0)
        ends = []
        for tail in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2):
            z = acceleration + ndtri(tail)
            z = acceleration + z / (1 - acceleration * z)
            ends.append(middle + np.sqrt(squares) / n * (z + acceleration * (z**2 - 1)))
    return n, middle, *(np.where(n > 1, end, np.nan) for end in ends)


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a proportion, right of n (Wilson 1927), in [0, 1]; NaN where n is 0.

    >>> [round(end, 3) for end in wilson(9, 10)]
    [0.596, 0.982]
    """
    if not n:
        return np.nan, np.nan
    from scipy.stats import binomtest

    low, high = binomtest(right, n).proportion_ci(CONFIDENCE, "wilson")
    return float(low), float(high)


def mean(values: np.ndarray) -> float:
    """The mean; NaN of nothing."""
    return float(np.mean(values)) if np.size(values) else np.nan
