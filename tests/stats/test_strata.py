"""Strata by hand, and the error rate of the whole family by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from das_explain.errors import DasExplainError
from das_explain.stats import strata
from das_explain.stats.significance import holm
from das_explain.stats.tables import compare


def scores(n: int = 12, shift: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Two models on n images: the label turns with the image, areas rise with it, both are right on the first third."""
    rng = np.random.default_rng(seed)
    images = np.arange(n)
    parts = []
    for model, right in (("a", images < 2 * n // 3), ("b", images < n // 3)):
        parts.append(
            pd.DataFrame(
                {
                    "image": [f"{i:04}.jpg" for i in images],
                    "model": model,
                    "block": "layer4",
                    "label": np.where(images % 2, "dog", "cat"),
                    "correct": right,
                    "r_area": (images + 1) / n,
                    "sfd": rng.random(n) + (shift if model == "b" else 0),
                    "status": "ok",
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def of(table: pd.DataFrame, family: str) -> pd.DataFrame:
    return table[table["family"] == family].set_index("stratum")


def test_every_family_by_hand():
    data = scores()
    distances = pd.DataFrame({"image": [f"{i:04}.jpg" for i in range(12)][::-1], "distance": np.arange(12.0)})
    table = strata.compare_strata(data, images=distances)
    assert list(table.columns) == strata.STRATA
    assert list(dict.fromkeys(table["family"])) == ["correct", "area", "centre", "class"]
    assert of(table, "correct")["n"].to_dict() == {"both right": 4, "one right": 4, "both wrong": 4}
    assert of(table, "area")["n"].to_dict() == {"small": 4, "medium": 4, "large": 4}
    assert of(table, "centre")["n"].to_dict() == {"central": 4, "between": 4, "off centre": 4}
    assert of(table, "class")["n"].to_dict() == {"cat": 6, "dog": 6}
    difference = data["sfd"].to_numpy()[12:] - data["sfd"].to_numpy()[:12]
    assert of(table, "correct").loc["both right", "delta"] == pytest.approx(difference[:4].mean())
    assert of(table, "area").loc["large", "delta"] == pytest.approx(difference[8:].mean())
    assert of(table, "centre").loc["central", "delta"] == pytest.approx(difference[8:].mean())
    assert of(table, "class").loc["dog", "delta"] == pytest.approx(difference[1::2].mean())
    for family in ("correct", "area", "centre", "class"):
        mine = of(table, family)
        np.testing.assert_allclose(mine["p_adjusted"], holm(mine["p_value"].to_numpy()))
        assert (mine["n"] * mine["delta"]).sum() == pytest.approx(difference.sum())


def test_a_stratum_is_what_comparing_its_images_alone_gives():
    data = scores(60, 0.1)
    dogs = compare(data[data["label"] == "dog"]).iloc[0]
    row = of(strata.compare_strata(data), "class").loc["dog"]
    for column in ("n", "mean_a", "mean_b", "delta", "ci_low", "ci_high", "p_value"):
        assert row[column] == pytest.approx(dogs[column], abs=1e-12)


def test_only_images_scored_for_both_are_in_a_stratum():
    data = scores()
    data.loc[[0, 13], "status"] = "zero_cam"  # image 0 of a, image 1 of b
    table = strata.compare_strata(data)
    assert of(table, "correct")["n"].to_dict() == {"both right": 2, "one right": 4, "both wrong": 4}
    assert of(table, "area")["n"].sum() == of(table, "class")["n"].sum() == 10


def test_what_the_table_does_not_say_makes_no_stratum():
    data = scores()
    table = strata.compare_strata(data.drop(columns=["correct", "r_area"]).assign(label=None))
    assert table.empty
    assert list(table.columns) == strata.STRATA
    for nothing in ("", np.nan):
        labels = data["label"].astype(object).where(data["label"] == "cat", nothing)
        assert of(strata.compare_strata(data.assign(label=labels)), "class")["n"].to_dict() == {"cat": 6}
    unknown = data.assign(correct=data["correct"].astype(object).where(data["image"] < "0006", None))
    assert of(strata.compare_strata(unknown), "correct")["n"].to_dict() == {"both right": 4, "one right": 2}
    with pytest.raises(DasExplainError, match="the table of images has no column distance"):
        strata.compare_strata(data, images=pd.DataFrame({"image": ["0000.jpg"]}))


def test_the_kind_of_columns_changes_nothing():
    data = scores(30)
    as_read = data.assign(correct=data["correct"].map({True: "True", False: "False"}))
    expected = strata.compare_strata(data)
    pd.testing.assert_frame_equal(strata.compare_strata(as_read), expected)
    for kind in ("category", pd.StringDtype("pyarrow")):
        texts = dict.fromkeys(("image", "model", "block", "label", "correct", "status"), kind)
        pd.testing.assert_frame_equal(strata.compare_strata(as_read.astype(texts)), expected)


def test_equal_areas_fall_into_one_stratum():
    table = strata.compare_strata(scores().assign(r_area=0.25))
    assert of(table, "area")["n"].tolist() == [12]


def test_looking_at_all_strata_errs_in_one_run_of_twenty(quick):
    """150 runs of 40 images without a difference: some adjusted p <= 0.05 in 5 % (error 1.8 %) or fewer."""
    runs = (scores(40, seed=seed)[["image", "model", "block", "r_area", "sfd", "status"]] for seed in range(150))
    found = [(strata.compare_strata(run)["p_adjusted"] <= 0.05).any() for run in runs]
    assert np.mean(found) <= 0.05 + 2.5 * 0.018


def test_nothing_scored_makes_no_stratum():
    assert strata.compare_strata(scores().assign(status="zero_cam")).empty
    assert list(strata.compare_strata(scores().iloc[:0]).columns) == strata.STRATA
