"""Groups of trained copies: variances and intervals against known truths, by hand, against scipy and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from das_explain.errors import UsageError
from das_explain.stats import copies
from das_explain.stats.intervals import mean_intervals
from tests.stats.rows import grouped, trained

DRAWS, IMAGES = 1500, 100
ERROR = np.sqrt(0.95 * 0.05 / DRAWS)  # of a simulated coverage of 95 %: 0.6 %


def pilot(rng, k: int, copy: float, own: float, noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Two designs of one mean, (k, IMAGES) each; ``own`` is how far a design's images are its own (a deviation)."""
    images = rng.normal(0, 0.15, IMAGES)
    return tuple(trained(rng, k, images + rng.normal(0, own, IMAGES), 0.6, copy, noise) for _ in range(2))


@pytest.mark.parametrize("k", [2, 3, 5, 10])
@pytest.mark.parametrize(("copy", "own"), [(0.0, 0.0), (0.0, 0.1), (0.01, 0.05), (0.04, 0.0), (0.04, 0.1)])
def test_the_interval_of_designs_covers_95_percent_whether_copies_agree_or_not(k, copy, own):
    """1500 draws of 100 images. Exact values by 200,000 draws of the mean squares: 0.933 (k = 2) to 0.970."""
    rng = np.random.default_rng(1000 * k + int(1000 * copy) + int(10 * own))
    ends = np.array([copies.designs_interval(*pilot(rng, k, copy, own)) for _ in range(DRAWS)])
    covered = np.mean((ends[:, 0] <= 0) & (ends[:, 1] >= 0))
    assert 0.933 - 2.5 * ERROR <= covered <= 0.970 + 2.5 * ERROR


def test_adding_variances_up_as_they_are_would_cover_too_much_where_copies_agree():
    """Why the interaction is counted once: the same interval without that covers all but always, for 5 copies."""
    rng = np.random.default_rng(5)
    twice = []
    for _ in range(DRAWS):
        a, b = pilot(rng, 5, 0.0, 0.0)
        images = np.var(b.mean(axis=0) - a.mean(axis=0), ddof=1) / IMAGES
        parts = np.array([a.mean(axis=1).var(ddof=1) / 5, b.mean(axis=1).var(ddof=1) / 5, images])
        reach = scipy_stats.t.ppf(0.975, parts.sum() ** 2 / np.sum(parts**2 / [4, 4, IMAGES - 1]))
        twice.append(abs(b.mean() - a.mean()) <= reach * np.sqrt(parts.sum()))
    assert np.mean(twice) > 0.98


@pytest.mark.parametrize("k", [2, 3, 6])
def test_intervals_over_images_do_not_cover_what_training_again_moves(k):
    rng = np.random.default_rng(k)
    differences = [b.mean(axis=0) - a.mean(axis=0) for a, b in (pilot(rng, k, 0.04, 0.0) for _ in range(120))]
    assert np.mean([low <= 0 <= high for _, low, high in mean_intervals(differences)]) <= 0.75


def test_without_variation_between_copies_the_interval_is_the_one_over_images():
    rng = np.random.default_rng(9)
    a, b = np.repeat(rng.random((2, 300)), 4, axis=0).reshape(2, 4, 300)
    low, high = copies.designs_interval(a, b)
    reference = scipy_stats.ttest_1samp(b[0] - a[0], 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((reference.low, reference.high))
    assert copies.designs_interval(a * 0 + 0.4, a * 0 + 0.5) == pytest.approx((0.1, 0.1))
    assert np.isnan(copies.designs_interval(a[:, :1], b[:, :1])).all()


def test_between_copies_the_interval_is_welchs_when_images_agree():
    """All images alike: only the copies vary, and the interval must be the one of Welch's t test on copy means."""
    a, b = np.array([0.50, 0.53, 0.59]), np.array([0.60, 0.61, 0.68, 0.67])
    low, high = copies.designs_interval(np.tile(a[:, None], 20), np.tile(b[:, None], 20))
    reference = scipy_stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert (low, high) == pytest.approx((reference.low, reference.high))


def test_swapping_the_designs_mirrors_the_interval():
    a, b = pilot(np.random.default_rng(2), 3, 0.03, 0.1)
    low, high = copies.designs_interval(a, b[:2])
    assert copies.designs_interval(b[:2], a) == (-high, -low)


def test_variances_by_hand():
    """Two copies, three images: the residuals of the additive fit are 1, 0 and -1."""
    values = np.array([[1.0, 4.0, 7.0], [5.0, 6.0, 7.0]])
    # means: copies 4 and 6, images 3, 5, 7; residuals -1, 0, 1 and 1, 0, -1; mean squares 6, 8 and 4 / 2
    split = copies.split_variance(values)
    assert (split.copy, split.image, split.copy_image) == pytest.approx(((6 - 2) / 3, (8 - 2) / 2, 2))
    assert split.p_value == pytest.approx(scipy_stats.f.sf(6 / 2, 1, 2))
    assert np.isnan(copies.split_variance(values[:1])).all()


def test_variances_of_copies_that_differ_by_a_constant_or_not_at_all():
    images = np.linspace(0, 1, 7)
    assert copies.split_variance(np.stack([images, images + 0.1])) == pytest.approx(
        (0.1**2 / 2, np.var(images, ddof=1), 0, 0), abs=1e-12
    )
    assert copies.split_variance(np.stack([images, images])).p_value == 1


def test_variances_are_unbiased_and_the_test_of_copies_errs_as_often_as_it_says():
    rng = np.random.default_rng(7)
    splits = np.array([copies.split_variance(pilot(rng, 3, 0.02, 0.0)[0]) for _ in range(DRAWS)])
    for estimates, truth in zip(splits.T, (0.02**2, 0.15**2, 0.1**2)):
        assert abs(estimates.mean() - truth) <= 3 * estimates.std(ddof=1) / np.sqrt(DRAWS)
    p_values = np.array([copies.split_variance(pilot(rng, 3, 0.0, 0.0)[0]).p_value for _ in range(DRAWS)])
    assert abs(np.mean(p_values <= 0.05) - 0.05) <= 2.5 * ERROR
    assert scipy_stats.kstest(p_values, "uniform").pvalue > 0.01


def test_the_table_of_variances():
    rng = np.random.default_rng(12)
    plain, das = trained(rng, 3, np.linspace(0, 0.4, 50), 0.4, 0.03), trained(rng, 1, np.zeros(50), 0.5, 0.03)
    scores, groups = grouped(plain, das)
    table = copies.variance_table(scores, groups)
    assert list(table.columns) == copies.SPLIT
    assert table[["block", "group", "copies", "n"]].to_numpy().tolist() == [["layer4", "plain", 3, 50]]
    split = copies.split_variance(plain)
    assert table.iloc[0][["sd_copy", "sd_image", "sd_copy_image"]].tolist() == pytest.approx(np.sqrt(split[:3]))
    with pytest.raises(UsageError, match="no model is called c"):
        copies.variance_table(scores, {"c": "plain"})


@pytest.mark.parametrize("k", [2, 4])
def test_the_power_over_copies_is_the_share_of_studies_that_find_the_difference(k):
    """Against 1500 simulated studies (error 0.013 at most), from a pilot so large that it knows the variances."""
    rng = np.random.default_rng(k)
    a, b = pilot(rng, 200, 0.03, 0.0)
    expected = copies.power_over_copies(a, b, k, 0.08)
    found = [
        copies.designs_interval(*(values + shift for values, shift in zip(pilot(rng, k, 0.03, 0.0), (0, 0.08))))
        for _ in range(DRAWS)
    ]
    assert 0.15 < expected < 0.97
    assert np.mean([low > 0 for low, _ in found]) == pytest.approx(expected, abs=0.013 * 2.5)


def test_copies_needed_is_the_least_number_with_that_power():
    a, b = pilot(np.random.default_rng(3), 5, 0.03, 0.05)
    needed = copies.copies_needed(a, b, 0.03)
    assert (
        copies.power_over_copies(a, b, int(needed), 0.03) >= 0.8 > copies.power_over_copies(a, b, int(needed) - 1, 0.03)
    )
    assert copies.copies_needed(a, b, 1.0) == 2
    assert copies.copies_needed(a, b, 0.03) == copies.copies_needed(a, b, -0.03)
    assert copies.copies_needed(a, b, 0.001) == np.inf, "no number of copies makes up for images that differ"
    assert copies.copies_needed(a, b, 0.03, images=1000) <= needed


def test_a_plan_is_made_for_designs_with_copies():
    rng = np.random.default_rng(21)
    a, b = pilot(rng, 3, 0.03, 0.02)
    scores, groups = grouped(a, b + 0.05)
    plan = copies.plan_copies(scores, groups)
    assert list(plan.columns) == copies.PLAN
    row = plan.iloc[0]
    assert (row.group_a, row.group_b, row.copies_a, row.copies_b, row.n) == ("plain", "das", 3, 3, IMAGES)
    assert row.delta == pytest.approx(b.mean() + 0.05 - a.mean())
    assert row.copies_needed == copies.copies_needed(a, b + 0.05, row.delta)
    assert copies.plan_copies(scores, {"plain-0": "plain"}).empty, "single copies say nothing of copies"
    nothing = scores.assign(status=np.where(scores["model"] == "das-0", "zero_cam", "ok"))
    assert np.isnan(copies.plan_copies(nothing, groups).iloc[0].copies_needed)
