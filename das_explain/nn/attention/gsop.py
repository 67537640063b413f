"""Global second-order pooling: Gao, Xie, Wang, Li, "Global Second-order Pooling Convolutional Networks", CVPR 2019.

    R = ReLU(BN(W ReLU(X)))                       1x1 convolution c -> d, d = 128
    S = covariance of the d channels over the positions, a d x d matrix
    row-wise convolution: BN over the rows, each row to 4 numbers with weights of its own
    w = sigmoid(1x1 convolution 4 d -> c)
    X_out = w X

This is its section on the GSoP block; whether it numbers equations could not be checked.

GSoP-Net1 has it in the last residual block of each stage, before the addition, and the last stage keeps the resolution
(``last_stride=1``). With these, ResNet-50 has 28.29 M parameters, as printed. As in the authors' code, the reduction of
the first stage (the maps of 256 channels) takes every second position; norms are affine, convolutions have biases.
"""

from __future__ import annotations

from torch import Tensor, nn

from das_explain.nn.gate import Gate


class GSoP(Gate):
    """Weights channels by their correlations. (N, C, H, W) -> (N, C, H, W).

    Args:
        channels: c.
        reduced: d, the order of the covariance matrix.
    """

    per_channel = True
    FINE = 256  # channels up to which every second position is enough

    def __init__(self, channels: int, reduced: int = 128) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.reduce = nn.Conv2d(channels, reduced, 1, stride=2 if channels <= self.FINE else 1)
        self.reduce_norm = nn.BatchNorm2d(reduced)
        self.row_norm = nn.BatchNorm2d(reduced)
        self.row = nn.Conv2d(reduced, 4 * reduced, (reduced, 1), groups=reduced)
        self.expand = nn.Conv2d(4 * reduced, channels, 1)

    def covariance(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, d, d), divided by the number of positions."""
        features = self.relu(self.reduce_norm(self.reduce(self.relu(x)))).flatten(2)
        centred = features - features.mean(2, keepdim=True)
        return centred @ centred.transpose(1, 2) / features.shape[2]

    def attention(self, x: Tensor) -> Tensor:
        """w: (N, C, 1, 1)."""
        rows = self.row_norm(self.covariance(x).unsqueeze(3))  # (N, d, d, 1): a row is a channel
        return self.expand(self.row(rows)).sigmoid()
