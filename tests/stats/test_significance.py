"""Tests of differences against hand-computed values, scipy and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from das_explain.stats import significance


def test_p_value_by_hand_and_against_scipy():
    assert significance.sign_flip_p_value([1, 2, 3]) == 2 / 8
    assert significance.sign_flip_p_value([1, -1, 1, 1]) == 10 / 16
    for tied in ([0.1, 0.2, -0.3, 0.6], [-0.1, -0.2, 0.3, 0.6], [0.6, 0.3, -0.2, -0.1]):  # 0.6 in sum, up to rounding
        assert significance.sign_flip_p_value(tied) == 10 / 16
    assert significance.sign_flip_p_value([0.0, 0.0, 0.0]) == 1
    assert significance.sign_flip_p_value(np.zeros(50)) == 1
    assert np.isnan(significance.sign_flip_p_value([0.3]))
    assert significance.sign_flip_p_value(np.ones(200)) == 1 / 10_000  # never 0
    rng = np.random.default_rng(5)
    for n, tolerance in ((6, 1e-12), (12, 1e-12), (60, 0.015)):
        x = rng.normal(0.2, 1, n)
        reference = scipy_stats.permutation_test(
            (x,),
            lambda x, axis: x.mean(axis),
            permutation_type="samples",
            n_resamples=9999,
            vectorized=True,
            rng=np.random.default_rng(1),
        )
        assert significance.sign_flip_p_value(x) == pytest.approx(reference.pvalue, abs=tolerance)


def test_p_values_are_uniform_when_nothing_differs_and_small_when_something_does(quick):
    """600 draws: the error of 0.05 is 0.009, that of the power 0.05."""
    rng = np.random.default_rng(11)
    null = np.array([significance.sign_flip_p_value(rng.normal(0, 0.2, 30)) for _ in range(600)])
    assert scipy_stats.kstest(null, "uniform").pvalue > 0.01
    assert 0.02 <= np.mean(null <= 0.05) <= 0.08
    real = np.array([significance.sign_flip_p_value(rng.normal(0.1, 0.2, 30)) for _ in range(100)])
    assert np.mean(real <= 0.05) > 0.6  # the t test's power here is 0.75


def test_holm_by_hand():
    np.testing.assert_allclose(significance.holm(np.array([0.01, 0.04, np.nan, 0.03])), [0.03, 0.06, np.nan, 0.06])
    np.testing.assert_allclose(significance.holm(np.array([0.6, 0.5, 0.001])), [1.0, 1.0, 0.003])
    assert significance.holm(np.array([])).tolist() == []


def test_mcnemar_by_hand():
    assert significance.mcnemar_p_value(1, 5) == pytest.approx(2 * (1 + 6) / 2**6)  # 0 or 1 of 6 heads, on either side
    assert significance.mcnemar_p_value(5, 1) == significance.mcnemar_p_value(1, 5)
    assert significance.mcnemar_p_value(3, 3) == significance.mcnemar_p_value(0, 0) == 1


def test_mcnemar_never_errs_more_often_than_it_says():
    """Exact, hence conservative: 400 draws of 60 images on which 20 % of the answers differ (error of 0.05: 0.011)."""
    rng = np.random.default_rng(4)
    disagree = rng.binomial(60, 0.2, 400)
    rejected = [significance.mcnemar_p_value(g, d - g) <= 0.05 for g, d in zip(rng.binomial(disagree, 0.5), disagree)]
    assert np.mean(rejected) <= 0.05 + 2 * 0.011


def test_holm_errs_in_one_family_of_twenty_and_sees_what_is_there():
    """2000 families of five tests: without a difference some adjusted p <= 0.05 in 5 % or fewer (error 0.5 %)."""
    p_values = np.random.default_rng(6).random((2000, 5))
    assert np.mean([(significance.holm(family) <= 0.05).any() for family in p_values]) <= 0.05 + 2.5 * 0.005
    p_values[:, 0] = 0.001
    assert all(significance.holm(family)[0] <= 0.05 for family in p_values)
    assert np.mean([(significance.holm(family)[1:] <= 0.05).any() for family in p_values]) <= 0.05 + 2.5 * 0.005


def test_p_values_together_are_those_alone():
    rng = np.random.default_rng(7)
    columns = [rng.normal(0.1, 1, n) for n in (30, 5, 30, 1, 0, 30, 13, 14)]
    together = significance.sign_flip_p_values(columns)
    np.testing.assert_array_equal(together, [significance.sign_flip_p_value(column) for column in columns])
