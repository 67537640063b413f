"""DEFCON-1: Agarwal, Kumar, Paliyam, Qian, "DEFCON 1: Deformable Convolution in 1D for Channel Attention".

    y = GlobalAveragePool(X)
    dp = C1D_k(y)                                  offsets: one channel -> k, no bias
    d(p) = sum_n w_n y(p + p_n + dp_n(p))          a deformable convolution along the channels, linear interpolation
    X_out = X sigmoid(d)

Sec. 3 of the paper, whose equations have no numbers. It stands in every residual block, before the addition. With
ECA's k = 3, 5, 5, 7 for the four stages of ResNet-50 it has sum of k^2 + k = 504 parameters: 23,705,756, as printed.
Left open: what lies outside the channels (zero here, as in 2-D), what keeps an offset "between 0 and the channel size"
(nothing here: the text names a convolution and no activation) and the offsets' start (zero: it begins as ECA). Its
ResNet-50 has a first convolution of 3x3, as the count tells, with a "stride 2", which torchvision's already has:
``stem="small"`` takes 1, as is common for 32x32 images.

Variants (their Sec. 4.2, 4.3):
    ``offsets="shuffle"``       the channels are shuffled in 2^ceil(log2 k) groups before the offsets are made
    ``offsets="correlation"``   C x C matrix y y^T; the k channels that correlate most with p take the place of its k
                                neighbours in the offsets' convolution (the paper: they "determine" the offsets)
    ``weighted=True``           d = a non-local + (1 - a) local, with one learned a in (0, 1), where local is the same
                                kernel without offsets (the paper names the learned weight only)
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, log2
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from das_explain.nn.attention.eca import choose_kernel_size
from das_explain.nn.gate import Gate

OFFSETS = ("local", "shuffle", "correlation")


class Defcon1(Gate):
    """Multiplies each channel by a weight that k channels decide, which it chooses itself.

    (N, C, H, W) -> (N, C, H, W).
    """

    per_channel = True

    def __init__(
        self,
        channels: int,
        kernel_size: int | Mapping[int, int] | None = None,
        offsets: Literal["local", "shuffle", "correlation"] = "local",
        weighted: bool = False,
    ) -> None:
        super().__init__()
        if offsets not in OFFSETS:
            raise ValueError(f"offsets must be one of {', '.join(OFFSETS)}, not {offsets!r}")
        k = choose_kernel_size(channels, kernel_size)
        self.offsets = offsets
        self.offset = nn.Conv1d(1, k, k, padding=k // 2, bias=False)
        self.weight = nn.Parameter(torch.empty(k))
        self.mix = nn.Parameter(torch.zeros(())) if weighted else None
        self.pool = nn.AdaptiveAvgPool2d(1)
        nn.init.zeros_(self.offset.weight)
        nn.init.uniform_(self.weight, -(k**-0.5), k**-0.5)  # as torch's own convolutions

    def make_offsets(self, y: Tensor) -> Tensor:
        """dp: (N, C) -> (N, k, C), in channels."""
        k = len(self.weight)
        if self.offsets == "correlation":
            strongest = (y[:, :, None] * y[:, None, :]).topk(min(k, y.shape[1]), dim=2).indices  # (N, C, k)
            values = y[:, None, :].expand(-1, y.shape[1], -1).gather(2, strongest)
            return torch.einsum("nm,bcm->bnc", self.offset.weight[:, 0, : values.shape[2]], values)
        if self.offsets == "shuffle":
            y = shuffle(y, 2 ** ceil(log2(k)))
        return self.offset(y[:, None])

    def attention(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1) in (0, 1)."""
        y = self.pool(x).flatten(1)
        deformed = deform_conv1d(y, self.make_offsets(y), self.weight)
        if self.mix is not None:
            local = F.conv1d(y[:, None], self.weight[None, None], padding=len(self.weight) // 2)[:, 0]
            share = self.mix.sigmoid()
            deformed = share * deformed + (1 - share) * local
        return deformed.sigmoid()[:, :, None, None]


def deform_conv1d(y: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """``out(p) = sum_n weight_n y(p + n - k // 2 + offset_n(p))``, linearly interpolated, zero outside.

    Args:
        y: (N, C).
        offset: (N, k, C), in positions.
        weight: (k,), k odd.

    Returns:
        (N, C).
    """
    channels, k = y.shape[1], len(weight)
    taps = torch.arange(k, device=y.device)[:, None] - k // 2
    positions = torch.arange(channels, device=y.device) + taps + offset  # (N, k, C)
    below = positions.floor()
    share = positions - below
    padded = F.pad(y, (1, 1))[:, None].expand(-1, k, -1)  # position p is at p + 1; a zero at both ends
    low, high = ((below + step).long().clamp(0, channels + 1) for step in (1, 2))
    sampled = (1 - share) * padded.gather(2, low) + share * padded.gather(2, high)
    return (weight[:, None] * sampled).sum(1)


def shuffle(y: Tensor, groups: int) -> Tensor:
    """ShuffleNet's: (N, C), as ``groups`` rows read by columns. C that the groups do not divide stays as it is."""
    if y.shape[1] % groups:
        return y
    return y.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1)
