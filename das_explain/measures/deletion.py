"""Deletion: how fast the network loses the class when the map's highest pixels go first (Petsiuk et al., RISE, BMVC 2018,
arXiv 1806.07421).

    deletion = area under p(share of pixels hidden), share from 0 to 1
"""

from __future__ import annotations

from torch import Tensor

from das_explain.measures.base import DEFAULTS, Measure, Measured, MeasureOptions, from_path


def compute(maps: Tensor, masks: Tensor, options: MeasureOptions = DEFAULTS) -> Measured:
    """Area under the class's probability while the photo is hidden, in [0, 1]: its mean over the way; low is faithful.

    A network that is sure of everything has a high area whatever the map: compare maps of one network. Ties
    are hidden in an order drawn from the photo's seed. Masks play no part.

    Args:
        maps: float (N, H, W) in [0, 1]. masks: bool (N, H, W), only for their shape.
        options: ``probe``; ``baseline`` (default ``mean``, the photo's mean colour); ``steps`` (RISE: a row of pixels
            each).

    Returns:
        No extras. Statuses ``nonfinite_cam``, ``zero_cam``, ``nonfinite_output``.

    Raises:
        UsageError: without a probe, or with one of other photos; an unknown baseline; fewer than one step.
    """
    return from_path("deletion", maps, masks, options, "mean", uncovers=False)


MEASURE = Measure("deletion", True, (0.0, 1.0), False, compute, of_region=False)
