"""Global context: Cao, Xu, Lin, Wei, Hu, "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond", 2019.

    context = sum_j softmax_j(W_k x_j) x_j                                          attention pooling over the positions
    z_i = x_i + W_v2 ReLU(LayerNorm(W_v1 context))                                  c -> c / r -> c, r = 16

This is the formula of its section on the global context block; the number could not be checked.

It stands in residual blocks, before the addition, and adds where others multiply. Convolutions have biases, LayerNorm
is affine over the c / r channels. In all 16 blocks of ResNet-50 that is 28.105 M (printed: 28.10; cut, not rounded);
in the 13 blocks of the last three stages, as in the detection experiments, 28.079 M. The last layer starts at random
here, where detection code starts it at zero (a start that changes nothing, and passes no gradient to the layers
before): ``start_as_identity``.
"""

from __future__ import annotations

from torch import Tensor, nn


class GlobalContext(nn.Module):
    """Adds one vector to every position. (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.key = nn.Conv2d(channels, 1, 1)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.norm = nn.LayerNorm((hidden, 1, 1))
        self.relu = nn.ReLU()
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def start_as_identity(self) -> None:
        """Adds nothing yet."""
        nn.init.zeros_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)

    def context(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1): the positions' mean, weighted by their attention."""
        weights = self.key(x).flatten(2).softmax(2)  # (N, 1, HW)
        return (x.flatten(2) @ weights.transpose(1, 2)).unsqueeze(3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(self.relu(self.norm(self.fc1(self.context(x)))))
