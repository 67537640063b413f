"""How much hangs on one choice of R: by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from das_explain.errors import UsageError
from das_explain.stats.regions import FLIPS, RANGES, region_flips, region_ranges, region_sentence


def values(model: str, **images: dict[str, float]) -> list[dict]:
    return [
        {"image": image, "model": model, "block": "l4", "region": region, "sfd": sfd}
        for image, masks in images.items()
        for region, sfd in masks.items()
    ]


TABLE = pd.DataFrame(
    values("a", i={"": 0.5, "sam 1": 0.7, "sam 2": 0.4}, j={"": 0.6, "sam 1": 0.6}, k={"": 0.3}, m={"sam 1": 0.1})
    + values(
        "b", i={"": 0.6, "sam 1": 0.6, "sam 2": 0.7}, j={"": 0.5, "sam 1": 0.4, "sam 3": 0.9}, k={"": 0.9, "sam 1": 0}
    )
)


def test_ranges_by_hand():
    found = region_ranges(TABLE)
    assert list(found.columns) == RANGES
    rows = [tuple(row) for row in found.itertuples(index=False)]
    assert rows == [
        ("i", "a", "l4", 2, 0.5, 0.4, 0.7),
        ("j", "a", "l4", 1, 0.6, 0.6, 0.6),
        ("i", "b", "l4", 2, 0.6, 0.6, 0.7),
        ("j", "b", "l4", 2, 0.5, 0.4, 0.9),
        ("k", "b", "l4", 1, 0.9, 0.0, 0.9),
    ]


def test_flips_by_hand():
    """i: +0.1 becomes -0.1 with sam 1 and +0.3 with sam 2: a flip. j: -0.1 becomes -0.2 with sam 1; sam 3 is b's only.
    k and m: no second mask that both are scored on."""
    (row,) = region_flips(TABLE).itertuples(index=False)
    assert row[:6] == ("l4", "a", "b", 2, 1, 0.5)
    assert row[6:] == pytest.approx(((0.3 + 0) / 2, (0.1 + 0.1) / 2, 0.0, (-0.1 - 0.2) / 2, (0.3 - 0.1) / 2))
    assert region_sentence(region_flips(TABLE).iloc[0]) == (
        "On 2 images the segmenter offers other masks for R: there the winner of b \u2212 a at l4 flips on 1 (50%), and the "
        "mean difference of +0.000 lies between -0.150 and +0.100, whichever masks are taken."
    )


def test_swapping_the_models_mirrors_the_row():
    one = region_flips(TABLE).iloc[0]
    other = region_flips(TABLE, baseline="b").iloc[0]
    assert (other["model_a"], other["n"], other["flips"]) == ("b", one["n"], one["flips"])
    assert other["range_a"] == pytest.approx(one["range_b"])
    assert (other["delta_low"], other["delta_high"]) == pytest.approx((-one["delta_high"], -one["delta_low"]))


def test_a_tie_flips_nothing():
    tied = pd.DataFrame(values("a", i={"": 0.5, "x": 0.9}) + values("b", i={"": 0.5, "x": 0.1}))
    assert region_flips(tied)["flips"].tolist() == [0]
    to_a_tie = pd.DataFrame(values("a", i={"": 0.4, "x": 0.9}) + values("b", i={"": 0.5, "x": 0.9}))
    assert region_flips(to_a_tie)["flips"].tolist() == [0]


def test_images_with_one_mask_give_a_row_without_numbers():
    alone = pd.DataFrame(values("a", i={"": 0.5}) + values("b", i={"": 0.6}))
    assert region_ranges(alone).empty
    (row,) = region_flips(alone).itertuples(index=False)
    assert row[:4] == ("l4", "a", "b", 0)
    assert np.isnan(row[4:]).all()
    assert list(region_flips(TABLE.iloc[:0]).columns) == FLIPS
    with pytest.raises(UsageError, match="no model is called c"):
        region_flips(TABLE, baseline="c")
