"""How large a paired difference is, by ranks as well, and how many images it takes to see it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import nctdtr, ndtr, ndtri, stdtrit

from das_explain.stats.intervals import CONFIDENCE
from das_explain.stats.pairing import of_measure, pair, pairs_of
from das_explain.stats.significance import holm

EFFECTS = ["block", "model_a", "model_b", "n", "p_value", "p_adjusted", "shift", "shift_low", "shift_high",
    "rank_biserial", "images_needed"]  # fmt: skip
_EXACT = 50  # differences up to which the distribution of the signed ranks is counted out


class Shift(NamedTuple):
    """The Hodges-Lehmann shift and its 95 % interval, in units of the measure."""

    shift: float
    low: float
    high: float


def effect_sizes(scores: pd.DataFrame, measure: str = "sfd", baseline: str | None = None) -> pd.DataFrame:
    """Every pair of models on every block both have, by ranks, on the images scored for both.

    Returns ``block, model_a, model_b, n, p_value, p_adjusted, shift, shift_low, shift_high, rank_biserial,
    images_needed``: `wilcoxon_p_value` and Holm's adjustment over all rows, `hodges_lehmann`, `rank_biserial` and
    `images_needed` of the differences b - a. With a ``baseline`` only pairs with that model, as ``model_a``.
    """
    mine, _ = of_measure(scores, measure)
    wide, rows = pair(scores, ["block", "model"], measure), []
    for block, a, b in pairs_of(mine, baseline):
        of_a, of_b = wide.common((block, a), (block, b))
        of_pair = of_b - of_a
        size = (wilcoxon_p_value(of_pair), np.nan, *hodges_lehmann(of_pair), rank_biserial(of_pair))
        rows.append((block, a, b, len(of_pair), *size, images_needed(of_pair)))
    table = pd.DataFrame(rows, columns=EFFECTS)
    table["p_adjusted"] = holm(table["p_value"].to_numpy(dtype=float))
    return table


def wilcoxon_p_value(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (1945) of differences (n,); NaN for fewer than two, 1 if all are 0.

    Differences of 0 are left out. It asks whether the differences are symmetric about 0, not whether their mean is 0:
    `significance.sign_flip_p_value` does that.
    """
    differences = _without_rounding(differences)
    if len(differences) < 2:
        return np.nan
    if not differences.any():
        return 1.0
    sizes, n = np.abs(differences), len(differences)
    if n <= _EXACT and sizes.all() and len(np.unique(sizes)) == n:
        positive = int(np.sum((np.argsort(np.argsort(sizes)) + 1)[differences > 0]))
        return float(min(1.0, 2 * _below(n)[min(positive, n * (n + 1) // 2 - positive)]))
    if n > _EXACT:
        return _wilcoxon_of_many(differences[differences != 0])
    from scipy.stats import wilcoxon  # takes half a second, and is needed for ties among few images only

    return float(wilcoxon(differences).pvalue)


def _wilcoxon_of_many(differences: np.ndarray) -> float:
    """The same by the normal approximation, with ties, of differences (n,) that are not 0: `scipy.stats.wilcoxon`'s."""
    n, sizes = len(differences), pd.Series(np.abs(differences))
    positive = sizes.rank().to_numpy()[differences > 0].sum()
    tied = sizes.value_counts().to_numpy(float)
    spread = np.sqrt((n * (n + 1) * (2 * n + 1) - np.sum(tied**3 - tied) / 2) / 24)
    return float(2 * ndtr(-abs(positive - n * (n + 1) / 4) / spread))


def rank_biserial(differences: np.ndarray) -> float:
    """The matched-pairs rank-biserial correlation of differences (n,), in [-1, 1] (Kerby 2014).

    (W+ - W-) / (W+ + W-): of the ranks of the absolute differences, the share that is positive less the share that is
    negative. Differences of 0 are left out; 0 if all are, NaN for none.

    >>> round(rank_biserial([0.1, -0.2, 0.3]), 3)
    0.333
    """
    differences = _without_rounding(differences)
    if not len(differences):
        return np.nan
    differences = differences[differences != 0]
    ranks = pd.Series(np.abs(differences)).rank().to_numpy()
    return float(np.sum(ranks * np.sign(differences)) / ranks.sum()) if len(ranks) else 0.0


def hodges_lehmann(differences: np.ndarray) -> Shift:
    """The median of the n (n + 1) / 2 means of two of the differences (n,) (Hodges and Lehmann 1963), with an interval.

    The ends are order statistics of the same means, at the critical values of the signed-rank test (Hollander, Wolfe
    and Chicken 2014, section 3.3): exact up to 50 differences, else normal. It covers 95 % or more where the
    differences are symmetric about the shift. NaN ends below six differences: no interval of these means reaches 95 %.
    The means are counted, not stored: memory grows with n only.

    >>> [round(number, 3) for number in hodges_lehmann([0.1, 0.2, 0.3, 0.4, 0.5, 0.9])]
    [0.35, 0.1, 0.9]
    """
    values = np.sort(_without_rounding(differences))
    n = len(values)
    if not n:
        return Shift(np.nan, np.nan, np.nan)
    count = n * (n + 1) // 2
    middle = (_walsh(values, (count + 1) // 2) + _walsh(values, count // 2 + 1)) / 2
    below = _critical(n)
    if below < 1:
        return Shift(middle, np.nan, np.nan)
    return Shift(middle, _walsh(values, below), _walsh(values, count + 1 - below))


def _walsh(values: np.ndarray, place: int) -> float:
    """The ``place``-th smallest, from 1, of the means of two of the sorted values (n,), by bisection."""
    low, high = float(values[0]), float(values[-1])

    def reached(limit: float) -> bool:
        ordered = np.searchsorted(values, 2 * limit - values, side="right").sum()  # i before j and j before i
        return (ordered + np.searchsorted(values, limit, side="right")) // 2 >= place

    if reached(low):
        return low
    while low < (middle := (low + high) / 2) < high and high - low > 1e-15 * max(1.0, abs(low), abs(high)):
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _critical(n: int) -> int:
    """The greatest c with P(W < c) <= 0.025, W being the sum of the positive ones of n ranks; 0 if there is none."""
    tail = (1 - CONFIDENCE) / 2
    if n > _EXACT:
        spread = np.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return int(n * (n + 1) / 4 + ndtri(tail) * spread)
    return int(np.searchsorted(_below(n), tail, side="right"))


def _below(n: int) -> np.ndarray:
    """P(W <= w) of w = 0, 1, ... n (n + 1) / 2, W being the sum of those of n ranks that are positive by chance."""
    ways = np.ones(1)
    for rank in range(1, n + 1):  # each rank is in the sum or not
        ways = np.convolve(ways, np.bincount([0, rank], minlength=rank + 1))
    return np.cumsum(ways) / 2.0**n


def images_needed(differences: np.ndarray, power: float = 0.8) -> float:
    """How many images a paired t test takes to see a true mean difference as large as that of differences (n,).

    At 5 %, two-sided, with a chance of ``power``, by the noncentral t distribution (Cohen 1988), the spread as seen. At
    least 2; infinite where the mean is 0. It is as uncertain as the difference is, and no judgement of the run that it
    is made from. NaN for fewer than two differences.

    >>> images_needed([0.0, 0.1, 0.2])
    10.0
    """
    differences = np.asarray(differences, dtype=float)
    if len(differences) < 2:
        return np.nan
    mean, deviation = abs(differences.mean()), differences.std(ddof=1)
    if mean < 1e-9:
        return np.inf
    if deviation < 1e-9:
        return 2.0
    low, high = 1, 2
    while _power(mean / deviation, high) < power:
        low, high = high, 2 * high
        if high > 1e9:
            return np.inf
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(mean / deviation, middle) >= power else (middle, high)
    return float(high)


def _power(effect: float, n: int) -> float:
    """The chance that a two-sided 5 % paired t test of n differences rejects, at a mean of ``effect`` deviations."""
    if effect * np.sqrt(n) > 30:
        return 1.0
    critical = stdtrit(n - 1, (1 + CONFIDENCE) / 2)
    above, below = (nctdtr(n - 1, effect * np.sqrt(n), end) for end in (critical, -critical))
    return float(1 - above + below)


def _without_rounding(differences: np.ndarray) -> np.ndarray:
    """Ten decimals, so that differences that are equal but for rounding tie."""
    return np.round(np.asarray(differences, dtype=float), 10)
