"""Intersection over union of the map above a threshold with the object (Jaccard), and the threshold that is best.

    IoU(tau) = |S and R| / |S or R|        S: the pixels with w >= tau

A method should not lose because its maps are brighter or fainter than another's: ``best_iou_threshold`` finds the tau
that is best over the whole data set, as MaxBoxAcc does for boxes (Choe et al., Evaluating Weakly Supervised Object
Localization Methods Right, CVPR 2020, arXiv 2001.07437). It is chosen with the masks in sight, so it says what the maps
could do, not what they do.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from das_explain.errors import UsageError
from das_explain.measures.base import (
    DEFAULTS,
    Measure,
    Measured,
    MeasureOptions,
    check_maps,
    judge,
    levels_of,
    regions_of,
    share,
)
from das_explain.measures.levels import as_weights

STEPS = 1024
"""Thresholds that are tried: k / 1024, exact in binary, so that no pixel falls on the wrong side by rounding."""


def compute(maps: Tensor, masks: Tensor, options: MeasureOptions = DEFAULTS) -> Measured:
    """IoU of the pixels with ``w >= options.threshold`` and R, in [0, 1]; 0 where none is that high.

    Args:
        maps: float (N, H, W) in [0, 1]. masks: bool (N, H, W).
        options: ``threshold`` in (0, 1].

    Returns:
        No extras. Statuses ``nonfinite_cam``, ``no_object``, ``zero_cam``.

    >>> maps, masks = torch.tensor([[[1.0, 0.4, 0.3, 0.0]]]), torch.tensor([[[True, False, False, True]]])
    >>> compute(maps, masks).values, compute(maps, masks, MeasureOptions(threshold=0.5)).values
    (tensor([0.2500], dtype=torch.float64), tensor([0.5000], dtype=torch.float64))
    """
    check_maps(maps, masks)
    if not 0 < options.threshold <= 1:
        raise UsageError(f"threshold must lie in (0, 1], not {options.threshold}")
    regions = regions_of(masks, options)
    scored, status = judge(maps, regions, levels=levels_of(maps, options))
    weights = as_weights(maps)
    salient, both = _counts(weights, masks, _at_least(options.threshold, weights.dtype))
    return Measured(share(both, salient + regions.area - both, scored), status, {})


def _counts(weights: Tensor, masks: Tensor, least: float) -> np.ndarray:
    """How many pixels of each map (N, H, W) weigh at least that much, and how many of these lie on R: int64 (2, N)."""
    if weights.device.type != "cpu":
        salient = weights >= least
        return torch.stack((salient.sum((1, 2)), (salient & masks).sum((1, 2)))).cpu().numpy()
    counts = np.empty((2, len(weights)), np.int64)
    for row, (values, mask) in enumerate(zip(weights.numpy(), masks.numpy())):  # in less than half of torch's time
        region = values >= least
        counts[:, row] = np.count_nonzero(region), np.count_nonzero(np.logical_and(region, mask, out=region))
    return counts


def _at_least(threshold: float, dtype: torch.dtype) -> float:
    """The smallest number of ``dtype`` that is no less than the threshold: 0.7 in float32 is less than 0.7."""
    near = torch.tensor(threshold, dtype=dtype)
    return float(near if float(near) >= threshold else torch.nextafter(near, torch.ones_like(near)))


class IouByThreshold:
    """Mean IoU over a data set at ``STEPS`` thresholds at once, batch after batch, from one histogram per map.

    Images without a value (see ``compute``) are left out. Memory does not grow with the number of images.

    >>> maps, masks = torch.tensor([[[1.0, 0.5, 0.2, 0.0]]]), torch.tensor([[[True, True, False, False]]])
    >>> curve = IouByThreshold()
    >>> curve.add(maps, masks)
    >>> curve.best()  # anything above 0.2 and up to 0.5; the lowest of the best
    (0.2001953125, 1.0)
    """

    def __init__(self) -> None:
        self.thresholds = np.arange(1, STEPS + 1) / STEPS
        self.count = 0
        self._sum = np.zeros(STEPS)

    def add(self, maps: Tensor, masks: Tensor) -> None:
        """Takes in further images: maps float (N, H, W) in [0, 1], masks bool (N, H, W)."""
        check_maps(maps, masks)
        scored = judge(maps, regions_of(masks, DEFAULTS))[0].tolist()
        bins = (maps.detach().clamp(0, 1) * STEPS).long()  # a power of two: exact
        cells = (2 * bins + masks).flatten(1).cpu().numpy()
        for row in np.flatnonzero(scored):
            off, on = np.bincount(cells[row], minlength=2 * (STEPS + 1)).reshape(-1, 2).T
            above_off, above_on = (np.cumsum(count[:0:-1])[::-1] for count in (off, on))
            self._sum += above_on / (above_off + on.sum())
            self.count += 1

    def merge(self, other: IouByThreshold) -> None:
        """Takes in the images of another."""
        self._sum += other._sum
        self.count += other.count

    @property
    def mean(self) -> np.ndarray:
        """Mean IoU at each of ``thresholds``, float64 (STEPS,); NaN without a single image."""
        return self._sum / self.count if self.count else np.full(STEPS, np.nan)

    def best(self) -> tuple[float, float]:
        """The threshold with the highest mean IoU (the lowest of several), and that mean; NaN without images."""
        if not self.count:
            return float("nan"), float("nan")
        place = int(self.mean.argmax())
        return float(self.thresholds[place]), float(self.mean[place])


def best_iou_threshold(batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """The threshold whose mean IoU over all maps and masks of the batches is highest, and that mean.

    One network's maps of one block at a time; as ``IouByThreshold``, which takes the batches as they come.
    """
    curve = IouByThreshold()
    for maps, masks in batches:
        curve.add(maps, masks)
    return curve.best()


MEASURE = Measure("iou", False, (0.0, 1.0), True, compute, title="IoU")
