"""Multi-scale channel attention: Bakr, El-Sallab, Rashwan, "EMCA: Efficient Multiscale Channel Attention Module", 2022.

    y = GlobalAveragePool(residual)
    z = ReLU(sum_s a_s y_s)                          y_s: y, and the y of the last module of every earlier stage and of
                                                     the stem, repeated to c channels
    w = sigmoid(W_2 ReLU(W_1 z))                     ``excitation="se"``: SE with r = 16, without bias
    X_out = (1 + w) residual

It stands in the last residual block of each stage, before the addition. Neither the paper nor its equation numbers were
at hand: formulas and wiring are those of its authors' code (``MSCA``), form and places those of the counts. The printed
11.19 M (ResNet-18) and 25.04 M (ResNet-50) are fewer than the backbones' 11.69 and 25.56 M because they are in units of
2^20, as in the authors' README (11.148 and 11.231 M of ResNet-18 with ECA and SE in each block). In those units they
leave room for one SE in one block of each stage and for little else, and its FLOPs in units of 2^30 are 1.70 and 3.83.
Which block of the stage the counts leave open.

``excitation="eca"`` is what the authors' code is set to, in every block (``gates=block_places(name)``):
    local = sigmoid(C1D_k(y))                        ECA, k by its Eq. 12
    w = sigmoid(b_1 local + b_2 sigmoid(C1D_k(z)))   in the first block of a stage: w = local
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from das_explain.nn.attention.eca import choose_kernel_size
from das_explain.nn.attention.se import SE
from das_explain.nn.gate import Gate


class Scale(nn.Module):
    """Passes a map through and remembers its pooled channels (N, C) until the pass is over."""

    def __init__(self) -> None:
        super().__init__()
        self.squeezed: Tensor | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "squeezed": None}  # it hangs on a graph; copies start without

    def forward(self, x: Tensor) -> Tensor:
        self.squeezed = x.mean((2, 3))
        return x


class EMCA(Gate, Scale):
    """Multiplies each channel by a weight in (1, 2) made at this scale and at earlier ones.

    Args:
        channels: c.
        earlier: the modules that remember the earlier scales.
        excitation: ``se`` or ``eca``.
    """

    residual, per_channel = True, True

    def __init__(self, channels: int, earlier: Sequence[Scale] = (), excitation: Literal["se", "eca"] = "se") -> None:
        super().__init__()
        if excitation not in ("se", "eca"):
            raise ValueError(f"excitation must be se or eca, not {excitation!r}")
        self.earlier = tuple(earlier)  # a tuple: they are not children of this module
        self.remember, self.last, self.local = False, False, None
        if excitation == "eca":
            self.local = _eca(channels)
        if self.earlier or excitation == "se":
            self.fuse_scales = nn.Conv1d(len(self.earlier) + 1, 1, 1, bias=False)
            self.wide = _eca(channels) if excitation == "eca" else SE(channels)
        if self.earlier and excitation == "eca":
            self.fuse = nn.Conv1d(2, 1, 1, bias=False)

    def weights(self, squeezed: Tensor) -> Tensor:
        """w: (N, C) -> (N, C)."""
        if self.local is None:
            return self.wide.attention(self.scales(squeezed)[:, 0, :, None, None])[:, :, 0, 0]
        local = self.local(squeezed[:, None]).sigmoid()  # (N, 1, C)
        if self.earlier:
            wide = self.wide(self.scales(squeezed)).sigmoid()
            local = self.fuse(torch.cat((local, wide), dim=1)).sigmoid()
        return local[:, 0]

    def scales(self, squeezed: Tensor) -> Tensor:
        """z: (N, C) -> (N, 1, C)."""
        others = [s.squeezed.repeat(1, squeezed.shape[1] // s.squeezed.shape[1]) for s in self.earlier]
        return self.fuse_scales(torch.stack((*others, squeezed), dim=1)).relu()

    def attention(self, x: Tensor) -> Tensor:
        """w: (N, C, H, W) -> (N, C, 1, 1); remembers this scale, or forgets them all after the last."""
        squeezed = x.mean((2, 3))
        weights = self.weights(squeezed)
        self.squeezed = squeezed if self.remember else None
        if self.last:
            for scale in self.earlier:
                scale.squeezed = None
        return weights[:, :, None, None]


def _eca(channels: int) -> nn.Conv1d:
    size = choose_kernel_size(channels)
    return nn.Conv1d(1, 1, size, padding=size // 2, bias=False)


class Chain:
    """Builds a network's EMCA modules in forward order, each knowing the earlier scales: ``chain(channels)``."""

    def __init__(self, excitation: Literal["se", "eca"] = "se") -> None:
        self.excitation = excitation
        self.scales: list[Scale] = [Scale()]
        self.previous: EMCA | None = None
        self.channels = 0

    def __call__(self, channels: int) -> EMCA:
        first = channels != self.channels
        if first and self.previous is not None:
            self.previous.remember = True
            self.scales.append(self.previous)
        alone = first and self.excitation == "eca"
        self.channels, self.previous = channels, EMCA(channels, () if alone else self.scales, self.excitation)
        return self.previous

    def finish(self, network: nn.Module) -> None:
        """Lets the stem remember its scale, and the last module forget them all; no key of the state dict changes."""
        network.maxpool = nn.Sequential(network.maxpool, self.scales[0])
        if self.previous is not None:
            self.previous.last = True
