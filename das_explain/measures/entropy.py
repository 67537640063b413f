"""Entropy of the map taken as a distribution over pixels: its complexity (Bhatt et al., Evaluating and Aggregating
Feature-based Model Explanations, IJCAI 2020).

    H = - sum over pixels of p ln p        p = w / sum of w
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from das_explain.measures.base import DEFAULTS, Measure, Measured, MeasureOptions, check_maps, judge, levels_of
from das_explain.measures.levels import as_weights, in_parts, total


def compute(maps: Tensor, masks: Tensor, options: MeasureOptions = DEFAULTS) -> Measured:
    """Entropy of each map in nats, from 0 (all weight on one pixel) to ln(H * W) (uniform); masks play no part.

    Low means concise, which says nothing of where the weight lies. Maps of other sizes differ by the logarithm of the
    ratio of their pixels, so compare models that see the same frame. Quantus 0.6 (``Complexity``) adds 1e-12 to p.

    Args:
        maps: float (N, H, W) in [0, 1]. masks: bool (N, H, W), only for their shape.

    Returns:
        No extras. Statuses ``nonfinite_cam``, ``zero_cam``.

    >>> compute(torch.tensor([[[0.5, 0.5, 0.0, 0.0]]]), torch.ones(1, 1, 4, dtype=torch.bool)).values  # ln 2
    tensor([0.6931], dtype=torch.float64)
    """
    check_maps(maps, masks)
    scored, status = judge(maps, levels=levels_of(maps, options))
    # The sum of w first, so that no map has to be divided: H = ln(sum w) - sum(w ln w) / sum w.
    weights = as_weights(maps)
    mass, log = total(weights), np.concatenate([total(_w_ln_w(part)) for part in in_parts(weights)])
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.maximum(np.log(mass) - log / mass, 0)
    return Measured(torch.from_numpy(np.where(scored.cpu().numpy(), entropy, np.nan)), status, {})


def _w_ln_w(weights: Tensor) -> Tensor:
    """w ln w, 0 for w = 0, in a fifth of ``torch.special.xlogy``'s time."""
    return weights.clamp(min=torch.finfo(weights.dtype).tiny).log_().mul_(weights)


MEASURE = Measure("entropy", False, (0.0, math.inf), False, compute, of_region=False)
