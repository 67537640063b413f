"""Global and local attention: Linsley, Shiebler, Eberhardt, Serre, "Learning what and where to attend", ICLR 2019.

    g = W_expand ReLU(W_shrink GlobalAveragePool(U))          what: c -> c / r -> c
    s = V_collapse ReLU(V_shrink U)                           where: 1x1 c -> c / r, 1x1 -> one channel
    H = a (g + s) + m (g s)                                   a, m: one weight a channel each
    U_out = U tanh(H)

These are the equations of its section on the GALA module; their numbers could not be checked.

It stands in every residual block, before the addition. Left open: r and biases. With r = 16 and biases everywhere
ResNet-50 has 29.38 M parameters, 29.4 in one decimal; printed are 29.40, and no combination of biases and norms reaches
them. Not as in the authors' code (``serre-lab/gala_tpu``), which has r = 4, a 5x5 convolution more in V and a sigmoid
for the tanh, and stands in the first block of each stage: that is 38.45 M, and 72.14 M in every block, so it did not
make the printed row. a and m start at 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from das_explain.nn.gate import Gate


class GALA(Gate):
    """Multiplies by an attention in (-1, 1) of what and where. (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.pool, self.relu = nn.AdaptiveAvgPool2d(1), nn.ReLU()
        self.what_shrink = nn.Conv2d(channels, hidden, 1)
        self.what_expand = nn.Conv2d(hidden, channels, 1)
        self.where_shrink = nn.Conv2d(channels, hidden, 1)
        self.where_collapse = nn.Conv2d(hidden, 1, 1)
        self.additive = nn.Parameter(torch.ones(channels, 1, 1))
        self.multiplicative = nn.Parameter(torch.ones(channels, 1, 1))

    def attention(self, x: Tensor) -> Tensor:
        """tanh(H): (N, C, H, W) in (-1, 1)."""
        what = self.what_expand(self.relu(self.what_shrink(self.pool(x))))  # (N, C, 1, 1)
        where = self.where_collapse(self.relu(self.where_shrink(x)))  # (N, 1, H, W)
        return (self.additive * (what + where) + self.multiplicative * (what * where)).tanh()
