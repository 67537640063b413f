"""Intervals against scipy, hand-computed values and simulations with a known truth."""

from __future__ import annotations

import re

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


def test_of_many_values_the_ends_are_those_that_resampling_gives_or_near(monkeypatch):
    """Within 2.5 % of the width, skewed and rare values too; the ends from other resamples are as far apart."""
    rng, n = np.random.default_rng(5), 2500
    columns = [rng.beta(2, 5, n), rng.random(n) < 0.02, rng.beta(8, 4, n) - rng.beta(8, 4, n), np.full(n, 0.25)]
    ours = np.array(intervals.mean_intervals(columns))
    monkeypatch.setattr(intervals, "MANY", n)
    resampled = np.array(intervals.mean_intervals(columns))
    assert (ours != resampled)[:3, 1:].all(), "not resampled"
    width = resampled[:, 2:] - resampled[:, 1:2]
    assert (np.abs(ours - resampled)[:3] < 0.025 * width[:3]).all()
    np.testing.assert_allclose(ours[3], 0.25, rtol=1e-12)


def test_a_column_is_the_same_alone_and_in_company():
    rng = np.random.default_rng(0)
    columns = [rng.random(n) for n in (30, 7, 30, 1, 30, 0)]
    together = intervals.mean_intervals(columns)
    np.testing.assert_array_equal(together, [intervals.mean_intervals([column])[0] for column in columns])


def test_intervals_over_images_cover_the_truth():
    """300 draws of 40 images, skewed: 94.3 % by 40,000 draws of the closed form; a draw errs by 1.3 points."""
    columns = np.random.default_rng(8).beta(2, 5, (300, 40))
    covered = np.mean([low <= 2 / 7 <= high for _, low, high in intervals.mean_intervals(columns)])
    assert covered == pytest.approx(0.943, abs=2.5 * np.sqrt(0.943 * 0.057 / 300))


@pytest.mark.parametrize(("images", "skewed", "paired"), [(20, 0.935, 0.930), (40, 0.943, 0.939), (100, 0.948, 0.946)])
def test_intervals_in_closed_form_cover_the_truth(images, skewed, paired):
    """4000 draws each of a skewed score and of a paired difference, as in readings.csv; they err by 0.4 points. Expected
    are shares of 40,000 draws: below 95 % for few images, as the bootstrap they stand for."""
    rng = np.random.default_rng(images)
    scores, differences = (
        rng.beta(2, 5, (images, 4000)),
        rng.beta(8, 4, (images, 4000)) - rng.beta(8, 4, (images, 4000)),
    )
    for values, truth, expected in ((scores, 2 / 7, skewed), (differences, 0, paired)):
        _, _, low, high = intervals.mean_intervals_in_closed_form(values)
        covered = np.mean((low <= truth) & (truth <= high))
        assert covered == pytest.approx(expected, abs=2.5 * np.sqrt(expected * (1 - expected) / 4000) + 0.003)


def test_intervals_over_few_values_are_too_short_as_people_are_told():
    told = intervals.caution(7, "photos")
    assert told.startswith("an interval over the 7 photos is too short")
    assert not any(intervals.caution(n, "photos") for n in (0, 1, intervals.ENOUGH, 100))
    draws, rng = 4000, np.random.default_rng(3)
    shares = {int(n): int(share) / 100 for share, n in re.findall(r"(\d+)(?: of 100 cases)? with (\d+)", told)}
    assert list(shares) == [intervals.ENOUGH, 10, 5, 2]
    for n, share in shares.items():
        holding = np.mean(
            [low <= 0 <= high for _, low, high in intervals.mean_intervals(list(rng.normal(size=(draws, n))))]
        )
        assert abs(holding - share) < 0.015 + 2 * np.sqrt(share * (1 - share) / draws), n


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
