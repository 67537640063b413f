"""Average drop: how much of the class's probability is lost when only what the map shows is kept (Chattopadhay et al.,
Grad-CAM++, WACV 2018; arXiv 1710.11063).

    drop = max(0, Y - O) / Y        Y: probability for the photo, O: for the photo times the map
"""

from __future__ import annotations

import torch
from torch import Tensor

from das_explain.measures.base import DEFAULTS, Measure, Measured, MeasureOptions, answered, check_maps
from das_explain.measures.probe import probe_of


def compute(maps: Tensor, masks: Tensor, options: MeasureOptions = DEFAULTS) -> Measured:
    """Relative drop of the class's probability, a share in [0, 1] (the paper's per cent / 100); low is faithful.

    The photo is multiplied as a frame in [0, 1], so that what the map leaves out is black; pytorch-grad-cam multiplies
    the normalised tensor (it becomes the data set's mean colour), and gives max(0, Y - O), not divided by Y. A uniform
    map loses nothing: read it beside the nulls. Masks play no part.

    Args:
        maps: float (N, H, W) in [0, 1]. masks: bool (N, H, W), only for their shape.
        options: ``probe``.

    Returns:
        Extras ``before`` and ``on_map``, float64 (N,): Y and O. Statuses ``nonfinite_cam``, ``zero_cam``,
        ``nonfinite_output``, ``no_confidence`` (Y is 0).

    Raises:
        UsageError: without a probe, or with one of other photos.
    """
    check_maps(maps, masks)
    probe = probe_of(maps, options.probe, "average_drop")
    before, on_map = probe.before(), probe.on_map(maps)
    drop = (before - on_map).clamp(min=0) / before
    measured = answered(maps, drop, torch.stack((before, on_map), 1), no_confidence=before == 0)
    return measured._replace(extras={"before": before, "on_map": on_map})


MEASURE = Measure("average_drop", True, (0.0, 1.0), False, compute, of_region=False)
