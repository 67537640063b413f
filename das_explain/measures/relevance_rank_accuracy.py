"""Relevance rank accuracy: how many of the highest pixels lie on the object (Arras et al., CLEVR-XAI, Information Fusion
2022, arXiv 2003.07258).

    accuracy = |P_top |R| and R| / |R|        P_top |R|: the |R| pixels of the highest weight
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from das_explain.measures.base import DEFAULTS, Measure, Measured, MeasureOptions, from_curves
from das_explain.measures.ranking import Curve


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
    return from_curves(maps, masks, options, _accuracy)


def _accuracy(curve: Curve) -> float:
    area = int(curve.hits[0])
    if not area:
        return math.nan
    last = int(np.count_nonzero(curve.pixels >= area)) - 1  # the level on which the |R|-th pixel stands
    above = last + 1 < len(curve.pixels)
    pixels, hits = (int(count[last + 1]) if above else 0 for count in (curve.pixels, curve.hits))
    share = (int(curve.hits[last]) - hits) / (int(curve.pixels[last]) - pixels)
    return (hits + share * (area - pixels)) / area


MEASURE = Measure("relevance_rank_accuracy", False, (0.0, 1.0), True, compute, reader=_accuracy)
