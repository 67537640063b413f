"""Pointing game: values by hand."""

from __future__ import annotations

import pytest
import torch

from das_explain.measures import MEASURES, MeasureOptions

pointing_game = MEASURES["pointing_game"].compute
NAN = float("nan")


def one(mask: list[list[int]], values: list[list[float]]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([values], dtype=torch.float32), torch.tensor([mask]).bool()


def test_a_maximum_on_the_object_is_a_hit_and_one_beside_it_is_not():
    maps, masks = one([[0, 0, 1], [0, 0, 0]], [[0, 0.2, 1], [0, 0.9, 0]])
    hit, miss = pointing_game(maps, masks), pointing_game(maps.flip(2), masks)
    assert (hit.values.tolist(), hit.status, hit.extras["hit_distance"].tolist()) == ([1], ["ok"], [0])
    assert (miss.values.tolist(), miss.status, miss.extras["hit_distance"].tolist()) == ([0], ["ok"], [2])


def test_pixels_that_share_the_maximum_count_by_their_share():
    result = pointing_game(*one([[1, 0, 0, 0]], [[1, 0, 1, 1]]))
    assert result.values.item() == pytest.approx(1 / 3)
    assert result.extras["hit_distance"].item() == pytest.approx((0 + 2 + 3) / 3)


def test_a_uniform_map_scores_the_objects_share_of_the_frame():
    assert pointing_game(*one([[1, 0, 0, 0]], [[0.5] * 4])).values.item() == 0.25


@pytest.mark.parametrize(("tolerance", "value"), [(0, 0), (4.9, 0), (5, 1), (15, 1)])
def test_the_tolerance_is_a_euclidean_distance(tolerance: float, value: float):
    maps, masks = torch.zeros(1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool)
    maps[0, 1, 1], masks[0, 4:, 5:] = 1, True  # 3 rows and 4 columns away
    result = pointing_game(maps, masks, MeasureOptions(tolerance=tolerance))
    assert result.values.item() == value
    assert result.extras["hit_distance"].item() == pytest.approx(5)


def test_degenerate_maps_have_a_status_and_no_value():
    maps = torch.tensor([[[NAN, 1.0]], [[0.0, 1.0]], [[0.0, 0.0]], [[float("inf"), 0.0]]])
    masks = torch.tensor([[[True, False]], [[False, False]], [[True, False]], [[False, False]]])
    result = pointing_game(maps, masks)
    assert result.status == ["nonfinite_cam", "no_object", "zero_cam", "nonfinite_cam"]
    assert result.values.isnan().all() and result.extras["hit_distance"].isnan().all()
