"""DEFCON-1: Agarwal, Kumar, Paliyam, Qian, "DEFCON 1: Deformable Convolution in 1D for Channel Attention".

    y = GlobalAveragePool(X)
    dp = C1D_k(y)                                  offsets: one channel -> k, no bias
    d(p) = sum_n w_n y(p + p_n + dp_n(p))          a deformable convolution along the channels, linear interpolation
    X_out = X sigmoid(d)

Sec. 3 of the paper, whose equations have no numbers. It stands in every residual block, before the addition. With
ECA's k = 3, 5, 5, 7 for the four stages of ResNet-50 it has sum of k^2 + k = 504 parameters: 23,705,756, as printed.
Left open: what lies outside the channels (zero here, as in 2-D), what keeps an offset "between 0 and the channel size"
(nothing here: the text names a convolution and no activation) and the offsets' start (zero: it begins as ECA; the
authors' code leaves torch's). That code agrees with the equation for k = 3; its kernels of 5 and 7 lie one and two
channels before p, since its positions start at 1 whatever the padding. Here the equation is followed.

Its ResNet-50 has a first convolution of 3x3, as the count tells, with a "stride 2", which torchvision's already has. In
the authors' code (``vatsalag99/Deformable-Channel-Attention``) the stride is 1, the padding 3, and the max pooling
stays: ``stem="padded"``, 18x18 of 32x32 into the first stage. ``stem="small"`` is what is common for 32x32 images.

The offsets above come from the k nearest channels: the *local* part (Sec. 4.1). ``offsets`` names others:

    ``local``             as above
    ``shuffle``           Sec. 4.2: made on channels that are shuffled in 2^ceil(log2 k) groups, and brought back, so
                          that each channel's offsets are made of itself and of channels far away
    ``shuffle-literal``   the same, not brought back: position p has the offsets of the channel that was shuffled to p.
                          All that the text says; a channel's offsets then do not depend on itself
    ``correlation``       Sec. 4.2: C x C matrix y y^T; the k channels that correlate most with p take the place of its k
                          neighbours in the offsets' convolution (the paper: they "determine" the offsets). The matrix
                          of one vector has rank one: where y is not negative all channels get the same k neighbours
    ``correlation-maps``  the reading that is not degenerate: the matrix of the channels' maps, before pooling; each tap
                          is put on one of the k channels that correlate most with p, by its offset "place of that
                          channel minus place of the tap". Nothing of the offsets is learned
    ``gap``               X sigmoid(y), for comparison. In one published version of the authors' code the shuffled
                          convolution's result is thrown away, so that this is what the module computes and no parameter
                          has a gradient; if that version made the printed 67.39 %, it is a gate without parameters

``weighted=True`` (Sec. 4.3) mixes both parts: d = a d_nonlocal + (1 - a) d_local with one learned a in (0, 1), where
local and non-local differ in their offsets (each part has an offsets' convolution of its own) and share the kernel w.
``offsets`` says which non-local part. The authors' code has weights for each channel, which need not add up to 1, and a
bias; the paper speaks of "a learnable parameter".
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, log2
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from das_explain.nn.gate import Gate
from das_explain.nn.kernel_size import choose_kernel_size

NON_LOCAL = ("shuffle", "shuffle-literal", "correlation", "correlation-maps")
OFFSETS = ("local", *NON_LOCAL, "gap")


class Defcon1(Gate):
    """Multiplies each channel by a weight that k channels decide, which it chooses itself.

    (N, C, H, W) -> (N, C, H, W).

    Args:
        channels: C.
        kernel_size: k, or C -> k; ``None``: by ECA's Eq. 12.
        offsets: of ``OFFSETS``.
        weighted: mix the local part with the non-local one that ``offsets`` names.
    """

    per_channel = True

    def __init__(
        self,
        channels: int,
        kernel_size: int | Mapping[int, int] | None = None,
        offsets: Literal["local", "shuffle", "shuffle-literal", "correlation", "correlation-maps", "gap"] = "local",
        weighted: bool = False,
    ) -> None:
        super().__init__()
        if offsets not in OFFSETS:
            raise ValueError(f"offsets must be one of {', '.join(OFFSETS)}, not {offsets!r}")
        if weighted and offsets not in NON_LOCAL:
            raise ValueError(
                f"weighted mixes the local part with a non-local one: offsets must be one of {', '.join(NON_LOCAL)}, "
                f"not {offsets!r}"
            )
        k = choose_kernel_size(channels, kernel_size)
        if offsets.startswith("correlation") and k > channels:
            raise ValueError(f"{offsets} takes {k} channels of {channels}; kernel_size must be smaller")
        self.offsets, self.weighted = offsets, weighted
        self.pool = nn.AdaptiveAvgPool2d(1)
        if offsets == "gap":
            return
        if offsets != "correlation-maps":
            self.offset = _offset(k)
        self.weight = nn.Parameter(torch.empty(k))
        nn.init.uniform_(self.weight, -(k**-0.5), k**-0.5)  # as torch's own convolutions
        if weighted:
            self.local_offset = _offset(k)
            self.mix = nn.Parameter(torch.zeros(()))

    def make_offsets(self, x: Tensor, y: Tensor) -> Tensor:
        """dp of the part that ``offsets`` names: maps (N, C, H, W) and their means (N, C) -> (N, k, C), in channels."""
        if self.offsets == "correlation-maps":
            return correlated_places(x, len(self.weight))
        if self.offsets == "correlation":
            products = y[:, :, None] * y[:, None, :]
            strongest = products.topk(len(self.weight), dim=2).indices  # (N, C, k)
            values = y[:, None, :].expand_as(products).gather(2, strongest)
            return torch.einsum("nm,bcm->bnc", self.offset.weight[:, 0], values)
        if self.offsets == "local":
            return self.offset(y[:, None])
        order = shuffled_order(y.shape[1], 2 ** ceil(log2(len(self.weight))), y.device)
        made = self.offset(y[:, order][:, None])
        return made if self.offsets == "shuffle-literal" else made[:, :, order.argsort()]

    def attention(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1) in (0, 1)."""
        y = self.pool(x).flatten(1)
        if self.offsets == "gap":
            return y.sigmoid()[:, :, None, None]
        deformed = deform_conv1d(y, self.make_offsets(x, y), self.weight)
        if self.weighted:
            local, share = deform_conv1d(y, self.local_offset(y[:, None]), self.weight), self.mix.sigmoid()
            deformed = share * deformed + (1 - share) * local
        return deformed.sigmoid()[:, :, None, None]


def _offset(k: int) -> nn.Conv1d:
    conv = nn.Conv1d(1, k, k, padding=k // 2, bias=False)
    nn.init.zeros_(conv.weight)
    return conv


def deform_conv1d(y: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """``out(p) = sum_n weight_n y(p + n - k // 2 + offset_n(p))``, linearly interpolated, zero outside.

    Args:
        y: (N, C).
        offset: (N, k, C), in positions.
        weight: (k,), k odd.

    Returns:
        (N, C) in the dtype of ``y``; positions are float32 at least, as 2048 of them need more than bfloat16's 8 bits.
    """
    dtype, wide = y.dtype, torch.promote_types(y.dtype, torch.float32)
    y, offset, weight = y.to(wide), offset.to(wide), weight.to(wide)
    channels, k = y.shape[1], len(weight)
    positions = _tap_places(channels, k, y.device) + offset  # (N, k, C)
    below = positions.floor()
    share = positions - below
    padded = F.pad(y, (1, 1))[:, None].expand(-1, k, -1)  # position p is at p + 1; a zero at both ends
    low, high = ((below + step).long().clamp(0, channels + 1) for step in (1, 2))
    sampled = (1 - share) * padded.gather(2, low) + share * padded.gather(2, high)
    return (weight[:, None] * sampled).sum(1).to(dtype)


def correlated_places(x: Tensor, k: int) -> Tensor:
    """Offsets that put the k taps of each channel on the k channels whose maps correlate most with its own.

    (N, C, H, W) -> (N, k, C), whole numbers in float32 at least. The first is always the channel itself, if its map is
    not constant; a constant map correlates with none.
    """
    with torch.autocast(x.device.type, enabled=False):
        maps = x.flatten(2).to(torch.promote_types(x.dtype, torch.float32))
        unit = F.normalize(maps - maps.mean(2, keepdim=True), dim=2)
        places = (unit @ unit.transpose(1, 2)).topk(k, dim=2).indices.transpose(1, 2)  # (N, k, C)
        return (places - _tap_places(x.shape[1], k, x.device)).to(maps.dtype)


def shuffled_order(channels: int, groups: int, device: torch.device | None = None) -> Tensor:
    """int64 (C,), ShuffleNet's: ``groups`` rows read by columns. C that the groups do not divide keeps its order."""
    order = torch.arange(channels, device=device)
    return order if channels % groups else order.view(groups, -1).t().flatten()


def _tap_places(channels: int, k: int, device: torch.device) -> Tensor:
    """p + p_n: (k, C)."""
    return torch.arange(channels, device=device) + torch.arange(k, device=device)[:, None] - k // 2
