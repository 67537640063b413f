"""Triplet attention: Misra et al., "Rotate to Attend: Convolutional Triplet Attention Module", WACV 2021.

    Z-pool(X) = [max(X); mean(X)] over the first of three axes
    branch(X) = X sigmoid(BN(conv_kxk(Z-pool(X))))
    X_out = (branch over C, of (H, W)) + (branch over H, of (C, W)) + (branch over W, of (H, C)), divided by 3

Its Sec. 3.2; Eq. 1 to 3 are CBAM's, the numbers of these could not be checked.

It stands in every residual block, before the addition. k = 7: 300 parameters each, three kernels of 2 x 49 weights
without bias, and batch norms of 2 (momentum 0.01, as in the authors' code). Of MobileNetV2 the authors publish both; the
printed row is k = 3 (errors of 27.38 and 9.23 %, 0.322 G; 3,505,892 parameters), so that is the default there. Counts
as printed: 11.69, 25.56, 44.56 M, MobileNetV2 3.51 M. ``rename_published`` gives the keys of their checkpoints
(``landskape-ai/triplet-attention``) our names, as loading a weight file does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

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


_PUBLISHED_KEY = re.compile(
    r"^((?:layer\d|features)\.\d+)\.(?:triplet_attention|conv\.\d+)\.(\w+)\.(?:spatial|conv)\.(conv|bn)\."
)
_BRANCHES = {
    "SpatialGate": "over_channels",
    "ChannelGateH": "over_rows",
    "ChannelGateW": "over_columns",
    "hw": "over_channels",
    "cw": "over_rows",
    "hc": "over_columns",
}
"""The authors' names, in the first version of their code and in the second, after the axes that remain -> ours."""


def rename_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of the authors' networks with the keys of ours; those that need no other name keep theirs.

    Theirs is ``layer1.0.triplet_attention.cw.conv.conv.weight`` in ResNets; in MobileNetV2 the module ends the block's
    sequence, ``features.2.conv.4.cw.conv.conv.weight``.
    """
    return {_renamed(key): tensor for key, tensor in state.items()}


def _renamed(key: str) -> str:
    match = _PUBLISHED_KEY.match(key)
    if not match or match[2] not in _BRANCHES:
        return key
    layer = "conv" if match[3] == "conv" else "norm"
    return f"{match[1]}.gate.{_BRANCHES[match[2]]}.{layer}.{key[match.end() :]}"
