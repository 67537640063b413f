"""Efficient channel attention: Wang et al., "ECA-Net: Efficient Channel Attention for Deep CNNs", CVPR 2020.

    w = sigmoid(C1D_k(GlobalAveragePool(X)))     (9)    along the channels: one kernel of k weights, no bias
    k = |log2(C) / gamma + b / gamma|_odd        (12)   gamma = 2, b = 1
    X_out = w X

It stands in every residual block, before the addition. The paper counts 80 parameters on ResNet-50, and so does the
DEFCON-1 paper (23,705,332 - 23,705,252): k = 3, 5, 5, 7 for the four stages. Eq. 12 gives 5, 5, 5, 7 (86 parameters)
on their 256 to 2048 channels, so on bottleneck ResNets the sizes are given; elsewhere Eq. 12 decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from das_explain.nn.gate import Gate

BOTTLENECK_KERNELS = {256: 3, 512: 5, 1024: 5, 2048: 7}
"""Channels -> k as published for ResNet-50."""


def choose_kernel_size(channels: int, given: int | Mapping[int, int] | None = None) -> int:
    """k: as given (a number, or one for each count of channels), else by Eq. 12; always odd."""
    if isinstance(given, Mapping):
        given = given.get(channels, given.get(str(channels)))  # JSON has names only
    if given is None:
        size = int(abs((math.log2(channels) + 1) / 2))
        given = size if size % 2 else size + 1
    if type(given) is not int or given < 1 or given % 2 == 0:
        raise ValueError(f"kernel_size must be odd and positive, not {given!r}")
    return given


class ECA(Gate):
    """Multiplies each channel by a weight that its k neighbouring channels decide. (N, C, H, W) -> (N, C, H, W)."""

    per_channel = True

    def __init__(self, channels: int, kernel_size: int | Mapping[int, int] | None = None) -> None:
        super().__init__()
        size = choose_kernel_size(channels, kernel_size)
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def attention(self, x: Tensor) -> Tensor:
        """w of Eq. 9: (N, C, H, W) -> (N, C, 1, 1)."""
        pooled = self.pool(x).flatten(1).unsqueeze(1)  # (N, 1, C)
        return self.conv(pooled).sigmoid().transpose(1, 2).unsqueeze(3)
