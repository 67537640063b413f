"""Maps as values: of one block at its own size, normalised as pytorch-grad-cam does, and resized."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-7  # pytorch-grad-cam's, in both of its min-max steps
TOGETHER = 4  # maps at full size that stay in a processor's own cache between two steps


@dataclass(frozen=True)
class Cam:
    """The maps of one block.

    ``native``: float32 (N, h, w) in [0, 1], at the block's own resolution. ``raw_max``: float32 (N,), the maximum before
    normalisation, in units of the target's logit: 0 means that the map is empty, a tiny number that it is inflated
    noise. ``map``: float32 (N, H, W) in [0, 1] at ``size``, made from ``native`` when it is first asked for.

    >>> cam = Cam(native=torch.tensor([[[0.0, 1.0]]]), raw_max=torch.tensor([2.5]), size=(2, 4))
    >>> cam.map.shape
    torch.Size([1, 2, 4])
    """

    native: Tensor
    raw_max: Tensor
    size: tuple[int, int]

    @cached_property
    def map(self) -> Tensor:
        """The native maps at ``size``: ``upsample``."""
        return upsample(self.native, self.size)

    def cpu(self) -> Cam:
        """The same on the CPU."""
        return Cam(self.native.cpu(), self.raw_max.cpu(), self.size)


@dataclass(frozen=True)
class Maps:
    """``logits`` float32 (N, K), ``target`` int64 (N,) and one ``Cam`` per block, all from the same forward pass."""

    logits: Tensor
    target: Tensor
    cams: dict[str, Cam]


def join_cams(parts: Sequence[Cam]) -> Cam:
    """The maps of several batches as one."""
    native, raw_max = (torch.cat([getattr(part, name) for part in parts]) for name in ("native", "raw_max"))
    return Cam(native=native, raw_max=raw_max, size=parts[0].size)


def join_maps(parts: Sequence[Maps]) -> Maps:
    """The same of what was explained in parts: in order, of one network and the same blocks."""
    if len(parts) == 1:
        return parts[0]
    cams = {name: join_cams([part.cams[name] for part in parts]) for name in parts[0].cams}
    return Maps(torch.cat([part.logits for part in parts]), torch.cat([part.target for part in parts]), cams)


def normalize(raw: Tensor, size: tuple[int, int]) -> Cam:
    """Non-negative raw maps float (N, h, w) -> ``Cam``: min-max, bilinear resize, min-max again.

    The two min-max steps must not be merged: each divides by (1e-7 + max), which matters for faint maps.
    """
    return Cam(native=_min_max(raw), raw_max=raw.flatten(1).amax(1), size=(size[0], size[1]))


def upsample(native: Tensor, size: tuple[int, int]) -> Tensor:
    """A block's maps float32 (N, h, w) in [0, 1] -> float32 (N, *size): bilinear, then min-max again.

    Half-pixel centres, as ``F.interpolate(align_corners=False)`` has them; on a CPU by two small products, in half its
    time, and in NumPy, which knows neither autocast nor a lower precision for products.
    """
    room = torch.empty(len(native), *size, device=native.device)
    for _ in upsample_in_parts(native, room):
        pass
    return room


def upsample_in_parts(native: Tensor, room: Tensor) -> Iterator[Tensor]:
    """The same, written into ``room``, float32 (N, H, W), which comes a few maps at a time, while they are in a processor's
    cache: to touch new memory, or to fetch these again, takes longer than to resize."""
    native, size = native.detach().float(), room.shape[1:]
    if size == native.shape[1:]:
        yield room.copy_(_min_max(native))
    elif native.device.type == "cpu":
        yield from _upsampled(native.numpy(), room)
    else:
        resized = F.interpolate(native[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
        lowest = resized.amin((1, 2), keepdim=True)
        yield room.copy_(resized.sub_(lowest).div_(EPSILON + resized.amax((1, 2), keepdim=True)))


def _upsampled(native: np.ndarray, room: Tensor) -> Iterator[Tensor]:
    """What the second min-max subtracts and divides by is applied before maps (N, h, w) are resized: weights sum to 1, and
    between its first and its last pixel in each direction a bilinear piece has no further extreme."""
    (height, width), (few_rows, few_columns) = (
        [weights(small, large) for small, large in zip(native.shape[1:], room.shape[1:])]
        for weights in (_weights, _ends)
    )
    with np.errstate(invalid="ignore"):  # a map that is not finite stays so
        extremes = few_rows @ (native @ few_columns.T)
        lowest, highest = (extreme((1, 2), keepdims=True) for extreme in (extremes.min, extremes.max))
        scaled = (native - lowest) / (EPSILON + (highest - lowest))
    for start in range(0, len(native), TOGETHER):
        part = room[start : start + TOGETHER]
        with np.errstate(invalid="ignore"):
            np.matmul(height, scaled[start : start + TOGETHER] @ width.T, out=part.numpy())  # (H, h) (N, h, w) (w, W)
        yield part.clamp_(0, 1)  # rounding errors


@cache
def _weights(small: int, large: int) -> np.ndarray:
    """What each of ``large`` places takes from ``small`` samples: float32 (large, small), rows that sum to 1."""
    at, left = _places(small, large)
    share, samples = (at - left)[:, None], np.arange(small)
    return ((samples == left[:, None]) * (1 - share) + (samples == left[:, None] + 1) * share).astype(np.float32)


@cache
def _ends(small: int, large: int) -> np.ndarray:
    """Those rows of ``_weights`` that are the first or the last between two samples."""
    left = _places(small, large)[1]
    step = left[1:] != left[:-1]
    return _weights(small, large)[np.append(True, step) | np.append(step, True)]


def _places(small: int, large: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of ``large`` pixels' centres lies among ``small`` samples, float (large,), and the sample to its left."""
    at = ((np.arange(large) + 0.5) * small / large - 0.5).clip(0, small - 1)
    return at, np.floor(at).clip(max=max(0, small - 2)).astype(int)


def _min_max(maps: Tensor) -> Tensor:
    shifted = maps - maps.amin((1, 2), keepdim=True)
    return shifted / (EPSILON + shifted.amax((1, 2), keepdim=True))
