"""Style-based recalibration: Lee, Kim, Nam, "SRM: A Style-based Recalibration Module for CNNs", ICCV 2019.

    t = [mean(X); std(X)] over the positions, for each channel
    z_c = w_c . t_c                                                    channel-wise, two weights, no bias
    g = sigmoid(BN(z))
    X_out = g X

These are the equations of its sections on style pooling and style integration; their numbers could not be checked.

It stands in every residual block, before the addition. Four parameters a channel: 25.62 M on ResNet-50, 44.68 M on
ResNet-101, as printed. As in the authors' code the variance is unbiased (divided by H W - 1) and the weights start at 0,
so that every g starts at 1/2. Not as there, 1e-5 stands under the root, which keeps the gradient finite on a constant
map, and a single position has the variance 0 instead of NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from das_explain.nn.gate import Gate


class SRM(Gate):
    """Multiplies each channel by a weight made of its mean and deviation. (N, C, H, W) -> (N, C, H, W)."""

    per_channel = True
    EPSILON = 1e-5

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, 2))
        self.norm = nn.BatchNorm2d(channels)

    def attention(self, x: Tensor) -> Tensor:
        """g: (N, C, 1, 1)."""
        mean = x.mean((2, 3))
        single = x.shape[2:] == (1, 1)
        deviation = (x.var((2, 3), correction=0 if single else 1) + self.EPSILON).sqrt()
        style = torch.stack((mean, deviation), dim=2)  # (N, C, 2)
        integrated = (style * self.weight).sum(2)[:, :, None, None]
        return self.norm(integrated).sigmoid()
