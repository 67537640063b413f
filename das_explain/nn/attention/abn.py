"""Attention branch network: Fukui, Hirakawa, Yamashita, Fujiyoshi, "Attention Branch Network", CVPR 2019.

    the branch: stage 4 once more, with stride 1; BN; 1x1 conv to K channels (classes); BN; ReLU
    M = sigmoid(BN(3x3 conv K -> 1))                                   the attention map
    logits of the branch = GlobalAveragePool(1x1 conv K -> K)          for a loss of its own
    X_out = (1 + M) X                                                  the perception branch goes on with this
    loss = cross entropy of both logits

These are its sections on the attention branch, the perception branch and training; the equations' numbers could not be
checked.

It stands between stages 3 and 4. In training mode the network returns both logits (N, K), its own and the branch's, as
``BranchedLogits``; in eval mode its own. No convolution has a bias, as in the authors' code: ResNet-50 then has 43.585
M parameters (printed: 43.59); with a bias in the three of the branch it would be 43.587. The pooling covers the map
whatever its size, where the authors' covers 14x14.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from das_explain.errors import UsageError
from das_explain.nn.backbones.resnet import BranchedResNet, resnet
from das_explain.nn.gate import Gate


class ABN(Gate):
    """(N, C, H, W) -> (N, C, H, W), weighted by a map in (1, 2) that a classifier of its own made.

    Args:
        stage: the residual blocks of the branch, (N, C, H, W) -> (N, channels, H, W).
        channels: what ``stage`` ends with.
        num_classes: K.
    """

    residual = True

    def __init__(self, stage: nn.Module, channels: int, num_classes: int) -> None:
        super().__init__()
        self.stage = stage
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, num_classes, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(num_classes)
        self.conv2 = nn.Conv2d(num_classes, num_classes, 1, bias=False)
        self.conv3 = nn.Conv2d(num_classes, 1, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(1)
        self.relu, self.pool = nn.ReLU(), nn.AdaptiveAvgPool2d(1)

    def branch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The attention map (N, 1, H, W) in (0, 1) and the branch's logits (N, K)."""
        evidence = self.relu(self.norm2(self.conv1(self.norm1(self.stage(x)))))  # (N, K, H, W)
        attention = self.norm3(self.conv3(evidence)).sigmoid()
        return attention, self.pool(self.conv2(evidence)).flatten(1)

    def attention(self, x: Tensor) -> Tensor:
        """M: (N, 1, H, W) in (0, 1)."""
        return self.branch(x)[0]


class BranchedStage(nn.Sequential):
    """The stage that the branch ends: map -> map with attention; in training mode also the branch's logits."""

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        *blocks, gate = self
        for block in blocks:
            x = block(x)
        if not (self.training and isinstance(gate, ABN)):  # something else may stand in the gate's place
            return gate(x)
        attention, logits = gate.branch(x)
        return gate.weigh(x, attention), logits


class Branch:
    """Channels -> the branch of a ResNet: its last stage once more, at full resolution. ``gates``: the third stage."""

    network, stage = BranchedResNet, BranchedStage

    def __init__(self, backbone: str, num_classes: int, gates: Sequence[str] = ("layer3",)) -> None:
        self.backbone, self.num_classes = backbone, num_classes
        if tuple(gates) not in ((), ("layer3",)):
            raise UsageError("the branch takes what the third stage gives; gates must be ('layer3',)")

    def __call__(self, channels: int) -> ABN:
        twin = resnet(self.backbone, num_classes=1, last_stride=1)
        return ABN(twin.layer4, twin.fc.in_features, self.num_classes)
