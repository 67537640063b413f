"""How high maps are along rows, columns and as a whole: what nearly every measure asks first."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor


class Levels:
    """Of N maps (N, H, W), in their own precision; a NaN in a map makes NaN of whatever would have looked at it.

    >>> import torch
    >>> levels = Levels(torch.tensor([[[0.0, 1.0], [0.5, 0.25]]]))
    >>> levels.columns, levels.rows, levels.lowest
    (tensor([[0.5000, 1.0000]]), tensor([[1.0000, 0.5000]]), tensor([0.]))
    """

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps
        self._each = one_for_all(maps.detach())

    @cached_property
    def columns(self) -> Tensor:
        """Each column's maximum, (N, W)."""
        return self._each.amax(1).expand(len(self.maps), -1)

    @cached_property
    def rows(self) -> Tensor:
        """Each row's maximum, (N, H)."""
        return self._each.amax(2).expand(len(self.maps), -1)

    @cached_property
    def highest(self) -> Tensor:
        """Each map's maximum, (N,)."""
        return self.rows.amax(1)

    @cached_property
    def lowest(self) -> Tensor:
        """Each map's minimum, (N,)."""
        return self._each.flatten(1).amin(1).expand(len(self.maps))

    @cached_property
    def finite(self) -> Tensor:
        """Whether all weights of a map are numbers, bool (N,)."""
        return self.highest.isfinite() & self.lowest.isfinite()


def one_for_all(maps: Tensor) -> Tensor:
    """The maps (N, H, W), or the one (1, H, W) that stands for all of them: a blind map is expanded, never copied."""
    return maps[:1] if len(maps) > 1 and maps.stride(0) == 0 else maps
