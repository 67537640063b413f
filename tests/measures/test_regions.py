"""Weights added up over R: to six digits whatever the shape, and whatever lies off it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from das_explain.measures.regions import add_up, add_up_map, extents, join


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 40), st.integers(1, 90), st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]))
def test_weights_are_added_up_where_the_mask_is(height, width, seed, kind):
    rng = np.random.default_rng(seed)
    weights = (9 * rng.random((height + 3, width + 3)) ** 4).astype(kind)[2:-1, 1:-2]  # a part of a map, as B is
    mask = rng.random(weights.shape) < rng.random()
    expected = weights[mask].sum(dtype=np.float64)
    assert add_up_map(weights, mask) == pytest.approx(expected, rel=1e-6 if kind is np.float32 else 1e-12)


def test_what_lies_off_the_mask_leaves_no_trace():
    weights = np.full((50, 50), 1e-9, np.float32)
    weights[::2, ::2] = 9
    mask = weights < 1
    odd = (mask.view(np.uint8) * np.uint8(255)).view(bool)  # as Pillow's bools are
    assert add_up_map(weights, mask) == pytest.approx(1875e-9, rel=1e-6)
    assert add_up_map(weights, odd) == add_up_map(weights, mask)
    weights[0, 0] = np.inf
    assert np.isfinite(add_up_map(weights, mask))


def test_nothing_adds_up_to_nothing():
    assert add_up_map(np.ones((3, 4), np.float32)[1:1], np.ones((3, 4), bool)[1:1]) == 0
    assert add_up(torch.ones(0, 3, 4), torch.ones(0, 3, 4, dtype=torch.bool)).shape == (0,)
    maps = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(0))
    masks = maps > 0.5
    masks[1] = False
    np.testing.assert_allclose(add_up(maps, masks), (maps * masks).double().sum((1, 2)), rtol=1e-6)


def test_rectangles_of_what_is_occupied_and_of_nothing():
    columns = np.array([[False, True, True, False], [False] * 4, [True] * 4])
    rows = np.array([[True, False], [False, False], [False, True]])
    assert extents(columns, rows).tolist() == [[1, 0, 3, 1], [4, 2, 0, 0], [0, 1, 4, 2]]
    first, nothing, last = extents(columns, rows)[:, None]
    assert join(first, nothing).tolist() == first.tolist()
    assert join(first, last).tolist() == [[0, 0, 4, 2]]
