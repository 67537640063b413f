"""The pixels of maps in the order of their weights: what rank measures share, and what costs them most of their time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor


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


class Ranking:
    """Curves of N maps (N, H, W), in float32, on their masks, bool (N, H, W); each is made when first asked for."""

    def __init__(self, maps: Tensor, masks: Tensor) -> None:
        self.maps, self.masks = maps, masks
        self._curves: dict[int, Curve] = {}

    def curve(self, row: int) -> Curve:
        """The curve of map ``row``, which must be finite.

        >>> import torch
        >>> Ranking(torch.tensor([[[0.5, 1.0, 0.5]]]), torch.tensor([[[True, False, False]]])).curve(0)
        Curve(level=array([0.5, 1. ], dtype=float32), pixels=array([3, 1], dtype=int32), hits=array([1, 0], dtype=int32))
        """
        if row not in self._curves:
            weights = self.maps[row].detach().float().clamp(min=0).cpu().numpy().ravel()
            self._curves[row] = _curve(weights, self.masks[row].cpu().numpy().ravel())
        return self._curves[row]


def _curve(weights: np.ndarray, mask: np.ndarray) -> Curve:
    # Non-negative floats are ordered as their bits are; the sign's place, at the other end, holds whether it is on R.
    keys = _sorted(weights.view(np.uint32) << np.uint32(1) | mask.view(np.uint8))
    level = (keys >> np.uint32(1)).view(np.float32)
    first = np.append(True, level[1:] != level[:-1])  # of each level
    on_object = (keys & np.uint32(1)).astype(np.int32)
    below = np.cumsum(on_object, dtype=np.int32) - on_object
    pixels = (len(keys) - np.flatnonzero(first)).astype(np.int32)
    return Curve(level[first], pixels, (on_object.sum() - below[first]).astype(np.int32))


def _sorted(keys: np.ndarray) -> np.ndarray:
    """uint32 in ascending order, half by half: NumPy's stable sort of 16 bits counts (on 50,000 half ``np.sort``'s time)."""
    order = np.argsort(keys.astype(np.uint16), kind="stable")
    keys = keys[order]
    return keys[np.argsort((keys >> np.uint32(16)).astype(np.uint16), kind="stable")]
