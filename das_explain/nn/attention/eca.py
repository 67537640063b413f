"""Efficient channel attention: Wang et al., "ECA-Net: Efficient Channel Attention for Deep CNNs", CVPR 2020.

    w = sigmoid(C1D_k(GlobalAveragePool(X)))     (9)    along the channels: one kernel of k weights, no bias
    k = |log2(C) / gamma + b / gamma|_odd        (12)   gamma = 2, b = 1
    X_out = w X

It stands in every residual block, before the addition. The paper counts 80 parameters on ResNet-50, and so does the
DEFCON-1 paper (23,705,332 - 23,705,252): k = 3, 5, 5, 7 for the four stages. Eq. 12 gives 5, 5, 5, 7 (86 parameters)
on their 256 to 2048 channels, so on bottleneck ResNets those sizes are given; elsewhere Eq. 12 decides.

``kernel_size="published"`` has the kernels of the checkpoints that the authors publish (``BangguWu/ECANet``): 3, 5, 7, 7
for ResNet-18, 3, 5, 5, 7 for ResNet-50, 3, 3, 5, 7 for ResNet-34, 101 and 152, and for MobileNetV2 1 up to 96 channels
and 3 beyond. ``rename_published`` gives their keys our names, as loading a weight file does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from das_explain.nn.gate import Gate
from das_explain.nn.kernel_size import choose_kernel_size

BOTTLENECK_KERNELS = {256: 3, 512: 5, 1024: 5, 2048: 7}
"""Channels -> k as published for ResNet-50."""

_DEEP_KERNELS = {256: 3, 512: 3, 1024: 5, 2048: 7}
PUBLISHED_KERNELS: dict[str, dict[int, int]] = {
    "resnet18": {64: 3, 128: 5, 256: 7, 512: 7},
    "resnet34": {64: 3, 128: 3, 256: 5, 512: 7},
    "resnet50": BOTTLENECK_KERNELS,
    "resnet101": _DEEP_KERNELS,
    "resnet152": _DEEP_KERNELS,
    "mobilenet_v2": {**dict.fromkeys((16, 24, 32, 64, 96), 1), 160: 3, 320: 3},
}
"""Backbone -> channels -> k of the published checkpoints, by the names of their files."""


class ECA(Gate):
    """Multiplies each channel by a weight that its k neighbouring channels decide. (N, C, H, W) -> (N, C, H, W).

    Args:
        channels: C.
        kernel_size: k, or C -> k; ``None``: by Eq. 12.
    """

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


_PUBLISHED_KEY = re.compile(r"^((?:layer\d|features)\.\d+)\.(?:eca|conv\.\d+)\.(conv\.weight)$")


def rename_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of the authors' networks with the keys of ours; those that need no other name keep theirs.

    Theirs is ``layer1.0.eca.conv.weight`` in ResNets; in MobileNetV2 the module ends the block's sequence,
    ``features.2.conv.4.conv.weight``.
    """
    return {_PUBLISHED_KEY.sub(r"\1.gate.\2", key): tensor for key, tensor in state.items()}
