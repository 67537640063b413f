"""IoU by hand, and the threshold that is best over a data set."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from das_explain.errors import UsageError
from das_explain.measures import MEASURES, MeasureOptions
from das_explain.measures.iou import STEPS, IouByThreshold, best_iou_threshold

iou = MEASURES["iou"].compute


def test_a_weight_equal_to_the_threshold_counts_as_above_it():
    """As long as it is: 0.7 in float32 is a little less than 0.7, 0.3 a little more, as in sfd."""
    maps, masks = torch.tensor([[[0.7, 0.3, 0.0]]]), torch.tensor([[[True, True, False]]])
    assert iou(maps, masks, MeasureOptions(threshold=0.3)).values.item() == 1
    assert iou(maps, masks, MeasureOptions(threshold=0.7)).values.item() == 0
    precise = torch.tensor([[[0.7, 0.3, 0.0]]], dtype=torch.float64)
    assert iou(precise, masks, MeasureOptions(threshold=0.7)).values.item() == 0.5


def test_a_map_below_the_threshold_scores_zero_and_is_no_empty_map():
    measured = iou(torch.full((1, 2, 2), 0.1), torch.ones(1, 2, 2).bool())
    assert (measured.values.item(), measured.status) == (0, ["ok"])


def test_a_threshold_out_of_range_is_a_usage_error():
    with pytest.raises(UsageError, match="threshold"):
        iou(torch.ones(1, 2, 2), torch.ones(1, 2, 2).bool(), MeasureOptions(threshold=0))


def test_the_mean_by_threshold_is_that_of_iou_at_every_threshold():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(6, 8, 8, generator=generator)
    maps[0] = (maps[0] * 4).floor() / 4  # weights that lie on thresholds
    maps[1, 0, 0] = 1
    masks = torch.rand(6, 8, 8, generator=generator) < 0.4
    curve = IouByThreshold()
    curve.add(maps[:2], masks[:2])
    curve.add(maps[2:], masks[2:])
    for place in range(0, STEPS, 31):
        at = MeasureOptions(threshold=float(curve.thresholds[place]))
        assert curve.mean[place] == pytest.approx(iou(maps, masks, at).values.mean().item(), abs=1e-12)


def test_the_best_threshold_is_that_of_the_whole_data_set():
    """One image is best at 0.25, two at 0.75; together 0.75 wins."""
    first = (torch.tensor([[[1.0, 0.75, 0.25, 0.0]]]), torch.tensor([[[True, True, True, False]]]))
    second = (torch.tensor([[[1.0, 0.75, 0.25, 0.0]]]), torch.tensor([[[True, True, False, False]]]))
    threshold, mean = best_iou_threshold([first, second, second])
    assert 0.25 < threshold <= 0.75
    assert mean == pytest.approx((2 / 3 + 1 + 1) / 3)


def test_images_without_a_value_are_left_out_and_none_is_no_number():
    nothing = (torch.zeros(1, 1, 2), torch.ones(1, 1, 2).bool())
    empty = (torch.ones(1, 1, 2), torch.zeros(1, 1, 2).bool())
    broken = (torch.full((1, 1, 2), torch.nan), torch.ones(1, 1, 2).bool())
    assert np.isnan(best_iou_threshold([nothing, empty, broken])).all()
    good = (torch.tensor([[[0.5, 0.0]]]), torch.tensor([[[True, False]]]))
    assert best_iou_threshold([nothing, good, empty, broken])[1] == 1
