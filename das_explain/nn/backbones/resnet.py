"""torchvision's ResNets with attention in one of two places.

After the skip connection, as the DAS paper has it: a gate is one more child of its stage, ``layer3.gate`` after the
whole stage, ``layer3.gate0`` after its first block. Or inside a residual block, before the addition, as most others:
``layer3.0.gate``. Either way a torchvision checkpoint fits every other key unchanged, and the output of ``layer3`` is
the map with attention.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from das_explain.errors import UsageError

STAGES = ("layer1", "layer2", "layer3", "layer4")
DEPTHS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}


class AttendedBasicBlock(BasicBlock):
    """torchvision's block with ``gate`` on the residual, before the addition."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.gate = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.gate(self.bn2(self.conv2(residual)))
        return self.relu(residual + (x if self.downsample is None else self.downsample(x)))


class AttendedBottleneck(Bottleneck):
    """torchvision's block with ``gate`` on the residual, before the addition."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.gate = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.gate(self.bn3(self.conv3(residual)))
        return self.relu(residual + (x if self.downsample is None else self.downsample(x)))


ATTENDED = {BasicBlock: AttendedBasicBlock, Bottleneck: AttendedBottleneck}


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
        make_gate: channels -> module, called in forward order; ``None`` builds the plain network.
        inside: before the addition of a block instead of after it; ``gates`` are then blocks.
        gates: where; ``layer3`` is after the whole stage, ``layer3.0`` that stage's first residual block.
        stem: ``imagenet`` (7x7 stride 2, max pooling) or ``small`` (3x3 stride 1, for 32x32 images).
        last_stride: of the last stage; 1 keeps its resolution.
    """
    block, depths = DEPTHS[name]
    network = ResNet(ATTENDED[block] if make_gate and inside else block, list(depths), num_classes=num_classes)
    if stem == "small":
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()
    elif stem != "imagenet":
        raise UsageError(f"stem {stem!r} is unknown; choose imagenet or small")
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
    setattr(network, stage, nn.Sequential(children))
