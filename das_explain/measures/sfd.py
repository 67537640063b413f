"""Salient feature detection score: how much of a map's weight lies on the object (DAS, Sec. 4.4, Eq. 5).

    sfd = W_r / (W_r + W_n)

R is the object, B a box that holds R and outside of which the map is low; W_r and W_n are the mean scaled weights in R
and in B - R. Pure tensor code: batched, on any device, no loop over images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from das_explain.errors import UsageError
from das_explain.measures.base import DEFAULTS, Measure, Measured, MeasureOptions

SCALINGS = {
    "antilog": lambda w: torch.expm1(w * math.log(10)),  # 10^w - 1, which would cancel to 0 for a faint map
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
    """

    sfd: Tensor
    w_r: Tensor
    w_n: Tensor
    box: Tensor
    status: list[str]


def bounding_box(region: Tensor) -> Tensor:
    """Smallest upright rectangle that holds each region: bool (N, H, W) -> int64 (N, 4) xyxy exclusive; empty -> zeros."""
    corners = []
    for length, along in ((region.shape[2], region.any(1)), (region.shape[1], region.any(2))):
        index = torch.arange(length, device=region.device).expand_as(along)
        first = torch.where(along, index, length).amin(1)
        last = torch.where(along, index, -1).amax(1) + 1
        corners.append((first * along.any(1), last))
    (x0, x1), (y0, y1) = corners
    return torch.stack((x0, y0, x1, y1), dim=1)


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
    """
    _check(cam, mask, threshold, scaling, box)
    finite = torch.isfinite(cam).flatten(1).all(1)
    weights = torch.where(finite.view(-1, 1, 1), cam, 0.0).double()
    if bool(((weights < -1e-5) | (weights > 1 + 1e-5)).any()):  # resizing may overshoot by a rounding error
        raise UsageError(f"cam must lie in [0, 1]; it runs from {weights.min():.3g} to {weights.max():.3g}")
    weights = weights.clamp(0, 1)

    salient = weights >= threshold
    inside = mask | salient if shared is None else mask | salient | shared
    rectangle = bounding_box(inside)
    background = (fill_box(rectangle, *cam.shape[1:]) if box == "rect" else inside) & ~mask

    scaled = SCALINGS[scaling](weights)
    n_r, n_n = mask.sum((1, 2)), background.sum((1, 2))
    w_r = (scaled * mask).sum((1, 2)) / n_r
    w_n = torch.where(n_n > 0, (scaled * background).sum((1, 2)) / n_n, 0.0)
    score = w_r / (w_r + w_n)

    # The means too, since the score divides by them; the weights too, since some scalings do not keep 0 at 0.
    no_weight = ((weights * (mask | background)).sum((1, 2)) == 0) | (w_r + w_n == 0)
    status = [
        "nonfinite_cam"
        if not is_finite
        else "no_object"
        if not has_object
        else "zero_cam"
        if is_zero
        else "ok"
        if has_background
        else "no_background"
        for is_finite, has_object, is_zero, has_background in zip(
            finite.tolist(), (n_r > 0).tolist(), no_weight.tolist(), (n_n > 0).tolist(), strict=True
        )
    ]
    scored = finite & (n_r > 0) & ~no_weight
    nan = torch.full_like(score, torch.nan)
    return SFD(
        sfd=torch.where(scored, score, nan),
        w_r=torch.where(scored, w_r, nan),
        w_n=torch.where(scored, w_n, nan),
        box=torch.where(scored.view(-1, 1), rectangle, 0),
        status=status,
    )


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
    score = sfd_score(maps, masks, threshold=options.threshold, scaling=options.scaling, box=box, shared=shared)
    edges = dict(zip(("b_x0", "b_y0", "b_x1", "b_y1"), score.box.unbind(1), strict=True))
    return Measured(score.sfd, score.status, {"w_r": score.w_r, "w_n": score.w_n, **edges})


MEASURE = Measure("sfd", False, (0.0, 1.0), True, compute)
