"""Verdicts over readings, counted by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from das_explain.errors import DasExplainError, UsageError
from das_explain.stats import sensitivity as stats


def readings(deltas: dict[tuple, float], half: float = 0.1, **more) -> pd.DataFrame:
    """A row for each (scaling, threshold): difference."""
    rows = [
        {
            "block": "layer4",
            "model_a": "plain",
            "model_b": "das",
            "scaling": scaling,
            "threshold": threshold,
            "box": "rect",
            "region": "as is",
            "zero_cam": "out",
            "no_background": 1,
            "n": 50,
            "delta": delta,
            "ci_low": delta - half,
            "ci_high": delta + half,
        }
        | more
        for (scaling, threshold), delta in deltas.items()
    ]
    return pd.DataFrame(rows)[stats.READINGS]


FIVE = {("antilog", 0.1): -0.2, ("antilog", 0.3): 0.15, ("antilog", 0.5): 0.05, ("exp", 0.3): 0.3, ("exp", 0.5): -0.01}


def test_a_verdict_by_hand():
    table = stats.sensitivity(readings(FIVE))
    assert list(table.columns) == stats.SENSITIVITY
    row = table.iloc[0]
    assert (row.delta, row.readings, row.same_sign, row.excludes_zero, row.other_excludes_zero) == (0.15, 5, 3, 2, 1)
    assert (row.least, row["median"], row.greatest) == (-0.2, 0.05, 0.3)
    assert stats.verdict(row) == (
        "The sign of das − plain at layer4 holds in 3 of 5 readings; the interval excludes zero in 2, and in 1 on the "
        "other side."
    )


def test_the_other_sign_gives_the_same_counts():
    row = stats.sensitivity(readings({key: -delta for key, delta in FIVE.items()})).iloc[0]
    assert (row.delta, row.same_sign, row.excludes_zero, row.other_excludes_zero) == (-0.15, 3, 2, 1)
    alone = stats.sensitivity(readings({("antilog", 0.3): 0.2})).iloc[0]
    assert stats.verdict(alone).endswith("holds in 1 of 1 readings; the interval excludes zero in 1.")


def test_readings_without_a_difference_do_not_count():
    row = stats.sensitivity(readings(FIVE | {("linear", 0.7): np.nan})).iloc[0]
    assert (row.readings, row.same_sign) == (5, 3)
    nothing = stats.sensitivity(readings({("antilog", 0.3): np.nan})).iloc[0]
    assert (nothing.readings, nothing.same_sign, nothing.excludes_zero) == (0, 0, 0)
    with pytest.raises(DasExplainError, match="no reading of layer4 has a difference between plain and das"):
        stats.verdict(nothing)


def test_a_difference_of_rounding_errors_has_no_sign():
    row = stats.sensitivity(readings({("antilog", 0.3): 1e-16, ("exp", 0.3): 0.2, ("exp", 0.5): -0.2})).iloc[0]
    assert (row.same_sign, row.excludes_zero, row.other_excludes_zero) == (0, 0, 2)
    assert "has no sign; it excludes zero in 2 of 3 readings" in stats.verdict(row)


def test_the_curve_is_sorted_within_each_pair_and_marks_the_default():
    table = pd.concat([readings(FIVE), readings(FIVE | {("exp", 0.7): np.nan}, model_b="se")], ignore_index=True)
    curve = stats.specification_curve(table.sample(frac=1, random_state=0))
    for _, mine in curve.groupby("model_b"):
        assert mine["place"].tolist() == list(range(len(mine)))
        known = mine["delta"].dropna().to_numpy()
        assert (np.diff(known) >= 0).all()
        assert mine["delta"].isna().to_numpy()[: len(known)].sum() == 0, "what has no difference comes last"
        assert mine.loc[mine["default"], ["scaling", "threshold"]].to_numpy().tolist() == [["antilog", 0.3]]
    assert len(curve) == len(table)


def test_the_default_is_found_whatever_the_csv_made_of_the_choices():
    for zero_cam, no_background in product(("out", 0.5), (1, 1.0, "1", "1.0")):
        table = readings({("antilog", 0.3): 0.1}, no_background=no_background)
        other = readings({("antilog", 0.3): 0.2}, no_background="out", zero_cam=zero_cam)
        assert stats.sensitivity(pd.concat([table, other])).iloc[0].delta == 0.1
    texts = dict.fromkeys(("block", "model_a", "model_b", "scaling", "box", "region", "zero_cam", "no_background"), str)
    as_read = readings(FIVE).astype(texts).astype(dict.fromkeys(texts, "category"))
    assert stats.sensitivity(as_read).iloc[0].tolist() == stats.sensitivity(readings(FIVE)).iloc[0].tolist()
    chosen = stats.DEFAULT_READING | {"scaling": "exp"}
    assert stats.sensitivity(readings(FIVE), chosen).iloc[0].delta == 0.3


def test_a_default_that_is_not_there_once_is_named():
    with pytest.raises(UsageError, match="the readings of layer4, plain and das have the default reading 0 times"):
        stats.sensitivity(readings({("exp", 0.3): 0.1}))
    with pytest.raises(UsageError, match="have the default reading 2 times"):
        stats.sensitivity(pd.concat([readings(FIVE), readings(FIVE)]))
    with pytest.raises(DasExplainError, match="the table of readings has no column box"):
        stats.sensitivity(readings(FIVE).drop(columns="box"))


def test_no_readings_give_an_empty_table():
    assert list(stats.sensitivity(readings(FIVE).iloc[:0]).columns) == stats.SENSITIVITY
