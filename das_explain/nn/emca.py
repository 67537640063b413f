"""Multi-scale channel attention: Bakr, El-Sallab, Rashwan, "EMCA: Efficient Multiscale Channel Attention Module", 2022.

The paper's ECA form, as its authors' code has it (``MSCA``), in the residual blocks, before the addition:
    y = GlobalAveragePool(residual)
    local = sigmoid(C1D_k(y))                                       ECA, k by its Eq. 12
    global = sigmoid(C1D_k(ReLU(sum_s a_s y_s)))                    y_s: y, and the y of the last block of every earlier
                                                                    stage and of the stem, repeated to c channels
    w = sigmoid(b_1 local + b_2 global)                             in the first block of a stage: w = local
    X_out = (1 + w) residual

No reading gives the printed counts: 11.19 M (ResNet-18) and 25.04 M (ResNet-50) are fewer than the backbones' own
11.69 M and 25.56 M, and this module adds less than 300 parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from das_explain.nn.eca import choose_kernel_size


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


class EMCA(Scale):
    """Multiplies each channel by a weight in (1, 2) made at this scale and at earlier ones.

    Args:
        channels: c.
        earlier: the modules that remember the earlier scales; none in the first block of a stage.
    """

    def __init__(self, channels: int, earlier: Sequence[Scale] = ()) -> None:
        super().__init__()
        size = choose_kernel_size(channels)
        self.local = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
        self.earlier = tuple(earlier)  # a tuple: they are not children of this module
        self.remember, self.last = False, False
        if self.earlier:
            self.fuse_scales = nn.Conv1d(len(self.earlier) + 1, 1, 1, bias=False)
            self.wide = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
            self.fuse = nn.Conv1d(2, 1, 1, bias=False)

    def attention(self, squeezed: Tensor) -> Tensor:
        """w: (N, C) -> (N, C)."""
        local = self.local(squeezed[:, None]).sigmoid()  # (N, 1, C)
        if self.earlier:
            others = [s.squeezed.repeat(1, squeezed.shape[1] // s.squeezed.shape[1]) for s in self.earlier]
            scales = self.fuse_scales(torch.stack((*others, squeezed), dim=1)).relu()  # (N, 1, C)
            local = self.fuse(torch.cat((local, self.wide(scales).sigmoid()), dim=1)).sigmoid()
        return local[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        squeezed = x.mean((2, 3))
        out = x + x * self.attention(squeezed)[:, :, None, None]
        self.squeezed = squeezed if self.remember else None
        if self.last:
            for scale in self.earlier:
                scale.squeezed = None
        return out


class Chain:
    """Builds a network's EMCA modules in forward order, each knowing the earlier scales: ``chain(channels)``."""

    def __init__(self) -> None:
        self.scales: list[Scale] = [Scale()]
        self.previous: EMCA | None = None
        self.channels = 0

    def __call__(self, channels: int) -> EMCA:
        first = channels != self.channels
        if first and self.previous is not None:
            self.previous.remember = True
            self.scales.append(self.previous)
        self.channels, self.previous = channels, EMCA(channels, () if first else self.scales)
        return self.previous

    def finish(self, network: nn.Module) -> None:
        """Lets the stem remember its scale, and the last module forget them all; no key of the state dict changes."""
        network.maxpool = nn.Sequential(network.maxpool, self.scales[0])
        if self.previous is not None:
            self.previous.last = True
