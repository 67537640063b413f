"""Tables against hand-computed tables, and properties that must hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from das_explain.errors import DasExplainError, UsageError
from das_explain.stats import tables as stats
from das_explain.stats.claims import claim
from tests.stats.rows import grouped, matrix_table, rows, table, trained


def test_summary_by_hand():
    scores = table(
        rows("resnet", "layer4", {"b": 0.5, "a": 0.7, "c": None}),
        rows("resnet", "layer3", {"a": 0.2, "b": None, "c": None}),
        rows("das", "layer4", {"a": None, "b": None, "c": None}),
        rows("das", "features.17", {"a": 0.25, "b": 0.25, "c": 0.25}),
        rows("das", "features.17", {"d": 1.0}, status="no_background"),  # flagged, and counted: 1 by Eq. 5
    )
    summary = stats.summarize(scores)
    assert list(summary.columns) == ["model", "block", "n", "n_scored", "mean_sfd", "ci_low", "ci_high"]
    assert summary[["model", "block", "n", "n_scored"]].to_numpy().tolist() == [
        ["resnet", "layer4", 3, 2],
        ["resnet", "layer3", 3, 1],
        ["das", "layer4", 3, 0],
        ["das", "features.17", 4, 4],
    ]
    np.testing.assert_allclose(summary["mean_sfd"], [0.6, 0.2, np.nan, 0.4375], atol=1e-15)
    # two values: the bootstrap means are 0.5, 0.6, 0.7 with odds 1:2:1, so the 95 % ends are the values themselves
    np.testing.assert_allclose(summary["ci_low"].iloc[:3], [0.5, np.nan, np.nan], atol=1e-15)
    np.testing.assert_allclose(summary["ci_high"].iloc[:3], [0.7, np.nan, np.nan], atol=1e-15)


def test_no_rows_give_empty_tables_with_their_columns():
    nothing = pd.DataFrame(columns=["image", "model", "block", "null", "sfd", "status"])
    assert list(stats.summarize(nothing).columns) == stats.SUMMARY
    assert list(stats.compare(nothing).columns) == stats.COMPARISON
    assert list(stats.compare_groups(nothing, {}).columns) == stats.GROUPS
    assert list(stats.lift_over_nulls(nothing, nothing).columns) == stats.LIFTS
    assert claim(nothing) == "Nothing was scored."


def test_comparison_by_hand():
    scores = table(
        rows("a", "layer4", {"1": 0.2, "2": 0.4, "3": 0.6, "4": None, "5": 0.9}),
        rows("b", "layer4", {"1": 0.5, "2": 0.6, "3": 0.6, "4": 0.8, "5": None}),
        rows("c", "layer4", {"1": None, "2": None, "3": None, "4": 0.1, "5": 0.1}),
        rows("a", "layer3", {"1": 0.2}),
        rows("b", "features.17", {"1": 0.2}),
    )
    result = stats.compare(scores)
    assert list(result.columns) == stats.COMPARISON
    assert result[["block", "model_a", "model_b", "n"]].to_numpy().tolist() == [
        ["layer4", "a", "b", 3],
        ["layer4", "a", "c", 1],
        ["layer4", "b", "c", 1],
    ]  # layer3 and features.17 have no partner
    first = result.iloc[0]
    assert (first.mean_a, first.mean_b, first.delta) == pytest.approx((0.4, 1.7 / 3, 0.5 / 3))
    assert first.win_rate == pytest.approx((1 + 1 + 0.5) / 3)
    assert first.p_value == 0.5  # differences 0.3, 0.2, 0: |sum| >= 0.5 in 4 of 8 sign patterns
    assert result["p_value"].isna().tolist() == [False, True, True]
    assert result["p_adjusted"].tolist()[0] == 0.5  # the NaN rows are no tests
    assert result.iloc[1][["delta", "win_rate"]].tolist() == pytest.approx([-0.8, 0.0])
    assert np.isnan(result.iloc[1].ci_low)


def test_a_pair_without_common_images_is_a_row_without_numbers():
    result = stats.compare(table(rows("a", "x", {"1": 0.2, "2": None}), rows("b", "x", {"1": None, "2": 0.3})))
    assert result["n"].tolist() == [0]
    assert result.drop(columns=["block", "model_a", "model_b", "n"]).isna().all(axis=None)


def test_holm_is_over_all_rows_of_the_comparison():
    rng = np.random.default_rng(2)
    scores = pd.concat(
        [matrix_table(block, a=rng.random(9), b=rng.random(9), c=rng.random(9) + 0.5) for block in ("x", "y")]
    )
    result = stats.compare(scores)
    p = result["p_value"].to_numpy()
    assert len(p) == 6
    by_hand, reached = {}, 0.0
    for rank, i in enumerate(sorted(range(6), key=lambda i: p[i])):
        reached = max(reached, min(1, (6 - rank) * p[i]))
        by_hand[i] = reached
    assert result["p_adjusted"].tolist() == pytest.approx([by_hand[i] for i in range(6)])


sfd_values = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=20)


@settings(deadline=None, max_examples=30)
@given(pairs=sfd_values)
def test_swapping_the_models_mirrors_the_comparison(pairs):
    a, b = np.array(pairs).T
    one = stats.compare(matrix_table("x", a=a, b=b)).iloc[0]
    other = stats.compare(matrix_table("x", b=b, a=a)).iloc[0]
    assert (one.model_a, one.model_b) == (other.model_b, other.model_a)
    assert one.delta == -other.delta
    assert (one.ci_low, one.ci_high) == pytest.approx((-other.ci_high, -other.ci_low), abs=1e-9)
    assert one.p_value == other.p_value
    assert one.win_rate == pytest.approx(1 - other.win_rate)


@settings(deadline=None, max_examples=30)
@given(pairs=sfd_values, shift=st.floats(-1, 1))
def test_a_constant_added_to_one_model_moves_delta_and_interval_by_it(pairs, shift):
    a, b = np.array(pairs).T
    before = stats.compare(matrix_table("x", a=a, b=b)).iloc[0]
    after = stats.compare(matrix_table("x", a=a, b=b + shift)).iloc[0]
    for column in ("delta", "ci_low", "ci_high", "mean_b"):
        assert after[column] == pytest.approx(before[column] + shift, abs=1e-8)
    assert before.ci_low - 1e-12 <= before.delta <= before.ci_high + 1e-12 or np.isnan(before.ci_low)
    assert min(b - a) - 1e-9 <= before.ci_low <= before.ci_high <= max(b - a) + 1e-9


@settings(deadline=None, max_examples=15)
@given(random=st.randoms(use_true_random=False), missing=st.sets(st.integers(0, 59), max_size=20))
def test_the_order_of_rows_changes_no_digit(random, missing):
    values = np.random.default_rng(4).random((5, 12))
    values.reshape(-1)[list(missing)] = np.nan
    models = {name: [None if np.isnan(x) else x for x in xs] for name, xs in zip("abcde", values, strict=True)}
    scores = matrix_table("x", **models)
    nulls = scores.assign(null="centre", sfd=scores["sfd"] ** 2)
    groups = {"a": "plain", "b": "plain", "c": "das", "d": "das"}
    heads = list(range(0, 60, 12))  # one row of each model stays in front: the order of models is the input's to choose
    tail = [i for i in range(60) if i not in heads]
    random.shuffle(tail)
    shuffled, shuffled_nulls = (frame.iloc[heads + tail] for frame in (scores, nulls))
    for one, other in (
        (stats.summarize(scores), stats.summarize(shuffled)),
        (stats.compare(scores), stats.compare(shuffled)),
        (stats.compare_groups(scores, groups), stats.compare_groups(shuffled, groups)),
        (stats.lift_over_nulls(scores, nulls), stats.lift_over_nulls(shuffled, shuffled_nulls)),
    ):
        assert len(one)
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_another_model_moves_no_digit_of_the_others():
    rng = np.random.default_rng(6)
    a, b, c = rng.random((3, 25))
    alone = stats.summarize(matrix_table("x", a=a, b=b))
    pd.testing.assert_frame_equal(
        alone, stats.summarize(matrix_table("x", a=a, c=c, b=b)).iloc[[0, 2]].reset_index(drop=True), check_exact=True
    )


def test_one_copy_speaks_of_checkpoints_and_several_of_designs():
    """As in a first try of the claim: one seed says worse, the next better, "significantly"; three say nothing."""
    rng = np.random.default_rng(1)
    images = rng.normal(0, 0.15, 689)
    plain, das = (trained(rng, 3, images, 0.59, 0.03) for _ in range(2))
    one_seed = [stats.compare(grouped(plain[i : i + 1], das[i : i + 1])[0]).iloc[0] for i in range(3)]
    signs = {np.sign(row.delta) for row in one_seed if row.ci_low > 0 or row.ci_high < 0}
    assert signs == {-1.0, 1.0}, "the simulated seeds contradict one another, as the real ones did"

    scores, groups = grouped(plain, das)
    row = stats.compare_groups(scores, groups).iloc[0]
    assert (row.group_a, row.group_b, row.copies_a, row.copies_b, row.n) == ("plain", "das", 3, 3, 689)
    assert row.claim == "designs"
    assert row.delta == pytest.approx(das.mean() - plain.mean())
    assert (row.mean_a, row.mean_b) == pytest.approx((plain.mean(), das.mean()))
    assert row.ci_low < 0 < row.ci_high
    assert row.ci_high - row.ci_low > 5 * (row.image_ci_high - row.image_ci_low)

    scores, groups = grouped(plain[:1], das)
    row = stats.compare_groups(scores, groups).iloc[0]
    assert (row.copies_a, row.copies_b, row.claim) == (1, 3, "checkpoints")
    assert (row.ci_low, row.ci_high) == (row.image_ci_low, row.image_ci_high)


def test_groups_favour_neither_side():
    rng = np.random.default_rng(12)
    images = rng.normal(0, 0.1, 50)
    plain, das = trained(rng, 3, images, 0.5, 0.03), trained(rng, 2, images, 0.6, 0.03)
    scores, groups = grouped(plain, das)
    one = stats.compare_groups(scores, groups).iloc[0]
    backwards = pd.concat([scores[scores["model"].str.startswith(name)] for name in ("das", "plain")])
    other = stats.compare_groups(backwards, groups).iloc[0]
    assert (other.group_a, other.group_b) == ("das", "plain")
    assert (one.delta, one.ci_low, one.ci_high) == pytest.approx((-other.delta, -other.ci_high, -other.ci_low))


def test_groups_use_only_images_scored_for_every_copy():
    scores = table(
        rows("p1", "x", {"1": 0.1, "2": 0.2, "3": 0.3}),
        rows("p2", "x", {"1": 0.3, "2": None, "3": 0.5}),
        rows("d1", "x", {"1": 0.6, "2": 0.6, "3": 0.8}),
        rows("d1", "y", {"1": 0.6}),
    )
    row = stats.compare_groups(scores, {"p1": "p", "p2": "p"}).iloc[0]
    assert (row.group_b, row.n, row.claim) == ("d1", 2, "checkpoints")
    assert (row.mean_a, row.mean_b, row.delta) == pytest.approx((0.3, 0.7, 0.4))


def test_paired_differences_and_lifts_cover_the_truth():
    """300 draws (one a block) of 40 images: two models, and a null, that share what is easy about a photo. A share of 95 %
    of 300 errs by 1.3 points."""
    rng = np.random.default_rng(4)
    easy = rng.normal(0.6, 0.15, (300, 1, 40))
    values = easy + np.array([0.0, 0.05, -0.2])[None, :, None] + rng.normal(0, 0.08, (300, 3, 40))
    images, blocks = np.array([f"{i:02d}" for i in range(40)]), np.array([f"b{i:03d}" for i in range(300)])
    frame = pd.DataFrame(
        {
            "image": np.tile(images, 900),
            "model": np.tile(np.repeat(["a", "b", "null"], 40), 300),
            "block": np.repeat(blocks, 120),
            "sfd": values.ravel(),
            "status": "ok",
        }
    )
    models, null = frame[frame["model"] != "null"], frame[frame["model"] == "null"]
    compared = stats.compare(models)
    nulls = null.rename(columns={"sfd": "value"}).assign(model="a", null="centre", measure="sfd")
    lifts = stats.lift_over_nulls(models[models["model"] == "a"], nulls)
    error = np.sqrt(0.95 * 0.05 / 300)
    for found, truth in ((compared, 0.05), (lifts, 0.2)):
        assert len(found) == 300
        covered = np.mean((found["ci_low"] <= truth) & (truth <= found["ci_high"]))
        assert covered == pytest.approx(0.945, abs=2.5 * error)


def test_lift_by_hand():
    scores = table(rows("a", "x", {"1": 0.6, "2": 0.8, "3": 0.7, "4": None}), rows("b", "x", {"1": 0.5, "2": 0.5}))
    nulls = table(
        rows("a", "x", {"1": 0.5, "2": 0.5, "3": None, "4": 0.9, "5": 0.1}, null="centre"),
        rows("a", "x", {"1": 0.5, "2": 0.5, "3": 0.5}, null="uniform"),
        rows("b", "x", {"1": 0.75, "2": 0.75}, null="centre"),
    )
    result = stats.lift_over_nulls(scores, nulls)
    assert list(result.columns) == [
        "model",
        "block",
        "measure",
        "mean",
        "null",
        "mean_null",
        "lift",
        "ci_low",
        "ci_high",
        "n",
    ]
    assert result[["model", "block", "null", "n"]].to_numpy().tolist() == [
        ["a", "x", "centre", 2],
        ["a", "x", "uniform", 3],
        ["b", "x", "centre", 2],
    ]
    np.testing.assert_allclose(result["mean"], [0.7, 0.7, 0.5])
    np.testing.assert_allclose(result["mean_null"], [0.5, 0.5, 0.75])
    np.testing.assert_allclose(result["lift"], [0.2, 0.2, -0.25])
    np.testing.assert_allclose(result[["ci_low", "ci_high"]].iloc[[0, 2]], [[0.1, 0.3], [-0.25, -0.25]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="status"), "no column status"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "image 1, block x, model a stands twice"),
        (lambda t: t.assign(sfd=[0.5, np.nan]), "image 2, block x, model a is scored but has no value"),
        (lambda t: t.assign(sfd=["0.5", "high"]), "image 2, block x, model a is scored but has no value"),
    ],
)
def test_broken_tables_are_named(change, message):
    scores = change(table(rows("a", "x", {"1": 0.5, "2": 0.6})))
    with pytest.raises(DasExplainError, match=message):
        stats.summarize(scores)


def test_groups_that_cannot_be_meant_are_usage_errors():
    scores = matrix_table("x", a=np.array([0.5]), b=np.array([0.5]))
    with pytest.raises(UsageError, match="no model is called c: the run's models are a, b"):
        stats.compare_groups(scores, {"c": "plain"})
    with pytest.raises(UsageError, match="a is both a group and a model outside it"):
        claim(scores, {"b": "a"})
