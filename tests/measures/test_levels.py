"""How high maps are: the same numbers whether a few maps are looked at together, or one that stands for all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from das_explain.cam.maps import TOGETHER, upsample, upsample_in_parts
from das_explain.measures.base import MeasureOptions, levels_of
from das_explain.measures.levels import Levels


def maps(count: int = 2 * TOGETHER + 1) -> torch.Tensor:
    return torch.rand(count, 5, 7, generator=torch.Generator().manual_seed(0))


def test_levels_are_the_maps_own():
    weights = maps()
    weights[1, 0, 0] = torch.nan
    weights[2, 4, 6] = torch.inf
    levels = Levels(weights)
    np.testing.assert_array_equal(levels.columns, weights.amax(1))
    np.testing.assert_array_equal(levels.rows, weights.amax(2))
    np.testing.assert_array_equal(levels.lowest, weights.amin((1, 2)))
    np.testing.assert_array_equal(levels.highest, weights.amax((1, 2)))
    assert levels.finite.tolist() == [True, False, False] + [True] * (len(weights) - 3)


@pytest.mark.parametrize("size", [(20, 28), (5, 7)])
def test_levels_of_maps_that_are_only_just_resized_are_those_of_the_whole(size):
    native, room = maps(), torch.full((2 * TOGETHER + 1, *size), torch.nan)
    native[3, 1, 1] = torch.nan
    levels = Levels.of_upsampled(room, upsample_in_parts(native, room))
    torch.testing.assert_close(room, upsample(native, size), rtol=0, atol=0, equal_nan=True)
    np.testing.assert_array_equal(levels.columns, room.amax(1))
    np.testing.assert_array_equal(levels.rows, room.amax(2))
    np.testing.assert_array_equal(levels.lowest[levels.finite], room[levels.finite].amin((1, 2)))
    assert np.flatnonzero(~levels.finite).tolist() == [3]


def test_levels_are_taken_for_those_of_the_same_memory_alone():
    weights = maps()
    known = MeasureOptions(levels=Levels(weights[2:6]))
    assert levels_of(weights[2:6], known) is known.levels
    assert levels_of(weights[2:5], known) is not known.levels
    assert levels_of(weights[2:6].clone(), known) is not known.levels


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
