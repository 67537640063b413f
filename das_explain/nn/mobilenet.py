"""torchvision's MobileNetV2, with gates after the skip connection of chosen inverted residuals.

The DAS paper does not say where its gates stand. After the last block of the stages with 16, 24, 32, 96, 160 and 320
channels both its numbers come out (3.57 M parameters, 0.35 GMACs), so that is the default; ``gates`` changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual, MobileNetV2

from das_explain.errors import UsageError

PAPER_GATES = ("features.1", "features.3", "features.6", "features.13", "features.16", "features.17")


class GatedInvertedResidual(InvertedResidual):
    """An inverted residual whose output may pass a gate; without one it is torchvision's block, keys included."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.gate = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(super().forward(x))


def mobilenet_v2(
    make_gate: Callable[[int], nn.Module] | None = None,
    *,
    num_classes: int = 1000,
    gates: Sequence[str] = PAPER_GATES,
) -> nn.Module:
    """Builds MobileNetV2; ``gates`` names inverted residuals (``features.1`` .. ``features.17``)."""
    network = MobileNetV2(num_classes=num_classes, block=GatedInvertedResidual)
    blocks = {name: module for name, module in network.named_modules() if isinstance(module, GatedInvertedResidual)}
    for place in gates if make_gate else ():
        if place not in blocks:
            raise UsageError(f"mobilenet_v2 has no gate place {place!r}; choose among {', '.join(blocks)}")
        blocks[place].gate = make_gate(blocks[place].out_channels)
    return network
