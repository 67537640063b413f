"""Gini index: how unevenly the weight is spread over the pixels (Hurley and Rickard, Comparing Measures of Sparsity,
2009; of explanations: Chalasani et al., Concise Explanations of Neural Networks using Adversarial Training, ICML
2020).

    G = sum over i of (2 i - n - 1) w_(i) / (n * sum of w)        w_(1) <= ... <= w_(n)
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from torch import Tensor

from das_explain.measures.base import DEFAULTS, Measure, Measured, MeasureOptions, from_order
from das_explain.measures.ranking import Order


def compute(maps: Tensor, masks: Tensor, options: MeasureOptions = DEFAULTS) -> Measured:
    """Gini index of each map, from 0 (all pixels alike) to 1 - 1/n (all weight on one of n pixels); masks play no part.

    High means concise, which says nothing of where the weight lies. Quantus 0.6 (``Sparseness``) adds 1e-7 to every
    weight first, which moves the index by that much of the mean weight.

    Args:
        maps: float (N, H, W) in [0, 1]. masks: bool (N, H, W), only for their shape.

    Returns:
        No extras. Statuses ``nonfinite_cam``, ``zero_cam``.

    >>> import torch
    >>> compute(torch.tensor([[[0.0, 0.0, 0.0, 1.0]]]), torch.ones(1, 1, 4, dtype=torch.bool)).values
    tensor([0.7500], dtype=torch.float64)
    """
    return from_order(maps, masks, options, _gini, needs_object=False)


def _gini(order: Order) -> float:
    weights = order.weights.astype(float)
    # Pixels of one weight may stand in any order: their factors add up to the same.
    mean = np.einsum("i,i->", _factors(len(weights)), weights) / len(weights)  # a product by BLAS would start threads
    return float(mean / weights.sum())


@lru_cache(maxsize=2)
def _factors(count: int) -> np.ndarray:
    return np.arange(1 - count, count, 2, dtype=float)


MEASURE = Measure("gini", False, (0.0, 1.0), True, compute, title="Gini index", reader=_gini, of_region=False)
