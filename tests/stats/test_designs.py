"""Designs from tables: the many columns at once are each column alone, intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr
from scipy.stats import t as t_distribution

from das_explain.stats.copies import design_interval, designs_interval
from das_explain.stats.designs import correlate, intervals_of_designs
from das_explain.stats.intervals import mean_intervals_in_closed_form


def drawn(rng: np.random.Generator, k: int, n: int, copy: float = 0.05, both: float = 0.1) -> np.ndarray:
    """Values (k, n) of a design with mean 0.5."""
    return 0.5 + rng.normal(0, copy, (k, 1)) + rng.normal(0, 0.1, (1, n)) + rng.normal(0, both, (k, n))


def test_many_columns_at_once_are_each_column_alone():
    rng = np.random.default_rng(1)
    a, b = rng.random((3, 12, 5)), rng.random((2, 12, 5))
    a[1, 3, 2] = b[0, 7, 2] = a[0, 0, 4] = np.nan
    b[:, :, 3] = a[:2, :, 3] = a[2, :, 3] = 0.25
    n, delta, low, high = intervals_of_designs(a, b)
    for column in range(5):
        there = ~(np.isnan(a[..., column]).any(0) | np.isnan(b[..., column]).any(0))
        mine, theirs = a[:, there, column], b[:, there, column]
        assert n[column] == there.sum()
        assert delta[column] == pytest.approx(theirs.mean() - mine.mean())
        assert (low[column], high[column]) == pytest.approx(designs_interval(mine, theirs))


def test_with_one_copy_the_interval_is_over_images():
    rng = np.random.default_rng(2)
    a, b = rng.random((1, 30, 2)), rng.random((3, 30, 2))
    found = intervals_of_designs(a, b)
    expected = mean_intervals_in_closed_form(b.mean(0) - a[0])
    assert np.stack(found) == pytest.approx(np.stack(expected))


def test_columns_without_a_common_image_have_no_interval():
    a, b = np.full((2, 3, 1), 0.5), np.full((2, 3, 1), np.nan)
    n, *rest = intervals_of_designs(a, b)
    assert n.tolist() == [0]
    assert np.isnan(rest).all()


@pytest.mark.parametrize("copy", [0.0, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("k", [2, 3, 5, 10])
def test_the_interval_of_one_design_holds_its_mean_in_19_of_20(k: int, copy: float):
    """2000 draws: a standard error of 0.5 points. Of few copies it is wider, never narrower."""
    rng = np.random.default_rng(3)
    held = []
    for _ in range(2000):
        low, high = design_interval(drawn(rng, k, 60, copy))
        held.append(low <= 0.5 <= high)
    assert 0.94 < np.mean(held) < (0.995 if k < 5 else 0.98)


def test_a_designs_interval_of_one_copy_or_of_equal_copies_is_the_t_interval_over_images():
    images = np.random.default_rng(5).random(40)
    ends = t_distribution(39, images.mean(), images.std(ddof=1) / 40**0.5).interval(0.95)
    for k in (1, 4):
        assert design_interval(np.tile(images, (k, 1))) == pytest.approx(ends)


def test_correlations_are_those_of_scipy_and_within_is_free_of_the_designs():
    rng = np.random.default_rng(4)
    group = np.repeat(["none", "das"], 5)
    right = np.where(group == "das", 0.9, 0.5) + rng.normal(0, 0.01, 10)
    sfd = np.where(group == "das", 0.7, 0.6) + rng.normal(0, 0.01, 10)
    models = [f"{name}#{i}" for i, name in enumerate(group)]
    columns = {"group": group, "model": models, "n": 9}
    table = pd.concat(
        [
            pd.DataFrame({**columns, "block": "", "measure": "top1", "mean": right}),
            pd.DataFrame({**columns, "block": "layer4", "measure": "sfd", "mean": sfd}),
        ]
    )
    (row,) = correlate(table, "top1").itertuples()
    low, high = pearsonr(right, sfd).confidence_interval()
    assert (row.copies, row.r, row.ci_low, row.ci_high) == pytest.approx((10, pearsonr(right, sfd)[0], low, high))
    assert row.rho == pytest.approx(spearmanr(right, sfd)[0])
    means = pd.DataFrame({"group": group, "right": right, "sfd": sfd})
    inner = means[["right", "sfd"]] - means.groupby("group")[["right", "sfd"]].transform("mean")
    assert row.within == pytest.approx(np.corrcoef(inner["right"], inner["sfd"])[0, 1])
    assert row.r > 0.9 > abs(row.within)
    few = correlate(table[table["model"].isin(models[:2])], "top1")
    assert few["r"].isna().all()


def test_intervals_of_correlations_hold_them_in_19_of_20():
    """800 draws of five copies of two designs: a standard error of 0.8 points."""
    rng = np.random.default_rng(6)
    group, true = np.repeat(["none", "das"], 5), 0.6
    columns = {"group": group, "model": [f"{name}#{i}" for i, name in enumerate(group)], "n": 9}
    held = []
    for _ in range(800):
        right = rng.normal(0, 1, 10)
        sfd = true * right + (1 - true**2) ** 0.5 * rng.normal(0, 1, 10)
        parts = [
            pd.DataFrame({**columns, "block": "", "measure": "top1", "mean": right}),
            pd.DataFrame({**columns, "block": "layer4", "measure": "sfd", "mean": sfd}),
        ]
        (row,) = correlate(pd.concat(parts), "top1").itertuples()
        held.append((row.ci_low <= true <= row.ci_high, row.within_ci_low <= true <= row.within_ci_high))
    for share in np.mean(held, axis=0):
        assert 0.93 < share < 0.97
