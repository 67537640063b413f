"""Area under the ROC curve: how well the weight tells pixels of the object from the others (as Quantus' AUC; Fawcett,
An introduction to ROC analysis, 2006).

    AUROC = P(w_r > w_n) + P(w_r = w_n) / 2        r drawn from R, n from the pixels off R
"""

from __future__ import annotations

import math

from torch import Tensor

from das_explain.measures.base import DEFAULTS, Measure, Measured, MeasureOptions, from_order
from das_explain.measures.ranking import Order


def compute(maps: Tensor, masks: Tensor, options: MeasureOptions = DEFAULTS) -> Measured:
    """AUROC of each map's pixels, in [0, 1]; 0.5: no better than chance, as a uniform map. Ties count half, exactly.

    Args:
        maps: float (N, H, W) in [0, 1]. masks: bool (N, H, W).

    Returns:
        No extras. Statuses ``nonfinite_cam``, ``no_object``, ``whole_frame`` (nothing to tell R from), ``zero_cam``.

    >>> import torch
    >>> maps, masks = torch.tensor([[[0.9, 0.5, 0.5, 0.1]]]), torch.tensor([[[True, True, False, False]]])
    >>> compute(maps, masks).values  # of four pairs three are in order, and one is tied
    tensor([0.8750], dtype=torch.float64)
    """
    return from_order(maps, masks, options, _area, needs_outside=True)


def _area(order: Order) -> float:
    ties = order.ties
    on = len(order.places)
    misses = ties.pixels - ties.hits  # pixels off R of the same weight
    beaten = (ties.hits * (2 * (ties.below - ties.hits_below) + misses)).sum() / 2
    pairs = on * (len(order.weights) - on)
    return float(beaten / pairs) if pairs else math.nan


MEASURE = Measure("auroc", False, (0.0, 1.0), True, compute, title="AUROC", reader=_area)
