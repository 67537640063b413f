"""Triplet attention: Misra et al., "Rotate to Attend: Convolutional Triplet Attention Module", WACV 2021.

    Z-pool(X) = [max(X); mean(X)] over the first of three axes
    branch(X) = X sigmoid(BN(conv_kxk(Z-pool(X))))
    X_out = (branch over C, of (H, W)) + (branch over H, of (C, W)) + (branch over W, of (H, C)), divided by 3

Its Sec. 3.2; Eq. 1 to 3 are CBAM's, the numbers of these could not be checked.

It stands in every residual block, before the addition. k = 7: 300 parameters each, three kernels of 2 x 49 weights
without bias, and batch norms of 2 (momentum 0.01, as in the authors' code). Of MobileNetV2 the authors publish both; the
printed row is k = 3 (errors of 27.38 and 9.23 %, 0.322 G; 3,505,892 parameters), so that is the default there. Counts
as printed: 11.69, 25.56, 44.56 M, MobileNetV2 3.51 M.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from das_explain.nn.gate import Gate
from das_explain.nn.kernel_size import choose_kernel_size


class _Branch(nn.Module):
    """One of the three, pooled over dimension 1: (N, C, H, W) -> (N, 1, H, W)."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat((x.amax(1, keepdim=True), x.mean(1, keepdim=True)), dim=1)
        return self.norm(self.conv(pooled)).sigmoid()


class TripletAttention(Gate):
    """The mean of three attentions, each between two of the three axes. (N, C, H, W) -> (N, C, H, W).

    Args:
        channels: C, of which the module is independent.
        kernel_size: k, odd.
    """

    def __init__(self, channels: int, kernel_size: int = 7) -> None:
        super().__init__()
        size = choose_kernel_size(channels, kernel_size)
        self.over_channels, self.over_rows, self.over_columns = _Branch(size), _Branch(size), _Branch(size)

    def attention(self, x: Tensor) -> Tensor:
        """What the sum multiplies X by: (N, C, H, W) in (0, 1)."""
        rows = self.over_rows(x.transpose(1, 2)).transpose(1, 2)
        columns = self.over_columns(x.transpose(1, 3)).transpose(1, 3)
        return (self.over_channels(x) + rows + columns) / 3
