"""Tests of a paired difference, and the adjustment for having made several: arrays in, p values out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from das_explain.stats import resampling


def sign_flip_p_value(differences: np.ndarray) -> float:
    """Two-sided p of the paired permutation test on the mean of differences (n,); NaN for fewer than two.

    Chosen because it tests the very number the table shows, the mean difference: under the null the two models are
    interchangeable on each image, so each difference may as well have the other sign. Wilcoxon's test speaks of ranks
    and can call significant what the mean does not show, or the reverse. All sign patterns when there are at most 9999
    of them (n <= 13), else 9999 random ones and (1 + hits) / (1 + 9999), so p is never 0 (Phipson and Smyth 2010).

    >>> sign_flip_p_value([0.1, 0.2, 0.3])  # only three signs alike, of eight patterns, are as far out
    0.25
    """
    return sign_flip_p_values([differences])[0]


def sign_flip_p_values(columns: Sequence[np.ndarray]) -> list[float]:
    """`sign_flip_p_value` of each column of differences; columns of one length share their signs, which is faster."""
    columns = [np.asarray(column, dtype=float) for column in columns]
    results = [np.nan] * len(columns)
    for n in sorted({len(column) for column in columns} - {0, 1}):
        which = [i for i, column in enumerate(columns) if len(column) == n]
        every = 2**n <= resampling.RESAMPLES
        patterns = [2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1) - 1] if every else resampling.signs(n)
        limits = np.array([abs(columns[i].sum()) - 1e-12 * np.abs(columns[i]).sum() for i in which])  # ties are hits
        hits = np.zeros(len(which), int)
        for signs in patterns:
            totals = np.stack([signs @ columns[i] for i in which], axis=1)
            hits += np.sum(np.abs(totals) >= limits, axis=0)
        for i, count in zip(which, hits, strict=True):
            results[i] = count / 2**n if every else (1 + count) / (1 + resampling.RESAMPLES)
    return [float(result) for result in results]


def mcnemar_p_value(gained: int, lost: int) -> float:
    """Two-sided exact p of McNemar's test (1947): of the images on which two models disagree, ``gained`` are right for
    the second alone and ``lost`` for the first alone; binomial with one half. 1 where they disagree on none.

    >>> round(mcnemar_p_value(5, 1), 3)
    0.219
    """
    if not gained + lost:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost).pvalue)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment (1979) of p values (m,); NaN stay NaN and do not count as tests.

    >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    adjusted = np.full(len(p_values), np.nan)
    order = [i for i in np.argsort(p_values, kind="stable") if not np.isnan(p_values[i])]
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted
