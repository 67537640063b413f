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


@pytest.mark.parametrize("ties", [1, 40, 1500])
def test_distances_are_those_to_the_nearest_of_all_pixels_however_many_share_the_maximum(ties: int):
    generator = torch.Generator().manual_seed(ties)
    masks = torch.rand(4, 40, 57, generator=generator) < 0.005
    masks[:, 0, 0] = True
    maps = torch.rand(4, 40, 57, generator=generator) * 0.9
    for row in range(4):
        maps[row].view(-1)[torch.randperm(40 * 57, generator=generator)[:ties]] = 1
    result = pointing_game(maps, masks, MeasureOptions(tolerance=2))
    for row in range(4):
        apart = torch.cdist((maps[row] == 1).nonzero().double(), masks[row].nonzero().double()).amin(1)
        assert result.extras["hit_distance"][row].item() == pytest.approx(apart.mean().item(), abs=1e-6)
        assert result.values[row].item() == pytest.approx((apart <= 2).double().mean().item())


def test_degenerate_maps_have_a_status_and_no_value():
    maps = torch.tensor([[[NAN, 1.0]], [[0.0, 1.0]], [[0.0, 0.0]], [[float("inf"), 0.0]]])
    masks = torch.tensor([[[True, False]], [[False, False]], [[True, False]], [[False, False]]])
    result = pointing_game(maps, masks)
    assert result.status == ["nonfinite_cam", "no_object", "zero_cam", "nonfinite_cam"]
    assert result.values.isnan().all() and result.extras["hit_distance"].isnan().all()
