"""Insertion: how fast the network finds the class when the map's highest pixels come first (Petsiuk et al., RISE, BMVC 2018,
arXiv 1806.07421).

    insertion = area under p(share of pixels shown), share from 0 to 1
"""

from __future__ import annotations

from torch import Tensor

from das_explain.measures.base import DEFAULTS, Measure, Measured, MeasureOptions, from_path


def compute(maps: Tensor, masks: Tensor, options: MeasureOptions = DEFAULTS) -> Measured:
    """Area under the class's probability while the photo is uncovered, in [0, 1]: its mean over the way; high is faithful.

    A network that is sure of everything has a high area whatever the map: compare maps of one network. Ties
    are shown in an order drawn from the photo's seed. Masks play no part.

    Args:
        maps: float (N, H, W) in [0, 1]. masks: bool (N, H, W), only for their shape.
        options: ``probe``; ``baseline`` (default ``blur``, a Gaussian's); ``steps`` (RISE: a row of pixels
            each).

    Returns:
        No extras. Statuses ``nonfinite_cam``, ``zero_cam``, ``nonfinite_output``.

    Raises:
        UsageError: without a probe, or with one of other photos; an unknown baseline; fewer than one step.
    """
    return from_path("insertion", maps, masks, options, "blur", uncovers=True)


MEASURE = Measure("insertion", True, (0.0, 1.0), True, compute, of_region=False)
