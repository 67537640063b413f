"""The seam: what every measure promises, and that a further one takes part by registration alone."""

from __future__ import annotations

import math

import pytest
import torch

from das_explain.measures import MEASURES, Measure, Measured, MeasureOptions, register
from das_explain.statuses import STATUSES

LOCAL = [name for name, measure in MEASURES.items() if not measure.needs_network]
GENERATOR = torch.Generator().manual_seed(0)
MAPS = torch.rand(5, 6, 8, generator=GENERATOR)
MASKS = torch.rand(5, 6, 8, generator=GENERATOR) < 0.3


@pytest.mark.parametrize("name", LOCAL)
def test_every_measure_gives_values_statuses_and_extras_within_its_bounds(name: str):
    measure = MEASURES[name]
    for result in (measure.compute(MAPS, MASKS), measure.compute(MAPS, MASKS, MeasureOptions())):
        values, status, extras = result
        assert values.dtype == torch.float64 and values.shape == (5,) and len(status) == 5
        assert all(len(column) == 5 for column in extras.values())
        low, high = measure.bounds
        assert ((values >= low) & (values <= high)).all()


@pytest.mark.parametrize("name", LOCAL)
def test_every_degenerate_map_has_a_status_and_never_raises(name: str):
    maps = MAPS.clone()
    maps[0], maps[1, 0, 0], maps[2] = 0, math.nan, 1
    masks = MASKS.clone()
    masks[3], masks[4] = False, True
    values, status, _ = MEASURES[name].compute(maps, masks)
    assert status[0] == "zero_cam" and status[1] == "nonfinite_cam"
    assert set(status) <= set(STATUSES)
    assert [math.isnan(value) for value in values.tolist()] == [word not in ("ok", "no_background") for word in status]


@pytest.mark.parametrize("name", LOCAL)
def test_one_map_expanded_for_all_images_scores_as_its_copies_do(name: str):
    one = MAPS[:1].expand(5, -1, -1)
    (values, status, extras), copied = (MEASURES[name].compute(maps, MASKS) for maps in (one, one.contiguous()))
    assert torch.equal(values, copied.values) and status == copied.status
    assert all(torch.equal(extras[key], copied.extras[key]) for key in copied.extras)


@pytest.mark.parametrize("name", LOCAL)
def test_an_empty_batch_is_no_error(name: str):
    values, status, _ = MEASURES[name].compute(MAPS[:0], MASKS[:0])
    assert values.shape == (0,) and status == []


def test_a_measure_of_ones_own_takes_part_by_registration(monkeypatch):
    monkeypatch.setattr("das_explain.measures.MEASURES", dict(MEASURES))

    def brightness(maps, masks, options=None):
        return Measured(maps.double().mean((1, 2)), ["ok"] * len(maps), {})

    mine = register(Measure("mean_weight", False, (0.0, 1.0), True, brightness))
    from das_explain.measures import MEASURES as now

    assert now["mean_weight"] is mine and mine.title == "mean weight"
    assert mine.compute(MAPS, MASKS).values.tolist() == pytest.approx(MAPS.mean((1, 2)).tolist())


def test_sfd_as_a_measure_gives_its_means_and_its_box():
    maps = torch.tensor([[[0.0, 0.2, 0.0, 0.0], [0.0, 1.0, 0.4, 0.0], [0.0, 0.0, 0.0, 0.0]]])
    masks = torch.zeros(1, 3, 4, dtype=torch.bool)
    masks[0, :2, 1] = True
    result = MEASURES["sfd"].compute(maps, masks, MeasureOptions(scaling="linear"))
    assert {name: column.item() for name, column in result.extras.items()} == pytest.approx(
        {"w_r": 0.6, "w_n": 0.2, "b_x0": 1, "b_y0": 0, "b_x1": 3, "b_y1": 2}
    )
    assert result.values.item() == pytest.approx(0.75)
    shared = torch.zeros_like(masks)
    shared[0, 2, 3] = True
    result = MEASURES["sfd"].compute(maps, masks, MeasureOptions(scaling="linear", box="shared", shared=shared))
    assert result.extras["w_n"].item() == pytest.approx(0.4 / 7)
    with pytest.raises(Exception, match="options.shared"):
        MEASURES["sfd"].compute(maps, masks, MeasureOptions(box="shared"))
