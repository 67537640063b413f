"""The ablations of the DAS gate: Fig. 2 and Table 4 (a) to (h), and the pairs of norms of Table 5.

Table 4 prints parameters (M, with 1000 classes) and FLOPs of ResNet-18 with each. Without deformable kernels (see
``nn.counts.profile``) these readings have all eight counts of parameters, rounded, and all eight of FLOPs, cut after the last
digit printed, but for (g): 1.91698, printed 1.917, which is rounded.

    (a) the map and a GridSample of it, concatenated, through a separable convolution    12.766   1.99
    (b) the same with compressed channels, for a weight of each position                 11.801   1.846
    (c) the gate                                                                         11.817   1.856
    (d) a deformable convolution and a sigmoid, on all channels                          11.923   1.915
    (e) the bottleneck without compression, and a sigmoid                                12.048   1.879
    (f) (c) with a second separable convolution for the deformable one                   11.843   1.849
    (g) (d) as a layer, without gating: deformable convolution, batch norm, ReLU         11.925   1.917
    (h) (c) as a layer, without gating: the gate's layers, batch norm, ReLU              11.819   1.858

Counts fix how large the layers are, not how they are wired: for (c) to (h) the text fixes that too; for (a) and (b),
whose text and figure name no layer sizes, the wiring is one of several that have these counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from das_explain.nn.attention.das.gate import DASGate, check_alpha, check_modulation_scale
from das_explain.nn.deform import modulated_deform_conv2d
from das_explain.nn.gate import Gate

VARIANTS = ("a", "b", "c", "d", "e", "f", "g", "h")
DEFORMABLE = ("c", "d", "g", "h")
"""The variants with a deformable kernel, and so with a ``modulation_scale``."""
NORMS = ("batch", "feature", "instance", "layer", "none")
PAPER_NORMS = ("instance", "layer")


def das_gate(
    channels: int,
    alpha: float = 0.2,
    *,
    init: Literal["default", "identity"] = "default",
    variant: str = "c",
    norms: Sequence[str | None] = PAPER_NORMS,
    modulation_scale: float = 1.0,
) -> nn.Module:
    """The gate of Eq. 1-4, or one of its ablations.

    Args:
        channels: c of the map.
        alpha: compression, where the variant has one.
        init: of the gate itself, as ``DASGate``.
        variant: a letter of Fig. 2; ``c`` is the gate.
        norms: of the gate (``c``): before and after the deformable convolution, among ``NORMS``.
        modulation_scale: w_p of the deformable kernels lies between 0 and this.

    Raises:
        ValueError: an unknown variant or norm, or arguments that do not go together.
    """
    check_alpha(alpha)
    check_modulation_scale(modulation_scale)
    names = tuple("none" if norm is None else norm for norm in norms)
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, not {variant!r}")
    if len(names) != 2 or any(name not in NORMS for name in names):
        raise ValueError(f"norms must be two of {', '.join(NORMS)}, not {norms!r}")
    if variant == "c" and names == PAPER_NORMS:
        return DASGate(channels, alpha, init=init, modulation_scale=modulation_scale)
    if init != "default":
        raise ValueError("only the gate itself, variant c with its own norms, has an identity start")
    if variant == "c":
        return NormedGate(channels, alpha, names, modulation_scale)
    if names != PAPER_NORMS:
        raise ValueError(f"norms are chosen for variant c, not for {variant}")
    sizes = (channels,) if variant in ("d", "e", "g") else (channels, alpha)  # those have all channels: no alpha
    if variant in DEFORMABLE:
        return _VARIANTS[variant](*sizes, modulation_scale=modulation_scale)
    if modulation_scale != 1:
        raise ValueError(f"variant {variant} has no deformable kernel, so no modulation_scale")
    return _VARIANTS[variant](*sizes)


# --- Table 5


class PixelNorm(nn.Module):
    """LayerNorm over the channels of each position of (N, C, H, W), affine."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class InstanceNorm(nn.Module):
    """Of each channel over its positions, not affine; a single position, which torch's refuses, gives 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x - x if x.shape[2:] == (1, 1) else self.norm(x)


class FeatureNorm(nn.Module):
    """Of each image over all channels and positions, not affine (the paper does not define "Simple Feature Norm")."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[1:])


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "feature": lambda channels: FeatureNorm(),
    "instance": InstanceNorm,
    "layer": PixelNorm,
    "none": lambda channels: nn.Identity(),
}


class NormedGate(DASGate):
    """The gate with other norms before and after the deformable convolution."""

    def __init__(self, channels: int, alpha: float, norms: tuple[str, str], modulation_scale: float = 1.0) -> None:
        super().__init__(channels, alpha, modulation_scale=modulation_scale)
        hidden = self.weight.shape[1]
        del self.instance_norm, self.layer_norm
        self.first_norm, self.second_norm = _NORMS[norms[0]](hidden), _NORMS[norms[1]](channels)

    def context(self, x: Tensor) -> Tensor:
        return self.gelu(self.first_norm(self.pointwise(self.depthwise(x))))

    def layers(self, x: Tensor) -> Tensor:
        """All before the sigmoid: (N, C, H, W) -> (N, C, H, W)."""
        context = self.context(x)
        return self.second_norm(modulated_deform_conv2d(context, *self.offsets(context), self.weight))

    def attention(self, x: Tensor) -> Tensor:
        return self.layers(x).sigmoid()


# --- Table 4


class Deformable(nn.Module):
    """A modulated deformable 3x3 convolution that makes its own offsets, c -> c. (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, modulation_scale: float = 1.0) -> None:
        super().__init__()
        self.modulation_scale = modulation_scale
        self.offset = nn.Conv2d(channels, 18, 3, padding=1)
        self.modulation = nn.Conv2d(channels, 9, 3, padding=1)
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        for conv in (self.offset, self.modulation):
            nn.init.zeros_(conv.weight)
            nn.init.zeros_(conv.bias)

    def offsets(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """dp (N, 18, H, W) and w_p (N, 9, H, W)."""
        return self.offset(x), self.modulation_scale * self.modulation(x).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return modulated_deform_conv2d(x, *self.offsets(x), self.weight)


def separable(inputs: int, outputs: int, bias: bool = True) -> nn.Sequential:
    """Depthwise 3x3 (``bias`` is its), then pointwise 1x1 with bias."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=bias), nn.Conv2d(inputs, outputs, 1)
    )


def sample(x: Tensor, shift: Tensor) -> Tensor:
    """``x`` (N, C, H, W) at each position moved by ``shift`` (N, 2, H, W), (dy, dx) in pixels; zeros outside."""
    h, w = x.shape[2:]
    shift = shift.to(torch.promote_types(x.dtype, torch.float32))  # a position needs more than bfloat16's 8 bits
    rows = torch.arange(h, device=x.device).view(1, h, 1) + shift[:, 0]
    columns = torch.arange(w, device=x.device).view(1, 1, w) + shift[:, 1]
    grid = torch.stack(((2 * columns + 1) / w - 1, (2 * rows + 1) / h - 1), dim=3)
    sampled = F.grid_sample(x.to(grid.dtype), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled.to(x.dtype)


class Sampled(nn.Module):
    """(a): x and a GridSample of it through one convolution; the grid comes from separable features of x."""

    def __init__(self, channels: int, alpha: float) -> None:
        super().__init__()
        self.features = separable(channels, channels, bias=False)
        self.shift = nn.Conv2d(channels, 2, 1)
        self.merge = separable(2 * channels, channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.merge(torch.cat((x, sample(x, self.shift(self.features(x)))), dim=1)))


class SampledWeights(Gate):
    """(b): compressed channels and a GridSample of them, added and convolved, give one weight to each position."""

    def __init__(self, channels: int, alpha: float) -> None:
        super().__init__()
        hidden = max(1, int(alpha * channels))
        self.compress = separable(channels, hidden, bias=False)
        self.norm = InstanceNorm(hidden)
        self.gelu = nn.GELU()
        self.shift = nn.Conv2d(channels, 2, 3, padding=1)
        self.merge = separable(hidden, hidden, bias=False)

    def attention(self, x: Tensor) -> Tensor:
        context = self.gelu(self.norm(self.compress(x)))
        merged = self.merge(context + sample(context, self.shift(x)))
        return merged.mean(1, keepdim=True).sigmoid()


class OnlyDeformable(Gate):
    """(d)."""

    def __init__(self, channels: int, modulation_scale: float = 1.0) -> None:
        super().__init__()
        self.deformable, self.modulation_scale = Deformable(channels, modulation_scale), modulation_scale

    def sampling(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.deformable.offsets(x)

    def attention(self, x: Tensor) -> Tensor:
        return self.deformable(x).sigmoid()


class OnlySeparable(Gate):
    """(e)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(separable(channels, channels), InstanceNorm(channels), nn.GELU())

    def attention(self, x: Tensor) -> Tensor:
        return self.layers(x).sigmoid()


class TwiceSeparable(Gate):
    """(f)."""

    def __init__(self, channels: int, alpha: float) -> None:
        super().__init__()
        hidden = max(1, int(alpha * channels))
        first, second = separable(channels, hidden), separable(hidden, channels)
        self.layers = nn.Sequential(first, InstanceNorm(hidden), nn.GELU(), second, PixelNorm(channels))

    def attention(self, x: Tensor) -> Tensor:
        return self.layers(x).sigmoid()


class DeformableLayer(nn.Module):
    """(g)."""

    def __init__(self, channels: int, modulation_scale: float = 1.0) -> None:
        super().__init__()
        deformable = Deformable(channels, modulation_scale)
        self.layers = nn.Sequential(deformable, nn.BatchNorm2d(channels), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class GateLayers(NormedGate):
    """(h)."""

    def __init__(self, channels: int, alpha: float, modulation_scale: float = 1.0) -> None:
        super().__init__(channels, alpha, PAPER_NORMS, modulation_scale)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layers(x)).relu()


_VARIANTS: dict[str, Callable[..., nn.Module]] = {
    "a": Sampled,
    "b": SampledWeights,
    "d": OnlyDeformable,
    "e": OnlySeparable,
    "f": TwiceSeparable,
    "g": DeformableLayer,
    "h": GateLayers,
}
