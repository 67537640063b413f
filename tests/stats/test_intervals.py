"""Intervals against scipy, hand-computed values and simulations with a known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.stats import binomtest

from das_explain.stats import intervals, resampling
from tests.stats.rows import trained


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


@pytest.mark.parametrize("copies", [2, 3, 6])
def test_group_intervals_cover_the_truth_where_image_intervals_do_not(copies, quick):
    rng = np.random.default_rng(copies)
    covered, narrow = [], []
    for _ in range(120):
        images = rng.normal(0, 0.15, 60)
        a, b = trained(rng, copies, images, 0.6, 0.04), trained(rng, copies, images, 0.6, 0.04)
        low, high = intervals.hierarchical_interval(a, b)
        covered.append(low <= 0 <= high)
        ((_, low, high),) = intervals.mean_intervals([b.mean(axis=0) - a.mean(axis=0)])
        narrow.append(low <= 0 <= high)
    assert np.mean(covered) >= 0.90
    assert np.mean(narrow) <= 0.75


def test_group_interval_without_variation_between_copies_is_close_to_the_image_interval():
    rng = np.random.default_rng(9)
    a, b = np.repeat(rng.random((2, 300)), 4, axis=0).reshape(2, 4, 300)
    low, high = intervals.hierarchical_interval(a, b)
    ((_, image_low, image_high),) = intervals.mean_intervals([b[0] - a[0]])
    assert (low, high) == pytest.approx((image_low, image_high), abs=0.004)
    assert intervals.hierarchical_interval(a * 0 + 0.4, a * 0 + 0.5) == pytest.approx((0.1, 0.1))


def test_group_interval_between_copies_is_welchs_when_images_agree():
    """All images alike: only the copies vary, and the interval must be the one of Welch's t test on copy means."""
    a, b = np.array([0.50, 0.53, 0.59]), np.array([0.60, 0.61, 0.68, 0.67])
    low, high = intervals.hierarchical_interval(np.tile(a[:, None], 20), np.tile(b[:, None], 20))
    reference = scipy_stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=0.006)


def test_wilson_by_hand_and_against_scipy():
    z, p, n = 1.959963984540054, 6 / 9, 9
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert intervals.wilson(6, 9) == pytest.approx((centre - half, centre + half))
    reference = binomtest(8, 9).proportion_ci(0.95, "wilson")
    assert intervals.wilson(8, 9) == pytest.approx((reference.low, reference.high))
    assert intervals.wilson(0, 5)[0] == 0
    assert np.isnan(intervals.wilson(0, 0)).all()
