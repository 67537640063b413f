"""torchvision's ResNets, with gates where the DAS paper puts them: after the skip connection of each main block.

A gate is one more child of its stage, so a torchvision checkpoint fits every other key unchanged:
``layer3.0.conv1.weight`` stays, ``layer3.gate.*`` is new, and the output of ``layer3`` is the gated map.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torchvision
from torch import nn

from das_explain.errors import UsageError

STAGES = ("layer1", "layer2", "layer3", "layer4")


def resnet(
    name: str,
    make_gate: Callable[[int], nn.Module] | None = None,
    *,
    num_classes: int = 1000,
    gates: Sequence[str] = STAGES,
    stem: str = "imagenet",
) -> nn.Module:
    """Builds a torchvision ResNet and inserts gates.

    Args:
        name: ``resnet18``, ``resnet34``, ``resnet50``, ``resnet101``, ``resnet152``.
        make_gate: channels -> module; ``None`` builds the plain network.
        gates: where; ``layer3`` is after the whole stage, ``layer3.0`` after that stage's first residual block.
        stem: ``imagenet`` (7x7 stride 2, max pooling) or ``small`` (3x3 stride 1, for 32x32 images).
    """
    network = getattr(torchvision.models, name)(weights=None, num_classes=num_classes)
    if stem == "small":
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()
    elif stem != "imagenet":
        raise UsageError(f"stem {stem!r} is unknown; choose imagenet or small")
    for stage in STAGES if make_gate else ():
        setattr(network, stage, _gated(getattr(network, stage), stage, gates, make_gate))
    if make_gate:
        known = {place for stage in STAGES for place in (stage, *_block_places(getattr(network, stage), stage))}
        if unknown := [place for place in gates if place not in known]:
            raise UsageError(f"{name} has no gate place {unknown[0]!r}; choose among {', '.join(sorted(known))}")
    return network


def _block_places(sequence: nn.Sequential, stage: str) -> list[str]:
    return [f"{stage}.{child}" for child in dict(sequence.named_children()) if child.isdigit()]


def _gated(sequence: nn.Sequential, stage: str, gates: Sequence[str], make_gate: Callable) -> nn.Sequential:
    last = list(sequence)[-1]
    channels = (last.conv3 if hasattr(last, "conv3") else last.conv2).out_channels
    children: OrderedDict[str, nn.Module] = OrderedDict()
    for child, block in sequence.named_children():
        children[child] = block
        if f"{stage}.{child}" in gates:
            children[f"gate{child}"] = make_gate(channels)
    if stage in gates:
        children["gate"] = make_gate(channels)
    return nn.Sequential(children)
