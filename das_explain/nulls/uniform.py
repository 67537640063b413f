"""The map that is 1 everywhere: what a measure gives to no information at all."""

from __future__ import annotations

import torch
from torch import Tensor

from das_explain.nulls.base import Null


def make(maps: Tensor, masks: Tensor, partner: Tensor) -> Tensor:
    """Ones, float32 (N, H, W), the masks' shape, on their device: one, expanded."""
    return torch.ones(1, device=masks.device).expand(masks.shape)


NULL = Null("uniform", make, blind=True)
