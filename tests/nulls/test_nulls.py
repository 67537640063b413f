"""Nulls: what each makes, by hand, and that a further one takes part by registration alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from das_explain.nulls import CONTEXT, NULLS, Null, register
from das_explain.nulls.centre import centre_map
from das_explain.nulls.centre_fitted import fitted_map

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


def test_centre_fitted_has_the_masks_mean_and_covariance():
    mean_mask = torch.zeros(40, 60)
    mean_mask[10:20, 20:50] = 0.5
    mean_mask[12:14, 22:24] = 1.0
    fitted = NULLS["centre-fitted"].make(MAPS, torch.zeros(2, 40, 60).bool(), PARTNER, mean_mask=mean_mask)
    assert fitted.shape == (2, 40, 60) and torch.equal(fitted[0], fitted[1])
    # An independent way to the same: pixels repeated by their weight, numpy's mean and covariance, the density's formula.
    ys, xs = np.nonzero(mean_mask.numpy())
    times = (2 * mean_mask.numpy()[ys, xs]).astype(int)
    points = np.repeat(np.stack([ys, xs]), times, axis=1)
    spread = np.cov(points, bias=True) + np.eye(2) / 12
    grid = np.stack(np.mgrid[:40, :60], axis=-1)
    density = multivariate_normal(points.mean(1), spread)
    assert fitted[0].numpy() == pytest.approx(density.pdf(grid) / density.pdf(points.mean(1)), abs=1e-6)


def test_centre_fitted_follows_a_tilted_object():
    diagonal = torch.eye(50)
    fitted = fitted_map(diagonal)[0]
    assert fitted[10, 10] > 0.3 > 1e-6 > fitted[10, 40]


def test_centre_fitted_of_one_pixel_is_a_dot_and_of_none_the_centre():
    single = torch.zeros(9, 9)
    single[2, 3] = 1
    dot = fitted_map(single)[0]
    assert dot[2, 3] == 1 and dot[2, 4] == pytest.approx(math.exp(-6), rel=1e-5)
    assert torch.equal(fitted_map(torch.zeros(9, 9)), centre_map(9, 9))


def test_random_fields_depend_on_the_image_alone():
    make, seeds = NULLS["random"].make, torch.tensor([11, 12, 13])
    fields = make(MAPS, MASKS, PARTNER, native=(2, 3), seeds=seeds)
    assert fields.shape == (3, 5, 7) and fields.dtype == torch.float32
    assert fields.amin((1, 2)).tolist() == [0, 0, 0]
    assert fields.amax((1, 2)).tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    assert not torch.allclose(fields[0], fields[1])
    again = make(MAPS[:1] * 0, MASKS[:1], PARTNER[:1], native=(2, 3), seeds=seeds[1:2])
    assert torch.equal(again[0], fields[1])


def test_random_fields_are_as_smooth_as_the_block_is_coarse():
    def roughness(native: tuple[int, int]) -> float:
        masks = torch.zeros(8, 32, 32).bool()
        fields = NULLS["random"].make(masks.float(), masks, None, native=native, seeds=torch.arange(8))
        return float(fields.diff(dim=2).abs().mean())

    assert roughness((2, 2)) < roughness((8, 8)) < roughness((32, 32))


@pytest.mark.parametrize("name", NULLS)
def test_every_null_gives_maps_for_the_masks_and_names_what_it_needs(name: str):
    null = NULLS[name]
    context = {"native": (2, 2), "seeds": torch.arange(3), "mean_mask": MASKS.float().mean(0)}
    assert set(null.needs) <= set(CONTEXT)
    for count in (3, 0):
        asked = {key: context[key][:count] if key == "seeds" else context[key] for key in null.needs}
        made = null.make(MAPS, MASKS[:count], PARTNER[:count], **asked)
        assert made.shape == (count, 5, 7) and made.dtype == torch.float32
        assert ((made >= 0) & (made <= 1)).all()
        if null.blind:
            assert torch.equal(made, null.make(1 - MAPS, MASKS[:count], PARTNER[:count].flip(0), **asked))


def test_a_null_of_ones_own_takes_part_by_registration(monkeypatch):
    monkeypatch.setattr("das_explain.nulls.NULLS", dict(NULLS))
    mine = register(Null("mirror", lambda maps, masks, partner: maps[: len(masks)].flip(2)))
    from das_explain.nulls import NULLS as now

    assert now["mirror"] is mine and mine.title == "mirror" and not mine.blind
    assert torch.equal(mine.make(MAPS, MASKS, PARTNER), MAPS[:3].flip(2))
