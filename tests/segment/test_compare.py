"""Agreement of two masks: numbers worked out by hand, and scipy as another way to the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt

from das_explain.segment.compare import boundary, compare_masks, summarize_agreement, worst


def block(y0: int, y1: int, x0: int, x1: int, height: int = 60, width: int = 80) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_equal_and_apart():
    mask = block(10, 20, 10, 30)
    assert compare_masks(mask, mask) == compare_masks(mask.copy(), mask)
    assert (compare_masks(mask, mask).iou, compare_masks(mask, mask).boundary_f) == (1, 1)
    apart = compare_masks(mask, block(40, 50, 50, 70))
    assert (apart.iou, apart.boundary_f, apart.boundary_precision, apart.boundary_recall) == (0, 0, 0, 0)


def test_by_hand():
    # 80 x 60: the diagonal is 100, the tolerance 0.75 pixels: only boundary pixels that coincide count.
    found, human = block(10, 20, 10, 30), block(10, 20, 10, 40)
    result = compare_masks(found, human)
    assert result.iou == pytest.approx(200 / 300)
    # Found: 2 * 20 + 2 * 8 = 56 pixels, of which the 8 inner ones of the right edge are off.
    assert result.boundary_precision == pytest.approx(48 / 56)
    # Human: 2 * 30 + 2 * 8 = 76, of which the found boundary meets 20 + 20 + 8.
    assert result.boundary_recall == pytest.approx(48 / 76)
    precision, recall = 48 / 56, 48 / 76
    assert result.boundary_f == pytest.approx(2 * precision * recall / (precision + recall))
    # At 1.5 % every boundary pixel within one pixel counts: the two neighbours of each found corner as well.
    assert compare_masks(found, human, 0.015).boundary_recall == pytest.approx(50 / 76)


def test_the_edge_of_the_photo_is_no_boundary():
    assert boundary(block(0, 60, 0, 10)).sum() == 60  # its right edge only
    assert not boundary(np.ones((5, 7), bool)).any()


def test_against_scipy():
    rng = np.random.default_rng(3)
    for _ in range(5):
        found, human = (rng.random((120, 160)).cumsum(1) % 9 < 5 for _ in range(2))
        inner = [binary_erosion(mask, border_value=1) for mask in (found, human)]
        mine, theirs = found & ~inner[0], human & ~inner[1]
        np.testing.assert_array_equal(boundary(found), mine)
        reach = 0.0075 * math.hypot(120, 160)
        result = compare_masks(found, human)
        assert result.boundary_precision == pytest.approx((distance_transform_edt(~theirs)[mine] <= reach).mean())
        assert result.boundary_recall == pytest.approx((distance_transform_edt(~mine)[theirs] <= reach).mean())


@pytest.mark.parametrize(
    ("found", "human", "iou", "f"),
    [
        (np.zeros((4, 5), bool), block(1, 2, 1, 2, 4, 5), 0, 0),
        (block(1, 2, 1, 2, 4, 5), np.ones((4, 5), bool), 1 / 20, 0),
        (np.ones((4, 5), bool), np.ones((4, 5), bool), 1, 1),
        (np.ones((4, 5), bool), np.zeros((4, 5), bool), 0, 0),
        (np.zeros((4, 5), bool), np.zeros((4, 5), bool), 1, 1),
    ],
)
def test_masks_without_a_boundary(found, human, iou, f):
    result = compare_masks(found, human)
    assert (result.iou, result.boundary_f) == (pytest.approx(iou), f)


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="different sizes"):
        compare_masks(np.ones((4, 5), bool), np.ones((5, 4), bool))


def test_summary_counts_all_and_averages_what_was_compared():
    rows = [
        {"compared": "ok", "iou": 0.9, "boundary_f": 0.8},
        {"compared": "ok", "iou": 0.0, "boundary_f": 0.0},
        {"compared": "ok", "iou": 0.6, "boundary_f": 0.4},
        {"compared": "human_no_mask", "iou": None, "boundary_f": None},
    ]
    summary = summarize_agreement(rows)
    assert (summary["images"], summary["compared"]) == (4, 3)
    assert summary["statuses"] == {"human_no_mask": 1, "ok": 3}
    assert (summary["mean_iou"], summary["median_iou"], summary["mean_boundary_f"]) == (0.5, 0.6, 0.4)
    assert (summary["share_iou_50"], summary["share_iou_75"]) == (
        pytest.approx(2 / 3, abs=1e-6),
        pytest.approx(1 / 3, abs=1e-6),
    )
    assert [row["iou"] for row in worst(rows, 2)] == [0.0, 0.6]
    assert summarize_agreement(rows[3:])["mean_iou"] is None
