"""The model's own map of another photo: what it gives away of where objects usually are, and nothing of this one."""

from __future__ import annotations

from torch import Tensor

from das_explain.nulls.base import Null


def make(maps: Tensor, masks: Tensor, partner: Tensor) -> Tensor:
    """Each image's partner's map: maps float32 (M, H, W), partner int64 (N,) -> float32 (N, H, W)."""
    return maps[partner]


NULL = Null("shuffled", make, title="another photo's map")
