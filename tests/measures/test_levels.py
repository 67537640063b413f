"""How high maps are: the same numbers whether a few maps are looked at together, or one that stands for all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from das_explain.cam.maps import TOGETHER
from das_explain.measures.levels import Levels


def maps(count: int = 2 * TOGETHER + 1) -> torch.Tensor:
    return torch.rand(count, 5, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("none_below", [False, True])
def test_levels_are_the_maps_own(none_below):
    weights = maps()
    weights[1, 0, 0] = torch.nan
    weights[2, 4, 6] = torch.inf
    levels = Levels(weights, none_below=none_below)
    np.testing.assert_array_equal(levels.columns, weights.amax(1))
    np.testing.assert_array_equal(levels.rows, weights.amax(2))
    np.testing.assert_array_equal(levels.highest, weights.amax((1, 2)))
    assert levels.finite.tolist() == [True, False, False] + [True] * (len(weights) - 3)
    if not none_below:
        np.testing.assert_array_equal(levels.lowest, weights.amin((1, 2)))


def test_a_weight_that_is_minus_infinity_is_none():
    weights = maps()
    weights[3, 2, 2] = -torch.inf
    assert not Levels(weights).finite[3]


def test_one_map_for_all_and_none_at_all():
    one = maps(1)
    levels = Levels(one.expand(6, -1, -1))
    assert levels.rows.shape == (6, 5)
    assert (levels.highest == float(one.max())).all()
    assert Levels(maps(0)).finite.shape == (0,)
