"""torchvision's ResNets with attention in one of two places.

After the skip connection, as the DAS paper has it: a gate is one more child of its stage, ``layer3.gate`` after the
whole stage, ``layer3.gate0`` after its first block. Or inside a residual block, before the addition, as most others:
``layer3.0.gate``. Either way a torchvision checkpoint fits every other key unchanged, and the output of ``layer3`` is
the map with attention.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from das_explain.errors import UsageError
from das_explain.nn.carried import carry_on

STAGES = ("layer1", "layer2", "layer3", "layer4")
DEPTHS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}


class _Attended:
    """What both kinds of block have in common: ``gate`` on the residual, before the addition."""

    relu: nn.Module
    downsample: nn.Module | None

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.gate = nn.Identity()

    def attend(self, x: Tensor, residual: Tensor) -> Tensor:
        """(input of the block, residual) -> the residual with attention."""
        return self.gate(residual)

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """(input of the block, residual) -> output; what the residual carries after the gate, the output carries."""
        attended = self.attend(x, residual)
        return carry_on(attended, self.relu(attended + (x if self.downsample is None else self.downsample(x))))


class AttendedBasicBlock(_Attended, BasicBlock):
    """torchvision's block with ``gate`` on the residual, before the addition."""

    def forward(self, x: Tensor) -> Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        return self.add(x, self.bn2(self.conv2(residual)))


class AttendedBottleneck(_Attended, Bottleneck):
    """torchvision's block with ``gate`` on the residual, before the addition."""

    def forward(self, x: Tensor) -> Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        return self.add(x, self.bn3(self.conv3(residual)))


ATTENDED: dict[type[nn.Module], type[nn.Module]] = {BasicBlock: AttendedBasicBlock, Bottleneck: AttendedBottleneck}


class BranchedLogits(NamedTuple):
    """What ``BranchedResNet`` returns in training mode: its logits and the branch's, both (N, K).

    >>> import torch
    >>> from das_explain.nn import create_model
    >>> network = create_model("resnet18", attention="abn", num_classes=5).train()
    >>> logits, branch = network(torch.rand(2, 3, 64, 64))
    >>> logits.shape, branch.shape
    (torch.Size([2, 5]), torch.Size([2, 5]))
    """

    logits: Tensor
    branch: Tensor


class BranchedResNet(ResNet):
    """torchvision's network, whose third stage may give logits of its own beside its map (ABN)."""

    def forward(self, x: Tensor) -> Tensor | BranchedLogits:
        """(N, 3, H, W) -> logits (N, K); in training mode ``BranchedLogits``."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer3(self.layer2(self.layer1(x)))
        x, *branch = x if isinstance(x, tuple) else (x,)
        logits = self.fc(self.avgpool(self.layer4(x)).flatten(1))
        return BranchedLogits(logits, *branch) if branch else logits


def block_places(name: str) -> tuple[str, ...]:
    """``layer1.0`` .. of every residual block, in order."""
    return tuple(f"{stage}.{i}" for stage, depth in zip(STAGES, DEPTHS[name][1]) for i in range(depth))


def resnet(
    name: str,
    make_gate: Callable[[int], nn.Module] | None = None,
    inside: bool = False,
    *,
    num_classes: int = 1000,
    gates: Sequence[str] = STAGES,
    stem: str = "imagenet",
    last_stride: int = 2,
) -> nn.Module:
    """Builds a torchvision ResNet and inserts gates.

    Args:
        name: ``resnet18``, ``resnet34``, ``resnet50``, ``resnet101``, ``resnet152``.
        make_gate: channels -> module, called in forward order; ``None`` builds the plain network. Its attributes
            ``blocks`` (as ``ATTENDED``), ``network`` and ``stage``, if it has them, are types to build it of.
        inside: before the addition of a block instead of after it; ``gates`` are then blocks.
        gates: where; ``layer3`` is after the whole stage, ``layer3.0`` that stage's first residual block.
        stem: ``imagenet`` (7x7 stride 2, max pooling), ``small`` (3x3 stride 1, for 32x32 images), or ``padded`` (3x3
            stride 1, padding 3, and max pooling: 18x18 of 32x32, as DEFCON-1's authors have it).
        last_stride: of the last stage; 1 keeps its resolution.
    """
    block, depths = DEPTHS[name]
    attended = getattr(make_gate, "blocks", ATTENDED)
    kind = getattr(make_gate, "network", ResNet)
    network = kind(attended[block] if make_gate and inside else block, list(depths), num_classes=num_classes)
    if stem in ("small", "padded"):
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1 if stem == "small" else 3, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        if stem == "small":
            network.maxpool = nn.Identity()
    elif stem != "imagenet":
        raise UsageError(f"stem {stem!r} is unknown; choose imagenet, small or padded")
    if last_stride not in (1, 2):
        raise UsageError(f"last_stride must be 1 or 2, not {last_stride!r}")
    first = network.layer4[0]
    for conv in (first.conv2 if block is Bottleneck else first.conv1, first.downsample[0]):
        conv.stride = (last_stride, last_stride)
    if make_gate:
        known = block_places(name) if inside else tuple(sorted((*STAGES, *block_places(name))))
        if unknown := [place for place in gates if place not in known]:
            raise UsageError(f"{name} has no gate place {unknown[0]!r}; choose among {', '.join(known)}")
        for stage in STAGES:
            _insert(network, stage, gates, make_gate, inside)
    return network


def _insert(network: nn.Module, stage: str, gates: Sequence[str], make_gate: Callable, inside: bool) -> None:
    children: OrderedDict[str, nn.Module] = OrderedDict()
    for child, block in getattr(network, stage).named_children():
        children[child] = block
        channels = (block.conv3 if hasattr(block, "conv3") else block.conv2).out_channels
        if f"{stage}.{child}" in gates:
            if inside:
                block.gate = make_gate(channels)
            else:
                children[f"gate{child}"] = make_gate(channels)
    if stage in gates:
        children["gate"] = make_gate(channels)
    kind = getattr(make_gate, "stage", nn.Sequential) if stage in gates else nn.Sequential
    setattr(network, stage, kind(children))
