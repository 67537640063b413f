"""Any measure, in any kind of table, gives the same numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from das_explain.errors import DasExplainError, UsageError
from das_explain.stats import pairing
from das_explain.stats import tables as stats
from tests.stats.rows import matrix_table


def long(scores: pd.DataFrame, **powers: float) -> pd.DataFrame:
    """The table as measures.csv has it: each measure is sfd to a power."""
    parts = [scores.assign(measure=name, value=scores["sfd"] ** power) for name, power in powers.items()]
    return pd.concat(parts, ignore_index=True).drop(columns="sfd")


def example() -> pd.DataFrame:
    a, b, c = np.random.default_rng(3).random((3, 20))
    scores = pd.concat([matrix_table(block, a=a**power, b=b, c=c) for block, power in (("x", 1), ("y", 2))])
    return scores.assign(status=np.where(np.arange(len(scores)) % 7, "ok", "zero_cam"))


def test_a_long_table_gives_what_the_column_gives():
    scores = example()
    measures = long(scores, iou=2, sfd=1)
    groups = {"a": "p", "b": "p"}
    for function in (stats.summarize, stats.compare):
        pd.testing.assert_frame_equal(function(measures), function(scores), check_exact=True)
    pd.testing.assert_frame_equal(stats.compare_groups(measures, groups), stats.compare_groups(scores, groups))
    as_column = scores.assign(iou=scores["sfd"] ** 2)
    pd.testing.assert_frame_equal(stats.compare(measures, "iou"), stats.compare(as_column, "iou"), check_exact=True)
    assert list(stats.summarize(measures, "iou").columns)[4] == "mean_iou"


def test_a_lift_is_given_for_every_measure_that_both_tables_have():
    scores = example()
    measures = long(scores, sfd=1, iou=2, gini=3)
    nulls = long(scores.assign(sfd=scores["sfd"] / 2, null="centre"), iou=2, sfd=1)
    lifts = stats.lift_over_nulls(measures, nulls)
    assert list(dict.fromkeys(lifts["measure"])) == ["sfd", "iou"]
    alone = stats.lift_over_nulls(scores, scores.assign(sfd=scores["sfd"] / 2, null="centre"))
    pd.testing.assert_frame_equal(lifts[lifts["measure"] == "sfd"], alone, check_exact=True)
    iou = lifts[lifts["measure"] == "iou"]
    np.testing.assert_allclose(iou["lift"], iou["mean"] * 3 / 4)
    pd.testing.assert_frame_equal(stats.lift_over_nulls(scores, nulls), alone, check_exact=True)


@pytest.mark.parametrize("kind", [object, "category", pd.StringDtype("pyarrow"), pd.StringDtype("python")])
def test_the_kind_of_text_columns_changes_nothing(kind):
    scores = example()
    nulls = scores.assign(null="centre", sfd=scores["sfd"] ** 2)
    texts = dict.fromkeys(("image", "model", "block", "status"), kind)
    for one, other in (
        (stats.summarize(scores), stats.summarize(scores.astype(texts))),
        (stats.compare(scores), stats.compare(scores.astype(texts))),
        (
            stats.lift_over_nulls(scores, nulls),
            stats.lift_over_nulls(scores.astype(texts), nulls.astype(texts | {"null": kind})),
        ),
    ):
        assert len(one)
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_names_that_are_numbers_are_text():
    scores = example()
    numbered = scores.assign(image=scores["image"].astype(int))
    as_text = numbered.assign(image=numbered["image"].astype(str))
    pd.testing.assert_frame_equal(stats.compare(as_text), stats.compare(numbered), check_exact=True)
    lifts = stats.lift_over_nulls(as_text, numbered.assign(null="centre"))
    assert (lifts["n"] > 15).all()
    assert (lifts["lift"] == 0).all()


def test_a_measure_that_the_table_lacks_is_a_usage_error():
    with pytest.raises(UsageError, match="the table of scores has no measure gini: it has sfd, iou"):
        stats.compare(long(example(), sfd=1, iou=2), "gini")
    with pytest.raises(DasExplainError, match="no column gini"):
        stats.compare(example(), "gini")


@pytest.mark.parametrize("kind", ["str", "object", "category", "float", "int"])
def test_a_column_is_laid_out_on_images(kind):
    values = pd.Series([2, 3, 4, 5, 6]).astype(kind if kind != "object" else str).astype(kind)
    table = pd.DataFrame({"image": ["c", "a", "c", "a", "b"], "block": "x", "model": ["m", "m", "m", "n", "n"]})
    table["value"] = values
    rows = pairing.rows_on(table, "x", "m", pd.Index(["a", "b", "c"]))
    assert rows.tolist() == [1, -1, 0]  # of two rows the first
    column = pairing.column_on(table, "value", rows)
    assert column.isna().tolist() == [False, True, False]
    assert column.dropna().tolist() == [values[1], values[0]]
    assert pairing.rows_on(table, "y", "m", pd.Index(["a"])).tolist() == [-1]
