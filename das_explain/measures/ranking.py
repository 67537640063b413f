"""The pixels of maps in the order of their weights: what rank measures share, and what costs them most of their time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple, TypeAlias

import numpy as np
from torch import Tensor


class Curve(NamedTuple):
    """One map, thresholded at each of its L distinct weights.

    ``level`` float32 (L,), ascending; ``pixels`` (L,): how many weigh at least that; ``hits`` (L,): how many of these lie
    on R: whole numbers in float64, so that sums of their products are exact. Pixels of the same weight enter together, so
    that no order among them has to be chosen.
    """

    level: np.ndarray
    pixels: np.ndarray
    hits: np.ndarray

    @property
    def pixels_at(self) -> np.ndarray:
        """How many weigh exactly that: whole numbers, float64 (L,)."""
        return _falls(self.pixels)

    @property
    def hits_at(self) -> np.ndarray:
        """How many weigh exactly that and lie on R: whole numbers, float64 (L,)."""
        return _falls(self.hits)


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of products of (L,) and (L,), without BLAS: to wake its threads takes longer than so short a sum.

    >>> dot(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    11.0
    """
    return float(np.einsum("i,i->", a, b))


def _falls(counts: np.ndarray) -> np.ndarray:
    falls = counts.copy()
    falls[:-1] -= counts[1:]
    return falls


Reader: TypeAlias = Callable[[Curve], float]
"""What one measure makes of a curve; NaN where nothing is on R, or nothing off it, and it needs that."""


class Ranking:
    """What is read from the curves of N maps (N, H, W), in float32, on their masks, bool (N, H, W).

    A curve is made once, and all ``readers`` (functions of a ``Curve``) read it before it is dropped: it is three times
    as large as its map.
    """

    def __init__(self, maps: Tensor, masks: Tensor, readers: Collection[Reader] = ()) -> None:
        self.maps, self.masks, self.readers = maps, masks, readers
        self._read: dict[int, dict[Reader, float]] = {}

    def value(self, row: int, reader: Reader) -> float:
        """What a reader says of the curve of map ``row``, which must be finite."""
        if reader not in self._read.get(row, ()):
            curve = self.curve(row)
            self._read[row] = {each: each(curve) for each in {*self.readers, reader}}
        return self._read[row][reader]

    def curve(self, row: int) -> Curve:
        """The curve of map ``row``, which must be finite.

        >>> import torch
        >>> Ranking(torch.tensor([[[0.5, 1.0, 0.5]]]), torch.tensor([[[True, False, False]]])).curve(0)
        Curve(level=array([0.5, 1. ], dtype=float32), pixels=array([3., 1.]), hits=array([1., 0.]))
        """
        weights = self.maps[row].detach().float().cpu().numpy().ravel()
        if weights.min() < 0:
            weights = np.maximum(weights, 0)
        mask = self.masks[row].cpu().numpy().ravel()
        # Non-negative floats are ordered as their bits are; the sign's place, at the other end, says whether it is on R.
        keys = weights.view(np.uint32) << np.uint32(1) | (mask.view(np.uint8) != 0)
        keys.sort()
        level = (keys >> np.uint32(1)).view(np.float32)
        first = np.flatnonzero(np.append(True, level[1:] != level[:-1]))  # of each level
        on_object = (keys & np.uint32(1)).view(np.int32)
        from_below = np.cumsum(on_object, dtype=np.int32)
        total = from_below[-1]
        from_below -= on_object
        return Curve(level[first], len(keys) - first.astype(np.float64), total - from_below[first].astype(np.float64))
