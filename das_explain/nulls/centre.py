"""A blind Gaussian in the middle of the frame: objects stand in the middle of photos, so it does well on its own."""

from __future__ import annotations

import torch
from torch import Tensor

from das_explain.nulls.base import Null


def centre_map(height: int, width: int, sigma: float = 0.25, device: torch.device | None = None) -> Tensor:
    """A Gaussian at the frame's centre that never saw a photo: float32 (1, H, W), maximum near 1.

    ``sigma`` is in sides, so that on a frame that is no square the Gaussian is stretched with it.

    >>> centre_map(3, 3, sigma=1 / 3)[0, 1]
    tensor([0.6065, 1.0000, 0.6065])
    """
    y = (torch.arange(height, device=device) + 0.5) / height - 0.5
    x = (torch.arange(width, device=device) + 0.5) / width - 0.5
    return torch.exp(-(y.view(1, -1, 1) ** 2 + x.view(1, 1, -1) ** 2) / (2 * sigma**2))


def make(maps: Tensor, masks: Tensor, partner: Tensor) -> Tensor:
    """The same ``centre_map`` for every image, float32 (N, H, W), on the masks' device: one, expanded."""
    count, height, width = masks.shape
    return centre_map(height, width, device=masks.device).expand(count, -1, -1)


NULL = Null("centre", make, blind=True, title="centre Gaussian")
