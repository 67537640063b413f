"""How high maps are along rows, columns and as a whole: what nearly every measure asks first."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from das_explain.cam.maps import TOGETHER


class Levels:
    """Of N maps (N, H, W), in their own precision, as NumPy arrays: a few numbers per map, of which more is asked there in
    less time. A NaN in a map makes NaN of whatever would have looked at it.

    >>> levels = Levels(torch.tensor([[[0.0, 1.0], [0.5, 0.25]]]))
    >>> levels.columns, levels.rows, levels.lowest
    (array([[0.5, 1. ]], dtype=float32), array([[1. , 0.5]], dtype=float32), array([0.], dtype=float32))
    """

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps

    @classmethod
    def of_upsampled(cls, maps: Tensor, parts: Iterable[Tensor]) -> Levels:
        """Those of maps that come in parts, ``cam.maps.upsample_in_parts``, which are looked at as they come."""
        levels = cls(maps)
        levels._extremes = _extremes(parts, none_below=True)
        return levels

    @cached_property
    def _extremes(self) -> tuple[np.ndarray, ...]:
        found = _extremes(in_parts(as_weights(one_for_all(self.maps))))
        return tuple(np.broadcast_to(each, (len(self.maps), *each.shape[1:])) for each in found)

    @property
    def columns(self) -> np.ndarray:
        """Each column's maximum, (N, W)."""
        return self._extremes[0]

    @property
    def rows(self) -> np.ndarray:
        """Each row's maximum, (N, H)."""
        return self._extremes[1]

    @property
    def lowest(self) -> np.ndarray:
        """Each map's minimum, (N,)."""
        return self._extremes[2]

    @cached_property
    def highest(self) -> np.ndarray:
        """Each map's maximum, (N,)."""
        return self.rows.max(1)

    @cached_property
    def finite(self) -> np.ndarray:
        """Whether all weights of a map are numbers, bool (N,)."""
        return np.isfinite(self.highest) & np.isfinite(self.lowest)


def _extremes(parts: Iterable[Tensor], *, none_below: bool = False) -> tuple[np.ndarray, ...]:
    """Maxima of columns and of rows, minima, of maps that come in parts; ``none_below``: no weight is below 0, and none is
    looked for."""
    found = []
    for part in parts:
        lowest = part.new_zeros(len(part)) if none_below else part.flatten(1).amin(1)
        found.append((part.amax(1), part.amax(2), lowest))
    return tuple(torch.cat(each).cpu().numpy() for each in zip(*found))


def as_weights(maps: Tensor) -> Tensor:
    """Maps as numbers to reckon with: float64 ones as such, all others in float32."""
    return maps.detach() if maps.dtype == torch.float64 else maps.detach().float()


def total(weights: Tensor) -> np.ndarray:
    """Sums of (N, H, W), float64 (N,): along rows in the weights' precision, over rows in float64; six digits."""
    return weights.sum(2).double().sum(1).cpu().numpy()


def one_for_all(maps: Tensor) -> Tensor:
    """The maps (N, H, W), or the one (1, H, W) that stands for all of them: a blind map is expanded, never copied."""
    return maps[:1] if len(maps) > 1 and maps.stride(0) == 0 else maps


def in_parts(maps: Tensor) -> tuple[Tensor, ...]:
    """Maps (N, H, W) as many at a time as are quickest looked at: a few of them on a processor, all on another device."""
    return maps.split(TOGETHER) if maps.device.type == "cpu" else (maps,)
