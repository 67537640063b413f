"""Relevance rank accuracy: how many of the highest pixels lie on the object (Arras et al., CLEVR-XAI, Information Fusion
2022, arXiv 2003.07258).

    accuracy = |P_top |R| and R| / |R|        P_top |R|: the |R| pixels of the highest weight
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from das_explain.measures.base import DEFAULTS, Measure, Measured, MeasureOptions, from_order
from das_explain.measures.ranking import Order


def compute(maps: Tensor, masks: Tensor, options: MeasureOptions = DEFAULTS) -> Measured:
    """Share of the |R| highest pixels that lie on R, in [0, 1].

    Where pixels of one weight stand across the |R|-th place, those on R among them count by their share: the mean over
    every order of them. Quantus 0.6 takes them in the order in which its sort leaves them, so that what it gives to a
    map with ties, a uniform one above all, depends on where in the frame the object lies.

    Args:
        maps: float (N, H, W) in [0, 1]. masks: bool (N, H, W).

    Returns:
        No extras. Statuses ``nonfinite_cam``, ``no_object``, ``zero_cam``.

    >>> import torch
    >>> maps, masks = torch.tensor([[[0.9, 0.5, 0.5, 0.1]]]), torch.tensor([[[True, True, False, False]]])
    >>> compute(maps, masks).values  # the first is on R, the second is with one half
    tensor([0.7500], dtype=torch.float64)
    """
    return from_order(maps, masks, options, _accuracy)


def _accuracy(order: Order) -> float:
    area = len(order.places)
    if not area:
        return math.nan
    level = order.weights[len(order.weights) - area]  # of the |R|-th pixel
    begin, end = (int(np.searchsorted(order.weights, level, side)) for side in ("left", "right"))
    above = len(order.weights) - end
    hits_above = area - order.on_object(end)
    share = (order.on_object(end) - order.on_object(begin)) / (end - begin)  # of the pixels of that weight
    return (hits_above + share * (area - above)) / area


MEASURE = Measure("relevance_rank_accuracy", False, (0.0, 1.0), True, compute, reader=_accuracy)
