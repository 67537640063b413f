"""Convolutional block attention: Woo, Park, Lee, Kweon, "CBAM: Convolutional Block Attention Module", ECCV 2018.

    F' = M_c(F) F,  F'' = M_s(F') F'                                         (1)
    M_c(F) = sigmoid(MLP(AvgPool(F)) + MLP(MaxPool(F)))                      (2)   shared c -> c / r -> c, r = 16
    M_s(F) = sigmoid(f_7x7([AvgPool(F); MaxPool(F)]))                        (3)   pooled over the channels

It stands in every residual block, before the addition (their Fig. 3). Left open: the MLP has biases and the 7x7
convolution has none but a batch norm after it, of momentum 0.01, as in the authors' code; all printed counts agree
(11.78, 28.09, 49.33 M, MobileNetV2 3.54 M). Their checkpoints (``Jongchan/attention-module``) have linear layers for the
1x1 convolutions and pool the maximum first: ``rename_published`` makes ours of them, as loading a weight file does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from das_explain.nn.gate import Gate


class CBAM(Gate):
    """Weights channels, then positions. (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01)
        self.relu = nn.ReLU()

    def channel_attention(self, x: Tensor) -> Tensor:
        """Eq. 2: (N, C, 1, 1)."""
        pooled = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        average, maximum = (self.fc2(self.relu(self.fc1(squeezed))) for squeezed in pooled)
        return (average + maximum).sigmoid()

    def spatial_attention(self, x: Tensor) -> Tensor:
        """Eq. 3: (N, 1, H, W)."""
        pooled = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), dim=1)
        return self.norm(self.conv(pooled)).sigmoid()

    def attention(self, x: Tensor) -> Tensor:
        """M_s(F') M_c(F), what Eq. 1 multiplies F by: (N, C, H, W) in (0, 1)."""
        channel = self.channel_attention(x)
        return channel * self.spatial_attention(x * channel)


_PUBLISHED_KEY = re.compile(
    r"^(layer\d\.\d+)\.cbam\.(ChannelGate\.mlp\.1|ChannelGate\.mlp\.3|SpatialGate\.spatial\.(?:conv|bn))\."
)
_OURS = {
    "ChannelGate.mlp.1": "fc1",
    "ChannelGate.mlp.3": "fc2",
    "SpatialGate.spatial.conv": "conv",
    "SpatialGate.spatial.bn": "norm",
}


def rename_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of the authors' ResNets as one of ours; what needs no other name keeps its own.

    Theirs are ``layer1.0.cbam.ChannelGate.mlp.1.weight``, (c / r, c), and ``layer1.0.cbam.SpatialGate.spatial.conv.weight``,
    whose first plane is the maximum's.
    """
    ours = {}
    for key, tensor in state.items():
        if match := _PUBLISHED_KEY.match(key):
            layer = _OURS[match[2]]
            key = f"{match[1]}.gate.{layer}.{key[match.end() :]}"
            if layer == "conv":
                tensor = tensor.flip(1)
            elif tensor.dim() == 2:
                tensor = tensor[:, :, None, None]
        ours[key] = tensor
    return ours
