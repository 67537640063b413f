"""Intervals against scipy, hand-computed values and simulations with a known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.stats import binom, binomtest

from das_explain.stats import intervals, resampling


def test_interval_equals_scipys_bca():
    rng = np.random.default_rng(3)
    for n in (2, 3, 17, 400):
        values = rng.beta(1, 6, n)
        reference = scipy_stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=resampling.RESAMPLES,
            method="BCa",
            batch=max(1, 1_000_000 // n),
            rng=np.random.default_rng(resampling.SEED),
        )
        ((mean, low, high),) = intervals.mean_intervals([values])
        assert mean == pytest.approx(values.mean(), abs=1e-15)
        np.testing.assert_allclose([low, high], reference.confidence_interval, rtol=0, atol=1e-12)
        skewed = (high - mean) - (mean - low)
        if n == 400:
            assert skewed > 1e-4, "BCa leans to the long tail; a plain normal interval would not"


def test_a_column_is_the_same_alone_and_in_company():
    rng = np.random.default_rng(0)
    columns = [rng.random(n) for n in (30, 7, 30, 1, 30, 0)]
    together = intervals.mean_intervals(columns)
    np.testing.assert_array_equal(together, [intervals.mean_intervals([column])[0] for column in columns])


def test_intervals_over_images_cover_the_truth():
    columns = np.random.default_rng(8).beta(2, 5, (300, 40))
    covered = np.mean([low <= 2 / 7 <= high for _, low, high in intervals.mean_intervals(columns)])
    assert 0.90 <= covered <= 0.98


def test_wilson_by_hand_and_against_scipy():
    z, p, n = 1.959963984540054, 6 / 9, 9
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert intervals.wilson(6, 9) == pytest.approx((centre - half, centre + half))
    reference = binomtest(8, 9).proportion_ci(0.95, "wilson")
    assert intervals.wilson(8, 9) == pytest.approx((reference.low, reference.high))
    assert intervals.wilson(0, 5)[0] == 0
    assert np.isnan(intervals.wilson(0, 0)).all()


@pytest.mark.parametrize("n", [20, 100])
def test_wilsons_interval_covers_95_percent_on_average(n):
    """Exactly, from the binomial distribution: between 0.1 and 0.9 the mean is 95 %, and nowhere is it far below."""
    ends = np.array([intervals.wilson(right, n) for right in range(n + 1)])
    truths = np.linspace(0.1, 0.9, 81)
    chances = binom.pmf(np.arange(n + 1)[:, None], n, truths)
    covered = (chances * ((ends[:, :1] <= truths) & (truths <= ends[:, 1:]))).sum(axis=0)
    assert covered.mean() == pytest.approx(0.95, abs=0.005)
    assert covered.min() > 0.9
