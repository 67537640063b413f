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
    values, distances = np.full(len(maps), np.nan), np.full(len(maps), np.nan)
    scored = np.array([word == "ok" for word in status], bool)
    weights = one_for_all(maps.detach()).cpu().numpy()
    which, lines, highest = _summits(weights, levels.rows[: len(weights)])
    is_shared = len(weights) < len(maps)  # one map's lines stand for all
    measured = options.distances or options.tolerance > 0
    if measured:
        for row in (row for row, word in enumerate(status) if word == "ok"):
            mine = slice(None) if is_shared else which == row
            ys, xs = np.nonzero(highest[mine])
            distance = regions.distances(row, lines[mine][ys], xs)
            values[row], distances[row] = (distance <= options.tolerance).mean(), distance.mean()
    elif is_shared:
        on_object = [np.count_nonzero(highest & mask[lines]) for mask in regions.array]
        np.divide(on_object, np.count_nonzero(highest), out=values, where=scored)
    else:
        counts = (np.count_nonzero(each, axis=1) for each in (highest & regions.array[which, lines], highest))
        hits, tied = (np.bincount(which, count, minlength=len(maps)) for count in counts)
        np.divide(hits, tied, out=values, where=scored)
    extras = {"hit_distance": torch.from_numpy(distances)} if measured else {}
    return Measured(torch.from_numpy(values), status, extras)


def _summits(weights: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The few lines of maps (N, H, W) that reach their map's maximum: of which map each is, its row there, int (k,)
    each, and where it does, bool (k, W). ``rows``: the maxima of all lines, (N, H)."""
    highest = rows.max(axis=1)
    which, lines = np.nonzero(rows == highest[:, None])
    return which, lines, weights[which, lines] == highest[which, None]


MEASURE = Measure("pointing_game", False, (0.0, 1.0), True, compute)
