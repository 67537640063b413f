"""Double attention: Chen, Kalantidis, Li, Yan, Feng, "A2-Nets: Double Attention Networks", NeurIPS 2018.

    A = phi(X), B = softmax over positions of theta(X), V = softmax over channels of rho(X)      1x1 convolutions
    G = A B^T                                                            gather: n descriptors of m channels
    Z = G V                                                              distribute them to each position
    X_out = X + W Z                                                      1x1 convolution back to c, residual

These are the equations of its sections on feature gathering, feature distribution and the block; their numbers could
not be checked.

Five blocks stand between residual blocks of ResNet-50, where non-local blocks do: after every other one of conv3 and
conv4 (``layer2.1``, ``layer2.3``, ``layer3.1``, ``layer3.3``, ``layer3.5``). Left open: m and n. With m = n = c / 2
ResNet-50 has 32.91 M parameters; printed are 33.00 M: no agreement, and this is the nearest found (32.96 M, 33.0 in one
decimal, with the running statistics of the batch norms).
"""

from __future__ import annotations

from torch import Tensor, nn


class DoubleAttention(nn.Module):
    """Gathers descriptors of the whole map and distributes them to its positions. (N, C, H, W) -> (N, C, H, W).

    Args:
        channels: c.
        reduction: m = n = ``c // reduction``.
    """

    def __init__(self, channels: int, reduction: int = 2) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.phi = nn.Conv2d(channels, hidden, 1)
        self.theta = nn.Conv2d(channels, hidden, 1)
        self.rho = nn.Conv2d(channels, hidden, 1)
        self.expand = nn.Conv2d(hidden, channels, 1)

    def start_as_identity(self) -> None:
        """Adds nothing yet."""
        nn.init.zeros_(self.expand.weight)
        nn.init.zeros_(self.expand.bias)

    def forward(self, x: Tensor) -> Tensor:
        features = self.phi(x).flatten(2)  # (N, m, HW)
        gathering = self.theta(x).flatten(2).softmax(2)  # (N, n, HW), each row sums to 1
        distributing = self.rho(x).flatten(2).softmax(1)  # (N, n, HW), each column sums to 1
        descriptors = features @ gathering.transpose(1, 2)  # (N, m, n)
        return x + self.expand((descriptors @ distributing).unflatten(2, x.shape[2:]))
