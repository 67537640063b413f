"""Agreement of measures by hand, against scipy, and by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from das_explain.errors import UsageError
from das_explain.stats import agreement
from das_explain.stats.tables import compare_measures
from tests.stats.rows import rows, table


def measures(**values: tuple[list, list]) -> pd.DataFrame:
    """measures.csv of two models, a and b, on one block: measure -> their values by image, None where not scored."""
    parts = [
        table(*(rows(model, "x", dict(enumerate(of_model))) for model, of_model in zip("ab", both))).assign(
            measure=name
        )
        for name, both in values.items()
    ]
    return pd.concat(parts, ignore_index=True).rename(columns={"sfd": "value"})


def test_ranks_by_hand():
    """Differences 1, 2, 3, 4 against 1, 2, 4, 3 (five pairs of six alike) and against 4, 3, 2, 1 (none)."""
    zeros = [0.0] * 4
    data = measures(sfd=(zeros, [0.1, 0.2, 0.3, 0.4]), iou=(zeros, [0.1, 0.2, 0.4, 0.3]), loss=(zeros, [4, 3, 2, 1]))
    result = agreement.rank_agreement(data)
    assert list(result.columns) == agreement.RANKS
    assert result[["measure_a", "measure_b", "n"]].to_numpy().tolist() == [
        ["sfd", "iou", 4],
        ["sfd", "loss", 4],
        ["iou", "loss", 4],
    ]
    assert result["tau"].tolist() == pytest.approx([4 / 6, -1, -4 / 6])
    assert result["p_value"].iloc[1] == pytest.approx(2 / 24)  # one of 24 orders on either side
    turned = agreement.rank_agreement(data, {"loss": False})
    assert turned["tau"].tolist() == pytest.approx([4 / 6, 1, 4 / 6])


def test_ranks_use_images_scored_by_both_measures_for_both_models():
    data = measures(
        sfd=([0, 0, None, 0, 0], [0.1, 0.2, 0.3, 0.4, 0.5]),
        iou=([0, 0, 0, 0, 0], [0.5, 0.2, 0.3, None, 0.9]),
        gini=([0.5] * 5, [0.7] * 5),
    )
    result = agreement.rank_agreement(data)
    assert result["n"].tolist() == [3, 4, 4]
    assert result["tau"].iloc[0] == pytest.approx(1 / 3)  # images 0, 1, 4: 1 2 3 against 2 1 3
    assert result["tau"].iloc[1:].isna().all(), "a measure that says the same of all images orders none"


def test_ranks_equal_scipys_and_err_as_often_as_they_say():
    """400 draws of 40 images with two unrelated measures: 5 % +- 2.5 x 1.1 %."""
    rng = np.random.default_rng(3)
    values = rng.random((2, 2, 400, 40))  # measure, model, block, image
    places = [axis.ravel() for axis in np.indices(values.shape)]
    named = {name: place.astype(str) for name, place in zip(("measure", "model", "block", "image"), places)}
    result = agreement.rank_agreement(pd.DataFrame(named | {"value": values.ravel(), "status": "ok"}))
    assert len(result) == 400
    difference = values[:, 1] - values[:, 0]
    for place in (0, 399):
        assert result["tau"].iloc[place] == pytest.approx(kendalltau(*difference[:, place]).statistic)
    assert abs(np.mean(result["p_value"] <= 0.05) - 0.05) <= 2.5 * np.sqrt(0.05 * 0.95 / 400)


def compared(**deltas: float) -> pd.DataFrame:
    """Rows of `compare_measures` with intervals of +-0.1."""
    named = {"block": "x", "model_a": "a", "model_b": "b"}
    return pd.DataFrame(
        [{"measure": m, **named, "delta": d, "ci_low": d - 0.1, "ci_high": d + 0.1} for m, d in deltas.items()]
    )


def test_signs_by_hand():
    result = agreement.sign_agreement(
        compared(sfd=0.05, iou=0.2, pointing=-0.01, deletion=-0.3, entropy=0.4, gini=np.nan, auroc=0.0),
        {"deletion": False, "entropy": False},
    )
    assert list(result.columns) == agreement.SIGNS
    # as sfd says (b): sfd, iou, deletion; clearly: iou, deletion; clearly otherwise: entropy; gini has no difference
    assert result.to_numpy().tolist() == [["x", "a", "b", "sfd", 1, 6, 3, 2, 1]]
    down = agreement.sign_agreement(compared(sfd=-0.2, iou=0.2, gini=-0.05))
    assert down.to_numpy().tolist() == [["x", "a", "b", "sfd", -1, 3, 2, 1, 1]]
    level = agreement.sign_agreement(compared(sfd=0.0, iou=0.2))
    assert level.to_numpy().tolist() == [["x", "a", "b", "sfd", 0, 2, 1, 0, 1]]


def test_signs_of_a_table_of_measures():
    rng = np.random.default_rng(5)
    a, b = rng.random((2, 60))
    data = measures(sfd=(a, b + 0.3), iou=(a, b + 0.3), loss=(a, b - 0.3))
    comparisons = compare_measures(data)
    assert comparisons["measure"].tolist() == ["sfd", "iou", "loss"]
    row = agreement.sign_agreement(comparisons, {"loss": False}, reference="iou").iloc[0]
    assert (row.measures, row.same, row.same_clear, row.other_clear) == (3, 3, 3, 0)
    assert agreement.sign_agreement(comparisons).iloc[0].other_clear == 1
    with pytest.raises(UsageError, match="no measure is called gini: the table has sfd, iou, loss"):
        agreement.sign_agreement(comparisons, reference="gini")


def test_nothing_gives_empty_tables():
    nothing = measures(sfd=([], []))
    empty = pd.DataFrame(columns=["image", "model", "block", "measure", "value", "status"])
    assert nothing.empty
    assert list(agreement.rank_agreement(empty).columns) == agreement.RANKS
    assert list(agreement.sign_agreement(compare_measures(empty)).columns) == agreement.SIGNS


def test_a_measure_that_scored_nothing_agrees_with_none():
    data = measures(sfd=([0.1, 0.2], [0.3, 0.5]), iou=([None, None], [None, None]))
    row = agreement.rank_agreement(data).iloc[0]
    assert row.n == 0
    assert np.isnan(row.tau)
    assert agreement.sign_agreement(compare_measures(data)).iloc[0].measures == 1


def test_tau_and_its_p_are_scipys_with_and_without_ties():
    rng = np.random.default_rng(1)
    for case in range(200):
        n = int(rng.integers(3, 60 if case % 5 else 600))
        x = rng.normal(size=n).round(0 if case % 2 else 9)
        y = (rng.choice([0, 1, -3]) * x + rng.normal(size=n) * rng.choice([0, 1])).round(1 if case % 3 else 9)
        ours, theirs = agreement._kendall(x, y), kendalltau(x, y)
        np.testing.assert_allclose(ours, [theirs.statistic, theirs.pvalue], rtol=1e-9, atol=1e-12)
