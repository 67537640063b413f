"""Pointing game: does the map's maximum lie on the object (Zhang et al., Top-down Neural Attention by Excitation
Backprop, ECCV 2016, arXiv 1608.00507).

    accuracy = hits / (hits + misses)

A hit is a maximal pixel on R, or within ``tolerance`` pixels of it (they allow 15). The value of one map is 1 or 0;
where k pixels share the maximum, as in a saturated or a uniform map, it is the share of them that hit: what a maximum
drawn at random among them would score on average. Over images the mean is the paper's accuracy.

Quantus 0.6 counts a map as a hit as soon as one of the maximal pixels lies on R, so that a uniform map scores 1 (here:
the object's share of the frame), and an empty mask as a hit, too (its NaN is written into a bool array); here an empty
mask has no score.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from das_explain.measures.base import (
    DEFAULTS,
    Measure,
    Measured,
    MeasureOptions,
    check_maps,
    judge,
    levels_of,
    regions_of,
)
from das_explain.measures.levels import one_for_all


def compute(maps: Tensor, masks: Tensor, options: MeasureOptions = DEFAULTS) -> Measured:
    """Share of each map's maximal pixels that lie on R, within ``options.tolerance`` pixels (0: on R itself).

    Args:
        maps: float (N, H, W) in [0, 1]. masks: bool (N, H, W).
        options: ``tolerance`` >= 0, Euclidean, in pixels between pixel centres; ``distances``: whether the extra is wanted.

    Returns:
        Values in [0, 1]; extra ``hit_distance``: pixels from the maximum to R's nearest pixel, 0 on R; the mean over
        the pixels that share the maximum. Statuses ``nonfinite_cam``, ``no_object``, ``zero_cam``.

    >>> maps, masks = torch.zeros(1, 3, 9), torch.zeros(1, 3, 9, dtype=torch.bool)
    >>> maps[0, 1, 1], masks[0, 1, 5:] = 1.0, True
    >>> compute(maps, masks).extras["hit_distance"], compute(maps, masks, MeasureOptions(tolerance=15)).values
    (tensor([4.], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    check_maps(maps, masks)
    regions = regions_of(masks, options)
    levels = levels_of(maps, options)
    status = judge(maps, regions, levels=levels)[1]
    values = torch.full((len(maps),), torch.nan, dtype=torch.float64)
    distances = values.clone()
    summits = [_summit(*each) for each in zip(one_for_all(maps.detach()).cpu().numpy(), levels.rows.cpu().numpy())]
    if len(summits) < len(maps):
        summits *= len(maps)
    measured = options.distances or options.tolerance > 0
    for row, word in enumerate(status):
        if word != "ok":
            continue
        lines, highest = summits[row]
        if measured:
            ys, xs = np.nonzero(highest)
            distance = regions.distances(row, lines[ys], xs)
            values[row], distances[row] = (distance <= options.tolerance).mean(), distance.mean()
        else:
            on_object = regions.array[row, lines]
            values[row] = np.count_nonzero(highest & on_object) / np.count_nonzero(highest)
    return Measured(values, status, {"hit_distance": distances} if measured else {})


def _summit(weights: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The few rows (k,) of a map (H, W) that reach its maximum, and where they do, bool (k, W); ``rows``: their maxima."""
    lines = np.flatnonzero(rows == rows.max())
    return lines, weights[lines] == rows.max()


MEASURE = Measure("pointing_game", False, (0.0, 1.0), True, compute)
