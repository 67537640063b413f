"""Pixels in order: whatever the order of the pixels and however many are tied, they are exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from das_explain.measures import MEASURES, MeasureOptions, Regions, compute_all
from das_explain.measures.ranking import Ranking

GENERATOR = torch.Generator().manual_seed(0)


def field(kind: str) -> torch.Tensor:
    noise = torch.rand(1, 60, 70, generator=GENERATOR)
    return {
        "noise": noise,
        "faint": noise * 1e-30,
        "half empty": (noise - 0.5).clamp(min=0),
        "nearly one weight": 0.5 + noise * 1e-5,
        "two levels": noise.round(),
        "uniform": torch.ones(1, 60, 70),
        "overshoot": noise * (1 + 1e-5) - 1e-6,
        "few pixels": noise[:, :2, :3],
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["noise", "faint", "half empty", "nearly one weight", "two levels", "uniform", "overshoot", "few pixels"],
)
def test_ties_count_pixels_below_and_at_each_weight_of_the_object(kind: str):
    maps = field(kind)
    masks = torch.rand(maps.shape, generator=GENERATOR) < 0.3
    masks[0, 0, 0] = True
    order = Ranking(maps, masks).order(0)
    weights, mask = maps.clamp(min=0).numpy().ravel(), masks.numpy().ravel()
    assert np.array_equal(order.weights, np.sort(weights))
    levels = np.unique(weights[mask])
    assert [len(each) for each in order.ties] == 4 * [len(levels)]
    for place in np.linspace(0, len(levels) - 1, 40).astype(int):
        below, at = weights < levels[place], weights == levels[place]
        expected = [below.sum(), (below & mask).sum(), at.sum(), (at & mask).sum()]
        assert [each[place] for each in order.ties] == expected
    assert order.ties.hits.sum() == mask.sum()
    for place in (0, 1, weights.size):
        assert order.on_object(place) == (order.places < place).sum()


def test_without_an_object_there_is_nothing_to_tell():
    order = Ranking(torch.ones(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.bool)).order(0)
    assert [len(each) for each in order.ties] == [0, 0, 0, 0]


def test_all_measures_together_say_what_each_says_alone():
    maps = torch.rand(7, 20, 30, generator=GENERATOR)
    maps[2], maps[3, 0, 0] = 0, torch.nan
    masks = torch.rand(7, 20, 30, generator=GENERATOR) < 0.4
    masks[4], masks[5] = False, True
    for options in (MeasureOptions(), MeasureOptions(regions=Regions(masks)), MeasureOptions(regions=Regions(~masks))):
        together = compute_all(maps, masks, options)
        assert list(together) == [name for name, measure in MEASURES.items() if not measure.needs_network]
        for name, measured in together.items():
            alone = MEASURES[name].compute(maps, masks)
            assert alone.status == measured.status
            assert torch.equal(alone.values.nan_to_num(-1), measured.values.nan_to_num(-1)), name
            for column, values in alone.extras.items():
                assert torch.equal(values.nan_to_num(-1), measured.extras[column].nan_to_num(-1))


def test_only_the_measures_asked_for_are_computed():
    maps, masks = torch.rand(2, 4, 4), torch.ones(2, 4, 4, dtype=torch.bool)
    assert list(compute_all(maps, masks, measures=[MEASURES["gini"], MEASURES["sfd"]])) == ["gini", "sfd"]
