"""Energy-based pointing game: the share of the map's weight that lies on the object (Wang et al., Score-CAM, CVPR
Workshops 2020; the same as relevance mass accuracy, Arras et al., CLEVR-XAI, 2022, arXiv 2003.07258).

    proportion = sum of w over R / sum of w over the frame
"""

from __future__ import annotations

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
    share,
)
from das_explain.measures.levels import as_weights
from das_explain.measures.regions import add_up


def compute(maps: Tensor, masks: Tensor, options: MeasureOptions = DEFAULTS) -> Measured:
    """Share of each map's weight on R, in [0, 1]; a uniform map has the object's share of the frame.

    Args:
        maps: float (N, H, W) in [0, 1]. masks: bool (N, H, W).

    Returns:
        No extras. Statuses ``nonfinite_cam``, ``no_object``, ``zero_cam``.

    >>> import torch
    >>> maps, masks = torch.tensor([[[0.5, 0.25, 0.25]]]), torch.tensor([[[True, False, False]]])
    >>> compute(maps, masks).values
    tensor([0.5000], dtype=torch.float64)
    """
    check_maps(maps, masks)
    regions = regions_of(masks, options)
    scored, status = judge(maps, regions, levels=levels_of(maps, options))
    on_object, elsewhere = (add_up(as_weights(maps), each) for each in (masks, regions.outside))
    return Measured(share(on_object, on_object + elsewhere, scored), status, {})


MEASURE = Measure("energy_pointing_game", False, (0.0, 1.0), True, compute)
