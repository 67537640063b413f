"""The pixels of maps in the order of their weights: what rank measures share, and what costs them most of their time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple, TypeAlias

import numpy as np
from torch import Tensor

_BLOCK = 512  # numbers that NumPy sorts in registers


class Curve(NamedTuple):
    """One map, thresholded at each of its L distinct weights.

    ``level`` float32 (L,), ascending; ``pixels`` int32 (L,): how many weigh at least that; ``hits`` int32 (L,): how many
    of these lie on R. Pixels of the same weight enter together, so that no order among them has to be chosen.
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


def _falls(counts: np.ndarray) -> np.ndarray:
    falls = counts.astype(np.float64)
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
        Curve(level=array([0.5, 1. ], dtype=float32), pixels=array([3, 1], dtype=int32), hits=array([1, 0], dtype=int32))
        """
        weights = self.maps[row].detach().float().clamp(min=0).cpu().numpy().ravel()
        mask = self.masks[row].cpu().numpy().ravel()
        # Non-negative floats are ordered as their bits are; the sign's place, at the other end, says whether it is on R.
        keys = _sorted(weights, weights.view(np.uint32) << np.uint32(1) | (mask.view(np.uint8) != 0))
        level = (keys >> np.uint32(1)).view(np.float32)
        first = np.append(True, level[1:] != level[:-1])  # of each level
        on_object = (keys & np.uint32(1)).astype(np.int32)
        below = np.cumsum(on_object, dtype=np.int32) - on_object
        pixels = (len(keys) - np.flatnonzero(first)).astype(np.int32)
        return Curve(level[first], pixels, (on_object.sum() - below[first]).astype(np.int32))


def _sorted(weights: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """``keys`` in ascending order of their weights; half as long as ``np.sort`` for 50,000 of them.

    NumPy's stable sort of 16 bits counts. It leaves those in disorder that round to the same 16 bits, next to each
    other: sorted in blocks, and in blocks that overlap these by one half. Long runs of nearly the same weight may be
    left; then all is sorted.
    """
    keys = keys[np.argsort((weights * np.float32(65535)).astype(np.uint16), kind="stable")]
    for start in (0, _BLOCK // 2):
        whole = (len(keys) - start) // _BLOCK * _BLOCK
        if whole > 0:
            keys[start : start + whole].reshape(-1, _BLOCK).sort(axis=1)
        keys[max(start + whole, 0) :].sort()
    bits = keys >> np.uint32(1)
    if (bits[1:] < bits[:-1]).any():
        keys.sort()
    return keys
