"""Average precision of the map's pixels as detections of the object's (pixel-wise AP; PxAP of Choe et al., Evaluating
Weakly Supervised Object Localization Methods Right, CVPR 2020, arXiv 2001.07437, of one image).

    AP = sum over levels t of (recall(t) - recall(level above t)) * precision(t)
"""

from __future__ import annotations

import math

from torch import Tensor

from das_explain.measures.base import DEFAULTS, Measure, Measured, MeasureOptions, from_order
from das_explain.measures.ranking import Order


def compute(maps: Tensor, masks: Tensor, options: MeasureOptions = DEFAULTS) -> Measured:
    """AP of each map's pixels, in [0, 1], as scikit-learn's ``average_precision_score``: steps, no interpolation.

    A uniform map has the object's share of the frame, so that values of large and of small objects differ by chance
    alone; pixels of the same weight enter together.

    Args:
        maps: float (N, H, W) in [0, 1]. masks: bool (N, H, W).

    Returns:
        No extras. Statuses ``nonfinite_cam``, ``no_object``, ``zero_cam``.

    >>> import torch
    >>> maps, masks = torch.tensor([[[0.9, 0.5, 0.1, 0.0]]]), torch.tensor([[[True, False, True, False]]])
    >>> compute(maps, masks).values  # (1/1 + 2/3) / 2
    tensor([0.8333], dtype=torch.float64)
    """
    return from_order(maps, masks, options, _area)


def _area(order: Order) -> float:
    ties, on = order.ties, len(order.places)
    precision = (on - ties.hits_below) / (len(order.weights) - ties.below)
    return float((ties.hits * precision).sum() / on) if on else math.nan


MEASURE = Measure("average_precision", False, (0.0, 1.0), True, compute, reader=_area)
