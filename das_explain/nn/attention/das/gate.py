"""The DAS gate: Salajegheh et al., "DAS: A Deformable Attention to Capture Salient Information in CNNs", Sec. 3.

    X_c = GELU(InstanceNorm(X W_1))             (1)   W_1: depthwise 3x3, then pointwise c -> alpha c
    deform(p) = sum_k w_k w_p X_c(p_k + dp_k)   (2)   dp and w_p are themselves convolutions of X_c
    A = sigmoid(LayerNorm(deform(X_c)))         (3)   back to c channels; normalised over them at each pixel
    X_out = X * A                               (4)

w_p is "between 0 and 1" (Sec. 3.2): a sigmoid. LayerNorm hides a factor of w_p from A, except for its epsilon; where
another norm, or none, stands in its place (Table 5, and Table 4 d) the factor counts. ``modulation_scale`` is that
factor: networks trained with w_p in (0, 2) have 2.

The paper gives no code. Biases, kernel sizes and affine flags are those that reproduce every parameter and FLOP count
it prints for ResNet-18/50/101 and MobileNetV2 (Table 1); ``tests/nn/test_published_counts.py`` holds them.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from das_explain.nn.deform import modulated_deform_conv2d
from das_explain.nn.gate import Gate


def check_alpha(alpha: float) -> None:
    """Raises ``ValueError`` unless ``alpha`` is a number with 0 < alpha <= 1."""
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha <= 1:
        raise ValueError(f"alpha must lie in (0, 1], not {alpha!r}")


def check_modulation_scale(scale: float) -> None:
    """Raises ``ValueError`` unless ``scale`` is a positive, finite number."""
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < scale < math.inf:
        raise ValueError(f"modulation_scale must be a positive number, not {scale!r}")


class DASGate(Gate):
    """Multiplies a feature map by a learned, pixel- and channel-wise attention in (0, 1).

    Args:
        channels: c of the map to be gated.
        alpha: compression, 0 < alpha <= 1; the gate works on ``int(alpha * c)`` channels, at least one.
        init: ``default``, or ``identity``: the gate starts near 1 (0.98) everywhere, for a warm start from a
            trained backbone.
        modulation_scale: w_p lies between 0 and this.

    >>> gate = DASGate(64, alpha=0.2)
    >>> x = torch.rand(1, 64, 8, 8)
    >>> gate.attention(x).shape, bool((gate(x) <= x).all())
    (torch.Size([1, 64, 8, 8]), True)
    """

    KERNEL = 3
    IDENTITY_LOGIT = 4.0  # sigmoid(4) = 0.982

    def __init__(
        self,
        channels: int,
        alpha: float = 0.2,
        *,
        init: Literal["default", "identity"] = "default",
        modulation_scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_alpha(alpha)
        check_modulation_scale(modulation_scale)
        if init not in ("default", "identity"):
            raise ValueError(f"init must be 'default' or 'identity', not {init!r}")
        hidden, taps = max(1, int(alpha * channels)), self.KERNEL**2
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.pointwise = nn.Conv2d(channels, hidden, 1)
        self.instance_norm = nn.InstanceNorm2d(hidden)
        self.gelu = nn.GELU()
        self.offset = nn.Conv2d(hidden, 2 * taps, 3, padding=1)
        self.modulation = nn.Conv2d(hidden, taps, 3, padding=1)
        self.weight = nn.Parameter(torch.empty(channels, hidden, self.KERNEL, self.KERNEL))
        self.layer_norm = nn.LayerNorm(channels)
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # as torch's own convolutions
        self.modulation_scale = modulation_scale
        for conv in (self.offset, self.modulation):  # as DCNv2 starts: dp = 0 and w_p halfway, so a plain convolution
            nn.init.zeros_(conv.weight)
            nn.init.zeros_(conv.bias)
        if init == "identity":
            self.start_as_identity()

    def start_as_identity(self) -> None:
        """Near 1 everywhere: by its norm, without a parameter more."""
        nn.init.constant_(self.layer_norm.weight, 0.01)
        nn.init.constant_(self.layer_norm.bias, self.IDENTITY_LOGIT)

    def context(self, x: Tensor) -> Tensor:
        """X_c of Eq. 1: (N, C, H, W) -> (N, alpha C, H, W)."""
        compressed = self.pointwise(self.depthwise(x))  # (N, alpha C, H, W)
        # A single pixel has no spread: InstanceNorm's formula gives 0 (and gradients of 0), where torch's refuses.
        single = compressed.shape[-2:] == (1, 1)
        normed = compressed - compressed if single else self.instance_norm(compressed)
        return self.gelu(normed)

    def offsets(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """dp (N, 18, H, W) in pixels of the map and w_p (N, 9, H, W) of Eq. 2."""
        # The modulation first: gradients are added up in this order, and the shipped models were trained with it.
        modulation = self.modulation_scale * self.modulation(context).sigmoid()
        return self.offset(context), modulation

    def sampling(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.offsets(self.context(x))

    def attention(self, x: Tensor) -> Tensor:
        """A of Eq. 3: (N, C, H, W) -> (N, C, H, W) in (0, 1)."""
        context = self.context(x)  # (1)
        deformed = modulated_deform_conv2d(context, *self.offsets(context), self.weight)  # (2)
        normalized = self.layer_norm(deformed.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # over channels
        return normalized.sigmoid()  # (3); X * A, (4), is every gate's
