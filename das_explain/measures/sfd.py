"""Salient feature detection score: how much of a map's weight lies on the object (DAS, Sec. 4.4, Eq. 5).

    sfd = W_r / (W_r + W_n)

R is the object, B a box that holds R and outside of which the map is low; W_r and W_n are the mean scaled weights in R
and in B - R. Pure tensor code: batched, on any device, no loop over images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import torch
from torch import Tensor

from das_explain.errors import UsageError
from das_explain.measures.base import (
    DEFAULTS,
    Measure,
    Measured,
    MeasureOptions,
    first_that_holds,
    levels_of,
    regions_of,
)
from das_explain.measures.levels import Levels, as_weights, in_parts, one_for_all
from das_explain.measures.regions import Regions, add_up, add_up_map, extents, join


def _antilog(w: Tensor) -> Tensor:
    """10^w - 1 by ``expm1``: the difference would cancel to 0 for a faint map."""
    exponent = w * math.log(10)
    if exponent.device.type == "cpu" and exponent.dtype == torch.float32 and not exponent.requires_grad:
        # NumPy's runs on vectors where the processor has AVX-512: 20 us a map of 224 px, torch's float32 one 440.
        return torch.from_numpy(np.expm1(exponent.numpy(), out=exponent.numpy()))
    return torch.expm1(exponent)


SCALINGS = {
    "antilog": _antilog,
    "antilog-literal": lambda w: 10**w,
    "exp": torch.exp,
    "linear": lambda w: w,
}
"""Scalings of the weights w in [0, 1] before they are averaged.

The paper says "antilog" and prints 0.99; 10^w lies in [1, 10] and e^w in [1, e], so that sfd could not leave
[0.091, 0.909] or [0.269, 0.731]. Only a scaling that keeps 0 at 0 can have made its figures: 10^w - 1 is the default.
"""

BOXES = ("rect", "region")


@dataclass(frozen=True)
class SFD:
    """Scores of N maps.

    ``sfd`` in [0, 1], ``w_r`` and ``w_n`` (in the scaling's units) are float64 (N,), NaN where there is no score;
    ``box`` is int64 (N, 4), xyxy exclusive, zeros where there is none; ``status`` has one word per map:

    - ``ok``
    - ``no_background``: B equals R, so W_n is taken as 0 and sfd is 1 by construction, not by merit
    - ``no_object``: R is empty
    - ``zero_cam``: no weight in B (an all-zero map), or so little that no mean can be told from 0
    - ``nonfinite_cam``: NaN or infinity in the map

    >>> score = sfd_score(torch.zeros(1, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool))
    >>> score.status, score.sfd
    (['zero_cam'], tensor([nan], dtype=torch.float64))
    """

    sfd: Tensor
    w_r: Tensor
    w_n: Tensor
    box: Tensor
    status: list[str]


def bounding_box(region: Tensor) -> Tensor:
    """Smallest upright rectangle that holds each region: bool (N, H, W) -> int64 (N, 4) xyxy exclusive; empty -> zeros."""
    return torch.from_numpy(_none_as_zeros(Regions(region).extents)).to(region.device)


def fill_box(box: Tensor, height: int, width: int) -> Tensor:
    """The pixels inside each box: (N, 4) xyxy exclusive -> bool (N, height, width)."""
    x0, y0, x1, y1 = (edge.view(-1, 1, 1) for edge in box.unbind(1))
    x = torch.arange(width, device=box.device).view(1, 1, -1)
    y = torch.arange(height, device=box.device).view(1, -1, 1)
    return (x >= x0) & (x < x1) & (y >= y0) & (y < y1)


def sfd_score(
    cam: Tensor,
    mask: Tensor,
    *,
    threshold: float = 0.3,
    scaling: str = "antilog",
    box: str = "rect",
    shared: Tensor | None = None,
) -> SFD:
    """Scores maps against the object's masks (DAS, Eq. 5).

    Args:
        cam: float (N, H, W), weights in [0, 1].
        mask: bool (N, H, W), region R.
        threshold: tau in (0, 1]: B holds every pixel with ``cam >= threshold``.
        scaling: a key of ``SCALINGS``.
        box: ``rect``: B is the smallest upright rectangle that holds R and the salient pixels (the paper's
            definition). ``region``: B is exactly R and the salient pixels (the paper's procedure); ``SFD.box`` then
            is its bounding rectangle.
        shared: bool (N, H, W), further pixels that B must hold: the salient pixels of the other models of a
            comparison, so that all are scored on one B (a control: the denominator no longer moves with the model).

    Returns:
        An ``SFD``; every degenerate map has a status, never a silent number.

    Raises:
        UsageError: wrong shapes, a threshold or a name out of range, weights outside [0, 1].

    >>> cam = torch.tensor([[[1.0, 0.5], [0.0, 0.0]]])
    >>> mask = torch.tensor([[[True, False], [False, False]]])
    >>> score = sfd_score(cam, mask, scaling="linear")  # R: the first pixel; B: the first row
    >>> score.sfd, score.box  # 1 / (1 + 0.5)
    (tensor([0.6667], dtype=torch.float64), tensor([[0, 0, 2, 1]]))
    """
    _check(cam, mask, threshold, scaling, box)
    return score_regions(cam, Regions(mask), threshold=threshold, scaling=scaling, box=box, shared=shared)


def score_regions(
    cam: Tensor,
    regions: Regions,
    levels: Levels | None = None,
    *,
    threshold: float,
    scaling: str,
    box: str,
    shared: Tensor | None = None,
) -> SFD:
    """``sfd_score`` on masks and maps of which much is known already; the names and shapes must be right.

    float32 maps are scaled in float32 and added up to six digits; float64 maps are float64 throughout.
    """
    weights = as_weights(cam)
    levels = levels or Levels(cam)
    finite = levels.finite
    if finite.any():
        least, most = float(levels.lowest[finite].min()), float(levels.highest[finite].max())
        if least < -1e-5 or most > 1 + 1e-5:  # resizing may overshoot by a rounding error
            raise UsageError(f"cam must lie in [0, 1]; it runs from {least:.3g} to {most:.3g}")
        if least < 0 or most > 1:
            weights = weights.clamp(0, 1)

    # In float64, since the threshold is one: 0.7 in float32 is less than 0.7.
    salient = extents(*(along.astype(np.float64) >= threshold for along in (levels.columns, levels.rows)))
    rectangle = join(regions.extents, salient)
    if shared is not None:
        rectangle = join(rectangle, Regions(shared).extents)
    rectangle = _none_as_zeros(rectangle)
    n_r = regions.area
    if box == "rect":
        x0, y0, x1, y1 = rectangle.T
        n_n = (x1 - x0) * (y1 - y0) - n_r
        off = regions.outside
    else:
        kept = weights.double() >= threshold
        off = (kept if shared is None else kept | shared) & regions.outside
        n_n = Regions(off).area

    in_r, in_n = _sums(weights, SCALINGS[scaling], regions, off, rectangle)
    with np.errstate(divide="ignore", invalid="ignore"):
        w_r = in_r / n_r
        w_n = np.where(n_n > 0, in_n / n_n, 0.0)
        score = w_r / (w_r + w_n)

    # The means, since the score divides by them; the weights too where the scaling does not keep 0 at 0.
    no_weight = w_r + w_n == 0
    if scaling not in ("antilog", "linear"):
        no_weight |= sum(_sums(weights, SCALINGS["linear"], regions, off, rectangle)) == 0
    conditions = {
        "nonfinite_cam": ~finite,
        "no_object": n_r == 0,
        "zero_cam": no_weight,
        "no_background": n_n == 0,
    }
    scored = finite & (n_r > 0) & ~no_weight
    numbers = (np.where(scored, each, np.nan) for each in (score, w_r, w_n))
    of_score, of_r, of_n, boxes = (
        torch.from_numpy(each).to(cam.device) for each in (*numbers, np.where(scored[:, None], rectangle, 0))
    )
    return SFD(of_score, of_r, of_n, boxes, first_that_holds(conditions, len(cam)))


def _none_as_zeros(rectangle: np.ndarray) -> np.ndarray:
    return np.where(rectangle[:, 2:3] > 0, rectangle, 0)


def _sums(
    weights: Tensor, scale: Callable[[Tensor], Tensor], regions: Regions, off: Tensor, rectangle: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scaled weights added up over R, and over ``off``, bool (N, H, W), within the rectangle: float64 (N,) each."""
    if weights.device.type != "cpu":
        scaled = scale(weights)
        inside = fill_box(torch.from_numpy(rectangle).to(weights.device), *weights.shape[1:])
        return add_up(scaled, regions.masks), add_up(scaled, off & inside)
    each = one_for_all(weights)
    maps: Iterator[np.ndarray] = (values for part in in_parts(each) for values in scale(part).numpy())
    if each is not weights:
        maps = repeat(next(maps))
    sides = (regions.array, regions.extents.tolist()), (off.numpy(), rectangle.tolist())
    sums = np.empty((2, len(weights)))
    for row, values in zip(range(len(weights)), maps):
        for side, (masks, boxes) in enumerate(sides):
            x0, y0, x1, y1 = boxes[row]
            sums[side, row] = add_up_map(values[y0:y1, x0:x1], masks[row, y0:y1, x0:x1])
    return sums[0], sums[1]


def _check(cam: Tensor, mask: Tensor, threshold: float, scaling: str, box: str) -> None:
    if cam.ndim != 3 or mask.shape != cam.shape:
        raise UsageError(f"cam and mask must both be (N, H, W); they are {tuple(cam.shape)} and {tuple(mask.shape)}")
    if mask.dtype != torch.bool:
        raise UsageError(f"mask must be bool, not {mask.dtype}")
    if not cam.is_floating_point():
        raise UsageError(f"cam must be a float tensor in [0, 1], not {cam.dtype}")
    if not 0 < threshold <= 1:
        raise UsageError(f"threshold must lie in (0, 1], not {threshold}")
    if scaling not in SCALINGS:
        raise UsageError(f"scaling {scaling!r} is unknown; choose among {', '.join(SCALINGS)}")
    if box not in BOXES:
        raise UsageError(f"box {box!r} is unknown; choose among {', '.join(BOXES)}")


def compute(maps: Tensor, masks: Tensor, options: MeasureOptions = DEFAULTS) -> Measured:
    """sfd of each map, in [0, 1]: ``sfd_score`` as a measure.

    Args:
        maps: float (N, H, W) in [0, 1]. masks: bool (N, H, W).
        options: ``threshold``, ``scaling`` and ``box``; box ``shared`` takes the further pixels of ``shared``.

    Returns:
        Extras, float64 or int64 (N,): ``w_r``, ``w_n`` and B's edges ``b_x0, b_y0, b_x1, b_y1`` (exclusive).

    Raises:
        UsageError: as ``sfd_score``; a shared box without its pixels.

    >>> maps, masks = torch.tensor([[[1.0, 0.0], [0.0, 0.5]]]), torch.tensor([[[True, True], [False, False]]])
    >>> compute(maps, masks, MeasureOptions(scaling="linear")).values
    tensor([0.6667], dtype=torch.float64)
    """
    box, shared = options.box, None
    if box == "shared":
        if options.shared is None:
            raise UsageError("box 'shared' needs the salient pixels of all models, in options.shared")
        box, shared = "rect", options.shared
    _check(maps, masks, options.threshold, options.scaling, box)
    regions = regions_of(masks, options)
    score = score_regions(
        maps,
        regions,
        levels_of(maps, options),
        threshold=options.threshold,
        scaling=options.scaling,
        box=box,
        shared=shared,
    )
    edges = dict(zip(("b_x0", "b_y0", "b_x1", "b_y1"), score.box.unbind(1), strict=True))
    return Measured(score.sfd, score.status, {"w_r": score.w_r, "w_n": score.w_n, **edges})


MEASURE = Measure("sfd", False, (0.0, 1.0), True, compute)
