"""Tests of a paired difference, and the adjustment for having made several: arrays in, p values out."""

from __future__ import annotations

import numpy as np
from scipy.stats import binomtest

from das_explain.stats import resampling


def sign_flip_p_value(differences: np.ndarray) -> float:
    """Two-sided p of the paired permutation test on the mean of differences (n,); NaN for fewer than two.

    Chosen because it tests the very number the table shows, the mean difference: under the null the two models are
    interchangeable on each image, so each difference may as well have the other sign. Wilcoxon's test speaks of ranks
    and can call significant what the mean does not show, or the reverse. All sign patterns when there are at most 9999
    of them (n <= 13), else 9999 random ones and (1 + hits) / (1 + 9999), so p is never 0 (Phipson and Smyth 2010).
    """
    differences = np.asarray(differences, dtype=float)
    n = len(differences)
    if n < 2:
        return np.nan
    limit = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()  # a tie is a hit despite rounding
    if 2**n <= resampling.RESAMPLES:
        signs = 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1) - 1
        return float(np.mean(np.abs(signs @ differences) >= limit))
    hits, rng = 0, np.random.default_rng(resampling.SEED)
    for size in resampling.batches(n):
        signs = 2.0 * rng.integers(0, 2, (size, n), dtype=np.int8) - 1
        hits += int(np.sum(np.abs(np.einsum("ij,j->i", signs, differences)) >= limit))
    return (1 + hits) / (1 + resampling.RESAMPLES)


def mcnemar_p_value(gained: int, lost: int) -> float:
    """Two-sided exact p of McNemar's test (1947): of the images on which two models disagree, ``gained`` are right for
    the second alone and ``lost`` for the first alone; binomial with one half. 1 where they disagree on none.
    """
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment (1979) of p values (m,); NaN stay NaN and do not count as tests."""
    adjusted = np.full(len(p_values), np.nan)
    order = [i for i in np.argsort(p_values, kind="stable") if not np.isnan(p_values[i])]
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted
