"""Increase in confidence: whether the network is surer of the class when only what the map shows is kept (Chattopadhay et
al., Grad-CAM++, WACV 2018; arXiv 1710.11063).

    increase = 1 if O > Y else 0        Y: probability for the photo, O: for the photo times the map
"""

from __future__ import annotations

import torch
from torch import Tensor

from das_explain.measures.base import DEFAULTS, Measure, Measured, MeasureOptions, answered, check_maps
from das_explain.measures.probe import probe_of


def compute(maps: Tensor, masks: Tensor, options: MeasureOptions = DEFAULTS) -> Measured:
    """1 where the probability rises, 0 where not; over images, the share of rises (the paper's per cent / 100).

    The photo is multiplied as a frame in [0, 1], as in ``average_drop``, and the network asked once for both. A uniform
    map leaves it as it is: 0. Masks play no part.

    Args:
        maps: float (N, H, W) in [0, 1]. masks: bool (N, H, W), only for their shape.
        options: ``probe``.

    Returns:
        No extras. Statuses ``nonfinite_cam``, ``zero_cam``, ``nonfinite_output``.

    Raises:
        UsageError: without a probe, or with one of other photos.
    """
    check_maps(maps, masks)
    probe = probe_of(maps, options.probe, "increase_in_confidence")
    before, on_map = probe.before(), probe.on_map(maps)
    return answered(maps, on_map > before, torch.stack((before, on_map), 1))


MEASURE = Measure("increase_in_confidence", True, (0.0, 1.0), True, compute, of_region=False)
