"""What excluded images could do, by hand and by simulation of exclusions that depend on the score."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from das_explain.errors import UsageError
from das_explain.stats import exclusions, tables
from tests.stats.rows import rows, table


def test_statuses_are_counted():
    scores = table(
        rows("a", "x", {"1": 0.5, "2": None, "3": 1.0}),
        rows("a", "y", {"1": None, "2": None, "3": None}),
        rows("b", "x", {"1": 1.0, "2": 0.3}, status="no_background"),
    )
    counted = exclusions.count_statuses(scores)
    assert counted.to_numpy().tolist() == [
        ["a", "x", "ok", 2],
        ["a", "x", "zero_cam", 1],
        ["a", "y", "zero_cam", 3],
        ["b", "x", "no_background", 2],
    ]
    pd.testing.assert_frame_equal(
        counted, exclusions.count_statuses(scores.astype({"model": "category", "status": "category"}))
    )
    assert counted["n"].sum() == len(scores)


def test_bounds_by_hand():
    missing = {"4": None}
    scores = table(
        rows("a", "x", {"1": 0.2, "2": 0.4, "3": None, "5": None, "6": None}),
        rows("a", "x", missing),
        rows("b", "x", {"1": 0.5, "2": 0.6, "3": 0.8, "5": None}),
        rows("b", "x", {"4": 0.3, "6": None}),
    )
    # 5: neither has an object; 6: both maps are zero
    scores.loc[scores["image"] == "5", "status"] = "no_object"
    row = exclusions.compare_with_exclusions(scores).iloc[0]
    assert (row.n, row.excluded_a, row.excluded_b, row.excluded_both) == (2, 2, 0, 1)
    assert row.delta == pytest.approx(0.25)
    # images 1, 2, 3, 4, 6: 0.3, 0.2, (0.8 - 1 to 0.8 - 0), (0.3 - 1 to 0.3), (-1 to 1)
    assert row.delta_low == pytest.approx((0.3 + 0.2 - 0.2 - 0.7 - 1) / 5)
    assert row.delta_high == pytest.approx((0.3 + 0.2 + 0.8 + 0.3 + 1) / 5)
    assert not row.holds
    assert row.bound_ci_low < row.delta_low < row.delta_high < row.bound_ci_high


def test_without_exclusions_the_bounds_are_the_difference():
    a, b = np.random.default_rng(1).random((2, 30))
    scores = table(
        *(rows(m, "x", {f"{i:02}": v for i, v in enumerate(values)}) for m, values in (("a", a), ("b", b + 1)))
    )
    row = exclusions.compare_with_exclusions(scores, bounds=(0, 2)).iloc[0]
    compared = tables.compare(scores).iloc[0]
    assert (row.delta, row.ci_low, row.ci_high) == (compared.delta, compared.ci_low, compared.ci_high)
    assert (row.delta_low, row.delta_high) == (row.delta, row.delta)
    assert (row.bound_ci_low, row.bound_ci_high) == (row.ci_low, row.ci_high)
    assert row.holds
    with pytest.raises(UsageError, match="sfd has values outside 0.0 to 1.0"):
        exclusions.compare_with_exclusions(scores)
    with pytest.raises(UsageError, match="sfd has no bounds to count excluded images at: 0 to inf"):
        exclusions.compare_with_exclusions(scores, bounds=(0, np.inf))


def test_a_run_in_which_nothing_is_scored_decides_nothing():
    scores = table(rows("a", "x", {"1": None, "2": None}), rows("b", "x", {"1": None, "2": None}))
    row = exclusions.compare_with_exclusions(scores).iloc[0]
    assert (row.n, row.excluded_both, row.delta_low, row.delta_high, row.holds) == (0, 2, -1, 1, False)
    assert np.isnan(row.delta)
    row = exclusions.compare_with_exclusions(scores.assign(status="no_mask")).iloc[0]
    assert (row.n, row.excluded_a, row.excluded_b, row.excluded_both) == (0, 0, 0, 0)
    assert np.isnan(row.delta_low)
    empty = exclusions.compare_with_exclusions(scores.iloc[:0])
    assert list(empty.columns) == exclusions.BOUNDS
    assert list(exclusions.count_statuses(scores.iloc[:0]).columns) == exclusions.STATUSES


def test_swapping_the_models_mirrors_the_bounds():
    rng = np.random.default_rng(2)
    values = rng.random((2, 25))
    values[rng.random((2, 25)) < 0.2] = np.nan
    named = {m: {f"{i:02}": None if np.isnan(v) else v for i, v in enumerate(of_m)} for m, of_m in zip("ab", values)}
    one = exclusions.compare_with_exclusions(table(*(rows(m, "x", named[m]) for m in "ab"))).iloc[0]
    other = exclusions.compare_with_exclusions(table(*(rows(m, "x", named[m]) for m in "ba"))).iloc[0]
    assert (one.delta_low, one.delta_high) == pytest.approx((-other.delta_high, -other.delta_low))
    assert (one.excluded_a, one.excluded_b, one.holds) == (other.excluded_b, other.excluded_a, other.holds)


def test_the_bounds_cover_the_truth_where_the_images_left_over_do_not(quick):
    """300 draws of 80 images whose higher scores of b are missing the more often: the difference of all images is 0."""
    rng = np.random.default_rng(3)
    values = rng.beta(4, 4, (2, 300, 80))  # model, block (a draw each), image
    values[1][(values[1] > 0.5) & (rng.random((300, 80)) < 0.5)] = np.nan
    places = [axis.ravel() for axis in np.indices(values.shape)]
    named = {name: place.astype(str) for name, place in zip(("model", "block", "image"), places)}
    status = np.where(np.isnan(values.ravel()), "zero_cam", "ok")
    result = exclusions.compare_with_exclusions(pd.DataFrame(named | {"sfd": values.ravel(), "status": status}))
    assert len(result) == 300
    assert ((result["bound_ci_low"] <= 0) & (result["bound_ci_high"] >= 0)).mean() >= 0.95
    assert ((result["ci_low"] <= 0) & (result["ci_high"] >= 0)).mean() <= 0.75
