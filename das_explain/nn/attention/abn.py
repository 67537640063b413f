"""Attention branch network: Fukui, Hirakawa, Yamashita, Fujiyoshi, "Attention Branch Network", CVPR 2019.

    the branch: stage 4 once more, with stride 1; BN; 1x1 conv to K channels (classes); BN; ReLU
    M = sigmoid(BN(3x3 conv K -> 1))                                   the attention map
    logits of the branch = GlobalAveragePool(1x1 conv K -> K)          for a loss of its own
    X_out = (1 + M) X                                                  the perception branch goes on with this
    loss = cross entropy of both logits                                (``auxiliary_logits``)

These are its sections on the attention branch, the perception branch and training; the equations' numbers could not be
checked.

It stands between stages 3 and 4. After a forward pass in training mode the branch's logits are in ``logits`` (N, K)
for the second half of the loss; in eval mode they are ``None``. No convolution has a bias, as in the authors' code:
ResNet-50 then has 43.585 M parameters (printed: 43.59); with a bias in the three of the branch it would be 43.587. The
pooling covers the map whatever its size, where the authors' covers 14x14.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from das_explain.nn.backbones.resnet import resnet
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
        self.logits: Tensor | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "logits": None}  # they hang on a graph; copies start without

    def branch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The attention map (N, 1, H, W) in (0, 1) and the branch's logits (N, K)."""
        evidence = self.relu(self.norm2(self.conv1(self.norm1(self.stage(x)))))  # (N, K, H, W)
        attention = self.norm3(self.conv3(evidence)).sigmoid()
        return attention, self.pool(self.conv2(evidence)).flatten(1)

    def attention(self, x: Tensor) -> Tensor:
        """M: (N, 1, H, W) in (0, 1)."""
        attention, logits = self.branch(x)
        self.logits = logits if self.training else None
        return attention


def branch_of(backbone: str, num_classes: int) -> Callable[[int], ABN]:
    """Channels -> the branch of a ResNet: its last stage once more, at full resolution."""

    def make(channels: int) -> ABN:
        twin = resnet(backbone, num_classes=1, last_stride=1)
        if channels != twin.fc.in_features // 2:
            raise ValueError("the branch takes what the third stage gives; gates must be ('layer3',)")
        return ABN(twin.layer4, twin.fc.in_features, num_classes)

    return make


def auxiliary_logits(network: nn.Module) -> list[Tensor]:
    """The logits (N, K) that each attention branch in ``network`` gave in the last forward pass, for a second loss.

    Empty for networks without such a branch, and after a pass in eval mode.

    Examples:
        >>> import torch
        >>> from das_explain.nn import create_model
        >>> network = create_model("resnet18", attention="abn", num_classes=5).train()
        >>> logits = network(torch.rand(2, 3, 64, 64))
        >>> [each.shape for each in auxiliary_logits(network)]
        [torch.Size([2, 5])]
    """
    branches = (module.logits for module in network.modules() if isinstance(module, ABN))
    return [logits for logits in branches if logits is not None]
