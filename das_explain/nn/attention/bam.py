"""Bottleneck attention: Park, Woo, Lee, Kweon, "BAM: Bottleneck Attention Module", BMVC 2018 (arXiv 1807.06514).

    F' = F + F M(F),  M(F) = sigmoid(M_c(F) + M_s(F))                        (1), (2)
    M_c(F) = BN(W_1 ReLU(W_0 AvgPool(F) + b_0) + b_1)                        (3)   c -> c / r -> c
    M_s(F) = BN(f_3(f_2(f_1(f_0(F)))))                                       (4)   1x1 c -> c / r, twice 3x3 with
                                                                                   dilation d, 1x1 -> one channel
    r = 16, d = 4

It stands at the bottlenecks of the network, between the stages: after the first, second and third. Eq. 3 and 4 put one
batch norm at the end of each branch, which is done here; the authors' code has one after each hidden layer instead.
Both agree with all printed counts (11.71, 25.92, 44.91 M). The paper names no activation between f_0 .. f_2; ReLU here.
The authors' code also multiplies the two branches, sigmoid(M_c M_s), where Eq. 2 adds them; here Eq. 2 is followed.
"""

from __future__ import annotations

from torch import Tensor, nn

from das_explain.nn.gate import Gate


class BAM(Gate):
    """Adds to a map itself, weighted by channel and position. (N, C, H, W) -> (N, C, H, W)."""

    residual = True

    def __init__(self, channels: int, reduction: int = 16, dilation: int = 4) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
            nn.BatchNorm2d(channels),
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv2d(hidden, 1, 1),
            nn.BatchNorm2d(1),
        )

    def attention(self, x: Tensor) -> Tensor:
        """M of Eq. 2: (N, C, H, W) in (0, 1)."""
        return (self.channel(x) + self.spatial(x)).sigmoid()
