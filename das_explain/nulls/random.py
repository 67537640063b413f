"""A smooth random field of the block's own resolution: what a map looks like that has nothing to say."""

from __future__ import annotations

import torch
from torch import Tensor

from das_explain.cam.maps import normalize
from das_explain.nulls.base import Null


def make(maps: Tensor, masks: Tensor, partner: Tensor, *, native: tuple[int, int], seeds: Tensor) -> Tensor:
    """Uniform noise at ``native`` (h, w), normalised and resized as the block's maps are: float32 (N, H, W) in [0, 1].

    ``seeds`` int64 (N,), one per image: the same field for every model whose block has that resolution. A block of one
    pixel has an empty map, as its own is.

    >>> field = make(torch.rand(2, 8, 8), torch.ones(2, 8, 8).bool(), None, native=(2, 2), seeds=torch.tensor([3, 4]))
    >>> field.shape, bool(field.max() <= 1)
    (torch.Size([2, 8, 8]), True)
    """
    draws = [torch.rand(native, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
    noise = torch.stack(draws) if draws else torch.zeros(0, *native)
    return normalize(noise.to(masks.device), (masks.shape[1], masks.shape[2])).map


NULL = Null("random", make, needs=("native", "seeds"), title="random field")
