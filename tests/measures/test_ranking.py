"""Curves of maps: whatever the order of the pixels and however many are tied, they are exact."""

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
def test_a_curve_counts_pixels_at_or_above_each_level(kind: str):
    maps = field(kind)
    masks = torch.rand(maps.shape, generator=GENERATOR) < 0.3
    curve = Ranking(maps, masks).curve(0)
    weights, mask = maps.clamp(min=0).numpy().ravel(), masks.numpy().ravel()
    assert np.array_equal(curve.level, np.unique(weights))
    for place in np.linspace(0, len(curve.level) - 1, 40).astype(int):
        above = weights >= curve.level[place]
        assert (curve.pixels[place], curve.hits[place]) == (above.sum(), (above & mask).sum())
    assert curve.pixels_at.sum() == weights.size and curve.hits_at.sum() == mask.sum()
    assert curve.pixels_at[-1] == (weights == weights.max()).sum()


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
