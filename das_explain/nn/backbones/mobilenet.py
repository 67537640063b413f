"""torchvision's MobileNetV2, with attention in inverted residuals: after the skip connection, or before the addition.

The DAS paper does not say where its gates stand. After the last block of the stages with 16, 24, 32, 96, 160 and 320
channels both its numbers come out (3.57 M parameters, 0.35 GMACs), so that is the default; ``gates`` changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual, MobileNetV2

from das_explain.errors import UsageError

PAPER_GATES = ("features.1", "features.3", "features.6", "features.13", "features.16", "features.17")
BLOCK_PLACES = tuple(f"features.{i}" for i in range(1, 18))
"""Every inverted residual."""


class GatedInvertedResidual(InvertedResidual):
    """An inverted residual that may have a gate; without one it is torchvision's block, keys included."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.gate = nn.Identity()
        self.inside = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.inside:
            return self.gate(super().forward(x))
        residual = self.gate(self.conv(x))
        return x + residual if self.use_res_connect else residual


def mobilenet_v2(
    make_gate: Callable[[int], nn.Module] | None = None,
    inside: bool = False,
    *,
    num_classes: int = 1000,
    gates: Sequence[str] = PAPER_GATES,
) -> nn.Module:
    """Builds MobileNetV2; ``gates`` names inverted residuals (``features.1`` .. ``features.17``).

    ``inside`` puts the gates before the addition of a block instead of after it.
    """
    network = MobileNetV2(num_classes=num_classes, block=GatedInvertedResidual)
    blocks = {name: module for name, module in network.named_modules() if isinstance(module, GatedInvertedResidual)}
    for place in gates if make_gate else ():
        if place not in blocks:
            raise UsageError(f"mobilenet_v2 has no gate place {place!r}; choose among {', '.join(blocks)}")
        blocks[place].gate = make_gate(blocks[place].out_channels)
        blocks[place].inside = inside
    return network
