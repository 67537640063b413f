"""Ranks, shifts and numbers of images against scipy, published values, brute force and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from das_explain.errors import UsageError
from das_explain.stats import effects
from das_explain.stats.significance import holm
from tests.stats.rows import matrix_table

DRAWS = 600
ERROR = np.sqrt(0.95 * 0.05 / DRAWS)  # of a simulated 5 % or 95 %: 0.9 %


def walsh(values: np.ndarray) -> np.ndarray:
    """All means of two, the reference: n (n + 1) / 2 of them, sorted."""
    i, j = np.triu_indices(len(values))
    return np.sort((values[i] + values[j]) / 2)


def test_wilcoxon_by_hand():
    assert effects.wilcoxon_p_value([1, 2, 3]) == 2 / 8  # only all signs alike are as far out
    assert effects.wilcoxon_p_value([1, 2, 3, 4, 5, -6]) == pytest.approx(2 * 14 / 64)  # W- = 6: 14 subsets sum to <= 6
    assert effects.wilcoxon_p_value([0.0, 0.0, 0.0]) == 1
    assert np.isnan(effects.wilcoxon_p_value([0.2]))
    assert effects.wilcoxon_p_value([0.3 - 0.2, 0.1, -0.1, -(0.3 - 0.2)]) == 1  # four ties but for rounding


def test_wilcoxon_errs_as_often_as_it_says():
    """600 draws of 40 skewless differences each; the exact test's level is 0.05 less its steps."""
    rng = np.random.default_rng(3)
    p_values = [effects.wilcoxon_p_value(rng.laplace(0, 0.2, 40)) for _ in range(DRAWS)]
    assert abs(np.mean(np.array(p_values) <= 0.05) - 0.05) <= 2.5 * ERROR


def test_rank_biserial_by_hand():
    assert effects.rank_biserial([1, 2, 3]) == 1
    assert effects.rank_biserial([-1, -2]) == -1
    assert effects.rank_biserial([1, -2, 3, 0]) == pytest.approx((1 + 3 - 2) / 6)
    assert effects.rank_biserial([1, 1, -1]) == pytest.approx((2 + 2 - 2) / 6)  # ties share the rank 2
    assert effects.rank_biserial([0, 0]) == 0
    assert np.isnan(effects.rank_biserial([]))


def test_rank_biserial_agrees_with_scipys_statistic():
    x = np.random.default_rng(1).normal(0.1, 1, 80)
    total = 80 * 81 / 2
    plus = scipy_stats.wilcoxon(x, alternative="greater").statistic
    assert effects.rank_biserial(x) == pytest.approx((plus - (total - plus)) / total)


def test_the_shift_is_the_median_of_all_means_of_two():
    rng = np.random.default_rng(2)
    for n in (1, 2, 3, 6, 7, 50, 51, 200):
        for values in (rng.normal(0.1, 0.3, n), rng.integers(-2, 3, n) / 4):
            assert effects.hodges_lehmann(values).shift == pytest.approx(np.median(walsh(values)), abs=1e-9)
    assert np.isnan(effects.hodges_lehmann([])).all()
    assert effects.hodges_lehmann(np.full(9, 0.25)) == (0.25, 0.25, 0.25)


def test_the_interval_of_the_shift_is_made_of_the_means_that_the_signed_ranks_allow():
    """n = 10: P(W <= 8) = 0.0244 and P(W <= 9) = 0.0322, so the ends are the 9th means from either side (Hollander,
    Wolfe and Chicken 2014, Table A.4)."""
    values = np.random.default_rng(4).normal(0, 1, 10)
    means = walsh(values)
    _, low, high = effects.hodges_lehmann(values)
    assert (low, high) == pytest.approx((means[8], means[-9]), abs=1e-9)
    assert np.isnan(effects.hodges_lehmann(values[:5])[1:]).all()
    _, low, high = effects.hodges_lehmann(values[:6])  # 2 / 64 = 0.03: only the extremes
    assert (low, high) == pytest.approx((values[:6].min(), values[:6].max()), abs=1e-9)


def test_the_interval_excludes_0_where_wilcoxons_test_says_so():
    rng = np.random.default_rng(5)
    for n in (8, 30):
        for values in rng.normal(0.3, 0.6, (60, n)):
            _, low, high = effects.hodges_lehmann(values)
            assert (low > 0 or high < 0) == (effects.wilcoxon_p_value(values) <= 0.05)


@pytest.mark.parametrize("n", [12, 80])
def test_the_interval_of_the_shift_covers_it(n):
    """600 draws, heavy tails; exact at n = 12 (95.8 %), normal at n = 80."""
    rng = np.random.default_rng(n)
    ends = np.array([effects.hodges_lehmann(rng.standard_t(3, n) * 0.1 + 0.2)[1:] for _ in range(DRAWS)])
    covered = np.mean((ends[:, 0] <= 0.2) & (ends[:, 1] >= 0.2))
    assert 0.95 - 2.5 * ERROR <= covered <= 0.96 + 2.5 * ERROR


def test_a_large_sample_needs_no_room_for_its_means():
    values = np.random.default_rng(6).normal(0.05, 0.2, 20_000)
    shift, low, high = effects.hodges_lehmann(values)
    assert low < shift < high
    assert shift == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_images_needed_for_the_effects_that_every_table_has(effect, n):
    """Paired t test, two-sided, 5 %, power 80 %: the numbers of G*Power 3.1 (Faul et al. 2007)."""
    sample = np.array([-1.0, 1.0]) / np.sqrt(2) + effect  # deviation 1
    assert effects.images_needed(sample) == n
    assert effects.images_needed(-sample) == n


def test_images_needed_have_that_power():
    """600 studies; their error at 80 % is 1.6 %."""
    rng = np.random.default_rng(8)
    n = int(effects.images_needed(np.array([-1.0, 1.0]) / np.sqrt(2) + 0.4))
    found = scipy_stats.ttest_1samp(rng.normal(0.4, 1, (DRAWS, n)), 0, axis=1).pvalue <= 0.05
    assert found.mean() == pytest.approx(0.8, abs=2.5 * 0.0163)


def test_images_needed_at_the_ends():
    assert effects.images_needed([0.1, -0.1]) == np.inf
    assert effects.images_needed([0.1, 0.1]) == 2
    small = (
        np.array([-1.0, 1.0]) / np.sqrt(2) + 0.001
    )  # (1.96 + 0.84)^2 / 0.001^2, as the t distribution is normal here
    assert effects.images_needed(small) == pytest.approx(7.849e6, rel=1e-3)
    assert np.isnan(effects.images_needed([0.1]))
    assert effects.images_needed(np.array([-1.0, 1.0]) / np.sqrt(2) + 0.4, power=0.95) > effects.images_needed(
        np.array([-1.0, 1.0]) / np.sqrt(2) + 0.4
    )


@settings(deadline=None, max_examples=40)
@given(values=st.lists(st.integers(-20, 20), min_size=6, max_size=30))
def test_the_other_sign_mirrors_everything(values):
    values = np.array(values) / 20
    shift, low, high = effects.hodges_lehmann(values)
    assert effects.hodges_lehmann(-values) == pytest.approx((-shift, -high, -low), abs=1e-9)
    assert values.min() - 1e-9 <= low <= shift <= high <= values.max() + 1e-9
    assert effects.rank_biserial(-values) == pytest.approx(-effects.rank_biserial(values))
    assert -1 <= effects.rank_biserial(values) <= 1
    if len(values) > 13:  # scipy takes a second for ties among fewer
        assert effects.wilcoxon_p_value(-values) == pytest.approx(effects.wilcoxon_p_value(values))


def test_the_table_of_effects():
    rng = np.random.default_rng(9)
    a, b, c = rng.random((3, 40))
    table = effects.effect_sizes(matrix_table("x", a=a, b=b + 0.2, c=c))
    assert list(table.columns) == effects.EFFECTS
    assert table[["model_a", "model_b", "n"]].to_numpy().tolist() == [["a", "b", 40], ["a", "c", 40], ["b", "c", 40]]
    first = table.iloc[0]
    assert first.p_value == effects.wilcoxon_p_value(b + 0.2 - a)
    assert (first["shift"], first.shift_low, first.shift_high) == effects.hodges_lehmann(b + 0.2 - a)
    assert table["p_adjusted"].tolist() == holm(table["p_value"].to_numpy()).tolist()
    against_c = effects.effect_sizes(matrix_table("x", a=a, b=b + 0.2, c=c), baseline="c")
    assert against_c[["model_a", "model_b"]].to_numpy().tolist() == [["c", "a"], ["c", "b"]]
    assert against_c.iloc[0]["shift"] == pytest.approx(-table.iloc[1]["shift"], abs=1e-9)
    with pytest.raises(UsageError, match="no model is called d: the run's models are a, b"):
        effects.effect_sizes(matrix_table("x", a=a, b=b), baseline="d")


@pytest.mark.parametrize("decimals", [9, 1])
def test_wilcoxon_of_many_is_scipys_with_and_without_ties(decimals: int):
    rng = np.random.default_rng(decimals)
    for n in (51, 52, 80, 300):
        differences = rng.normal(0.1, 1, n).round(decimals)
        expected = scipy_stats.wilcoxon(differences).pvalue
        assert effects.wilcoxon_p_value(differences) == pytest.approx(expected, rel=1e-9)
