"""What an activation carries with it, besides its values, from one module to a later one.

No module keeps an activation on itself: passes may run at once, a checkpointed stage runs twice, replicas share
nothing. What a module has to say to a later one is therefore said of the very tensor that goes from the one to the
other. An operation in between makes another tensor, of which nothing has been said; ``carry_on`` says it again.

Two things are said:

    scales           the pooled residuals of earlier blocks (EMCA)
    mean gradient    whoever receives the gradient takes its mean over the map only (Grad-CAM, of its first block)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_SCALES, _MEAN_GRADIENT = "_carried_scales", "_mean_gradient_suffices_at"


class Scales(NamedTuple):
    """``stages``: for the stem and each stage so far the pooled residuals of its blocks, each (N, C of the stage).

    ``recorded``: whether autograd was on when they were made.
    """

    stages: tuple[tuple[Tensor, ...], ...]
    recorded: bool


def carry_scales(x: Tensor, stages: tuple[tuple[Tensor, ...], ...]) -> Tensor:
    """``x`` itself, which carries ``stages`` from now on."""
    setattr(x, _SCALES, Scales(stages, torch.is_grad_enabled()))
    return x


def scales_of(x: Tensor) -> Scales | None:
    """What ``carry_scales`` said of this tensor; ``None``: nothing."""
    return getattr(x, _SCALES, None)


def allow_mean_gradient(x: Tensor) -> None:
    """Says that a gradient for ``x`` need be right in its mean over the map only, (N, C, 1, 1) of (N, C, H, W).

    It holds for the values that ``x`` has now: an operation in place takes it back.
    """
    setattr(x, _MEAN_GRADIENT, x._version)


def mean_gradient_suffices(x: Tensor) -> bool:
    """Whether ``allow_mean_gradient`` said so, and nothing has changed ``x`` since."""
    said_at = getattr(x, _MEAN_GRADIENT, None)
    return said_at is not None and said_at == x._version


def carry_on(source: Tensor, target: Tensor) -> Tensor:
    """``target`` itself, which carries the scales of ``source`` from now on: for hooks that return a copy."""
    scales = scales_of(source)
    if scales is not None:
        setattr(target, _SCALES, scales)
    return target
