"""Squeeze-and-Excitation: Hu, Shen, Sun, "Squeeze-and-Excitation Networks", CVPR 2018.

    z = GlobalAveragePool(X)                     (2)
    s = sigmoid(W_2 ReLU(W_1 z))                 (3)   W_1: c -> c / r, W_2: c / r -> c, r = 16
    X_out = s X                                  (4)

It stands in every residual block, before the addition (their Fig. 3). Eq. 3 has no bias: only so do 28.07 M (ResNet-50)
and 49.29 M (ResNet-101) come out, and exactly 26,220,196 in the DEFCON-1 paper. The papers do not say where the module
stands in MobileNetV2; on the output of each inverted residual, before the addition, it gives the printed 3.53 M.
"""

from __future__ import annotations

from torch import Tensor, nn

from das_explain.nn.gate import Gate


class SE(Gate):
    """Multiplies each channel by one weight in (0, 1). (N, C, H, W) -> (N, C, H, W).

    Args:
        channels: c.
        reduction: r; the hidden layer has ``c // r`` channels, at least one.
    """

    per_channel = True

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=False)
        self.pool, self.relu = nn.AdaptiveAvgPool2d(1), nn.ReLU()

    def attention(self, x: Tensor) -> Tensor:
        """s of Eq. 3: (N, C, H, W) -> (N, C, 1, 1)."""
        return self.fc2(self.relu(self.fc1(self.pool(x)))).sigmoid()
