"""The model's own map of another photo: what it gives away of where objects usually are, and nothing of this one."""

from __future__ import annotations

import torch
from torch import Tensor

from das_explain.nulls.base import Null


def make(maps: Tensor, masks: Tensor, partner: Tensor) -> Tensor:
    """Each image's partner's map: maps float32 (M, H, W), partner int64 (N,) -> float32 (N, H, W).

    Not copied where partners stand one behind the other.
    """
    first, count = int(partner[0]) if len(partner) else 0, len(partner)
    in_order = torch.equal(partner, torch.arange(first, first + count, device=partner.device))
    return maps[first : first + count] if in_order else maps[partner]


NULL = Null("shuffled", make, title="another photo's map")
