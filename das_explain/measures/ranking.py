"""The pixels of maps in the order of their weights: what rank measures share, and what costs them most of their time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

_SIGN = 2**31


class Ties(NamedTuple):
    """The distinct weights that pixels of R have, ascending: whole numbers of pixels, int64 (L,) each.

    ``below``: how many weigh less; ``hits_below``: how many of these lie on R; ``pixels``: how many weigh exactly that;
    ``hits``: how many of these lie on R. Pixels of one weight are told of together, so that no order among them has to be
    chosen.
    """

    below: np.ndarray
    hits_below: np.ndarray
    pixels: np.ndarray
    hits: np.ndarray


class Order:
    """The pixels of one map, sorted.

    ``weights`` float32 (P,), ascending, none below 0; ``places`` int64 (K,): where in it the pixels of R stand, ascending;
    among pixels of one weight those of R come last.
    """

    def __init__(self, weights: np.ndarray, places: np.ndarray) -> None:
        self.weights, self.places = weights, places

    @cached_property
    def ties(self) -> Ties:
        """R's pixels by their weights.

        >>> Order(np.array([0.5, 0.5, 1.0], np.float32), np.array([1])).ties
        Ties(below=array([0]), hits_below=array([0]), pixels=array([2]), hits=array([1]))
        """
        on_object = self.weights[self.places]
        first = np.flatnonzero(np.append(True, on_object[1:] != on_object[:-1])[: len(on_object)])
        after = np.append(first, len(self.places))[1:]
        level, begin, end = on_object[first], self.places[first], self.places[after - 1] + 1
        # Pixels off R come first among those of one weight.
        shared = np.flatnonzero(self.weights[begin - 1] == level)
        begin[shared] = np.searchsorted(self.weights, level[shared])
        return Ties(begin, first, end - begin, after - first)

    def on_object(self, place: int) -> int:
        """How many of the pixels before ``place`` lie on R."""
        return int(np.searchsorted(self.places, place))


Reader: TypeAlias = Callable[[Order], float]
"""What one measure makes of a map's pixels in order; NaN where nothing is on R, or nothing off it, and it needs that."""


class Ranking:
    """What is read from the sorted pixels of N maps (N, H, W), in float32, on their masks, bool (N, H, W).

    A map is sorted once, and all ``readers`` (functions of an ``Order``) read it before the next one is.
    """

    def __init__(self, maps: Tensor, masks: Tensor, readers: Collection[Reader] = ()) -> None:
        self.maps, self.masks, self.readers = maps, masks, readers
        self._read: dict[int, dict[Reader, float]] = {}

    def value(self, row: int, reader: Reader) -> float:
        """What a reader says of map ``row``, which must be finite."""
        if reader not in self._read.get(row, ()):
            order = self.order(row)
            self._read[row] = {each: each(order) for each in {*self.readers, reader}}
        return self._read[row][reader]

    def order(self, row: int) -> Order:
        """The pixels of map ``row``, which must be finite.

        >>> import torch
        >>> order = Ranking(torch.tensor([[[0.5, 1.0, 0.5]]]), torch.tensor([[[True, False, False]]])).order(0)
        >>> order.weights, order.places
        (array([0.5, 0.5, 1. ], dtype=float32), array([1]))
        """
        if self.maps.device.type == "cpu":
            weights = self.maps[row].detach().float().numpy().ravel()
            if weights.min() < 0:
                weights = np.maximum(weights, 0)
            mask = self.masks[row].numpy().ravel()
            # Non-negative floats are ordered as their bits are; the sign's place, at the other end, tells who is on R.
            keys = weights.view(np.uint32) << np.uint32(1)
            keys |= mask.astype(np.uint32)
            keys.sort()
        else:
            keys = self._sorted[row].cpu().numpy().view(np.uint32) ^ np.uint32(_SIGN)
        places = np.flatnonzero((keys & np.uint32(1)) != 0)
        keys >>= np.uint32(1)
        return Order(keys.view(np.float32), places)

    @cached_property
    def _sorted(self) -> Tensor:
        """The same keys of all maps at once where another device sorts them, int32 (N, P): as signed numbers in their
        order, since torch sorts no others."""
        bits = self.maps.detach().float().clamp(min=0).contiguous().view(torch.int32)
        return ((bits << 1 | self.masks) ^ -_SIGN).flatten(1).sort().values
