"""Nulls: what each makes, by hand, and that a further one takes part by registration alone."""

from __future__ import annotations

import pytest
import torch

from das_explain.nulls import NULLS, Null, register
from das_explain.nulls.centre import centre_map

MASKS = torch.zeros(3, 5, 7, dtype=torch.bool)
MAPS = torch.rand(4, 5, 7, generator=torch.Generator().manual_seed(0))
PARTNER = torch.tensor([3, 0, 1])


def test_shuffled_gives_the_partners_maps():
    assert torch.equal(NULLS["shuffled"].make(MAPS, MASKS, PARTNER), torch.stack([MAPS[3], MAPS[0], MAPS[1]]))


def test_uniform_is_one_everywhere():
    assert torch.equal(NULLS["uniform"].make(MAPS, MASKS, PARTNER), torch.ones(3, 5, 7))


def test_centre_map_peaks_in_the_middle_and_is_symmetric():
    centre = centre_map(5, 7)
    assert centre[0, 2, 3] == centre.max() == pytest.approx(1)
    assert torch.allclose(centre, centre.flip(1))
    assert torch.allclose(centre, centre.flip(2))
    assert torch.equal(NULLS["centre"].make(MAPS, MASKS, PARTNER), centre.repeat(3, 1, 1))


def test_a_null_of_ones_own_takes_part_by_registration(monkeypatch):
    monkeypatch.setattr("das_explain.nulls.NULLS", dict(NULLS))
    mine = register(Null("mirror", lambda maps, masks, partner: maps[: len(masks)].flip(2)))
    from das_explain.nulls import NULLS as now

    assert now["mirror"] is mine and mine.title == "mirror" and not mine.blind
    assert torch.equal(mine.make(MAPS, MASKS, PARTNER), MAPS[:3].flip(2))
