"""Multi-scale channel attention: Bakr, El-Sallab, Rashwan, "EMCA: Efficient Multiscale Channel Attention Module", 2022.

    y = GlobalAveragePool(residual)
    z = ReLU(sum_s a_s y_s)                          y_s: the y of earlier blocks, repeated to c channels, and y itself
    w = sigmoid(W_2 ReLU(W_1 z))                     ``excitation="se"``: SE with r = 16, without bias
    X_out = (1 + w) residual

The paper was not at hand: formulas are those of its authors' code (``MSCA``), places and scales those of its tables and
of the figure on integration, as they were read for this project. What DAS Table 1 prints is its row "S=1, N_i-j":

    ``scales="previous"``   in the first block of each stage, with the y of all blocks of the one stage before
                            (of the stem for the first stage): 71.00, 90.00 and 77.33, 93.52 %
    ``scales="every"``      in the last block of each stage, with the y of the last block of every earlier stage and of
                            the stem: another row, 71.02, 90.12 and 76.85, 93.42 %

The printed 11.19 M (ResNet-18) and 25.04 M (ResNet-50) are fewer than the backbones' 11.69 and 25.56 M because they are
in units of 2^20, as in the authors' README (11.148 and 11.231 M of ResNet-18 with ECA and SE in each block). In those
units they leave room for one SE in one block of each stage and for little else; its FLOPs in units of 2^30 are 1.70 and
3.84, of which 3.83 is printed. Counts do not tell the two rows apart.

``excitation="eca"`` is what the authors' code is set to, in every block (``gates=block_places(name)``) and with
``scales="every"``:
    local = sigmoid(C1D_k(y))                        ECA, k by its Eq. 12
    w = sigmoid(b_1 local + b_2 sigmoid(C1D_k(z)))   where a stage has several modules, its first has w = local

The y of a block travels on its output (``carried.py``); no module keeps one. An operation put between two blocks loses
them, which is an error; a hook that returns a copy keeps them with ``carry_on``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from das_explain.errors import DasExplainError, UsageError
from das_explain.nn.backbones.resnet import DEPTHS, STAGES, AttendedBasicBlock, AttendedBottleneck
from das_explain.nn.carried import carry_scales, scales_of
from das_explain.nn.gate import Gate
from das_explain.nn.kernel_size import choose_kernel_size

REDUCTION = 16


class EMCA(Gate):
    """Multiplies each channel by a weight in (1, 2) made at this scale and at earlier ones.

    (N, C, H, W), which carries the scales of earlier blocks -> (N, C, H, W).

    Args:
        channels: c.
        count: how many earlier y it takes.
        excitation: ``se`` or ``eca``.
        scales: which they are, ``previous`` or ``every``.
    """

    residual, per_channel = True, True

    def __init__(
        self,
        channels: int,
        count: int = 0,
        excitation: Literal["se", "eca"] = "se",
        scales: Literal["previous", "every"] = "previous",
    ) -> None:
        super().__init__()
        self.count, self.scales = count, scales
        self.local = _eca(channels) if excitation == "eca" else None
        if count or excitation == "se":
            self.fuse_scales = nn.Conv1d(count + 1, 1, 1, bias=False)
            self.wide = _eca(channels) if excitation == "eca" else _se(channels)
        if count and excitation == "eca":
            self.fuse = nn.Conv1d(2, 1, 1, bias=False)

    def earlier(self, x: Tensor) -> tuple[Tensor, ...]:
        """The y of earlier blocks, each (N, C of its stage), in forward order.

        Raises:
            DasExplainError: the map does not carry them.
        """
        if not self.count:
            return ()
        carried = scales_of(x)
        if carried is None:
            raise DasExplainError(LOST)
        before = carried.stages[:-1]
        return before[-1] if self.scales == "previous" else tuple(stage[-1] for stage in before)

    def fused(self, y: Tensor, earlier: Sequence[Tensor]) -> Tensor:
        """z: (N, C) and the earlier y -> (N, 1, C)."""
        others = [scale.repeat(1, y.shape[1] // scale.shape[1]) for scale in earlier]
        return self.fuse_scales(torch.stack((*others, y), dim=1)).relu()

    def weights(self, y: Tensor, earlier: Sequence[Tensor]) -> Tensor:
        """w: (N, C) and the earlier y -> (N, C)."""
        if self.local is None:
            return self.wide(self.fused(y, earlier)[:, 0, :, None, None]).sigmoid()[:, :, 0, 0]
        local = self.local(y[:, None]).sigmoid()  # (N, 1, C)
        if earlier:
            wide = self.wide(self.fused(y, earlier)).sigmoid()
            local = self.fuse(torch.cat((local, wide), dim=1)).sigmoid()
        return local[:, 0]

    def attention(self, x: Tensor) -> Tensor:
        """w: (N, C, H, W) -> (N, C, 1, 1) in (0, 1)."""
        return self.weights(x.mean((2, 3)), self.earlier(x))[:, :, None, None]


LOST = (
    "a map came to EMCA without the scales of earlier blocks: something between two blocks made another tensor of it; "
    "a hook that returns a copy has to carry them on (das_explain.nn.carried.carry_on)"
)


def _eca(channels: int) -> nn.Conv1d:
    size = choose_kernel_size(channels)
    return nn.Conv1d(1, 1, size, padding=size // 2, bias=False)


def _se(channels: int) -> nn.Sequential:
    hidden = max(1, channels // REDUCTION)
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
    )


class _Scaled:
    """A residual block that says its y of its output, and those of all blocks before it of its residual.

    ``place``: (number of its stage from 1, its number in the stage from 0).
    """

    gate: nn.Module
    place = (1, 0)

    def attend(self, x: Tensor, residual: Tensor) -> Tensor:
        """(input of the block, residual) -> the residual with attention, which carries the y of all blocks so far.

        Raises:
            DasExplainError: the input does not carry the y of the blocks before, or autograd did not record them though
                it records the map.
        """
        stage, number = self.place
        carried = scales_of(x)
        if carried and not carried.recorded and x.requires_grad and torch.is_grad_enabled():
            raise DasExplainError(
                "EMCA's scales were made without gradients, as by a reentrant checkpoint; use use_reentrant=False"
            )
        stages = carried.stages if carried else ((x.mean((2, 3)),),)  # the first block's input is the stem's output
        if number == 0:
            stages = (*stages, ())
        if len(stages) != stage + 1 or len(stages[-1]) != number:
            raise DasExplainError(LOST)
        y = residual.mean((2, 3))
        attended = self.gate(carry_scales(residual, stages))
        return carry_scales(attended, (*stages[:-1], (*stages[-1], y)))


class ScaledBasicBlock(_Scaled, AttendedBasicBlock):
    """torchvision's block in a network with EMCA."""


class ScaledBottleneck(_Scaled, AttendedBottleneck):
    """torchvision's block in a network with EMCA."""


class Chain:
    """Builds a network's EMCA modules in forward order: ``chain(channels)``.

    Args:
        backbone: a ResNet.
        num_classes: of no importance here.
        gates: the residual blocks that get a module, ``layer1.0`` ..
        excitation: ``se`` or ``eca``.
        scales: ``previous`` or ``every``.

    Raises:
        UsageError: another excitation, other scales.
    """

    blocks: ClassVar = {BasicBlock: ScaledBasicBlock, Bottleneck: ScaledBottleneck}

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        gates: Sequence[str],
        excitation: Literal["se", "eca"] = "se",
        scales: Literal["previous", "every"] = "previous",
    ) -> None:
        if excitation not in ("se", "eca"):
            raise UsageError(f"excitation must be se or eca, not {excitation!r}")
        if scales not in ("previous", "every"):
            raise UsageError(f"scales must be previous or every, not {scales!r}")
        block, self.depths = DEPTHS[backbone]
        self.width = 64 * block.expansion  # channels of the first stage; each later one has twice as many
        self.modules = Counter(place.partition(".")[0] for place in gates)
        self.excitation, self.scales, self.channels = excitation, scales, 0

    def __call__(self, channels: int) -> EMCA:
        stage = (channels // self.width).bit_length()  # from 1
        first, self.channels = channels != self.channels, channels
        count = stage if self.scales == "every" else (1, *self.depths)[stage - 1]
        if self.excitation == "eca" and first and self.modules[STAGES[stage - 1]] > 1:
            count = 0
        return EMCA(channels, count, self.excitation, self.scales)

    def finish(self, network: nn.Module) -> None:
        """Tells each residual block its place; no key of the state dict changes."""
        for stage, name in enumerate(STAGES, 1):
            for number, block in enumerate(network.get_submodule(name)):
                block.place = (stage, number)
