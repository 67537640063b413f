"""What every measure is made of: its options, its result, its metadata. No measure is named here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from das_explain.errors import UsageError


@dataclass(frozen=True)
class MeasureOptions:
    """How maps are scored: no part of a run's identity, since evidence can be scored again.

    ``threshold`` (of ``sfd`` and ``iou``), ``scaling`` and ``box`` are those of ``sfd.sfd_score``; ``box`` may also be
    ``shared``: one rectangle for all models of a block, around R and the salient pixels of every one of them, which
    whoever calls gives in ``shared``, bool (N, H, W). ``tolerance``: of the pointing game, in pixels.
    """

    threshold: float = 0.3
    scaling: str = "antilog"
    box: str = "rect"
    shared: Tensor | None = None
    tolerance: float = 0.0


DEFAULTS = MeasureOptions()


class Measured(NamedTuple):
    """N values float64 (N,), NaN where there is none; one status word each; further columns, tensors of length N."""

    values: Tensor
    status: list[str]
    extras: dict[str, Tensor]


@dataclass(frozen=True)
class Measure:
    """One measure.

    ``compute(maps, masks, options)``: maps float32 (N, H, W) in [0, 1], masks bool (N, H, W) -> ``Measured``;
    ``options`` may be left out. It never raises for a degenerate map: it gives a status of ``statuses.STATUSES``.
    ``bounds``: the least and the largest value. ``needs_network``: it has to run the network on changed photos.
    ``title``: what tables and figures for people call it; default: the name in words.
    """

    name: str
    needs_network: bool
    bounds: tuple[float, float]
    higher_is_better: bool
    compute: Callable[..., Measured]
    title: str = ""

    def __post_init__(self) -> None:
        if not self.title:
            object.__setattr__(self, "title", self.name.replace("_", " "))


def check_maps(maps: Tensor, masks: Tensor) -> None:
    """Raises UsageError unless maps are float (N, H, W) and masks bool of the same shape."""
    if maps.ndim != 3 or masks.shape != maps.shape:
        raise UsageError(
            f"maps and masks must both be (N, H, W); they are {tuple(maps.shape)} and {tuple(masks.shape)}"
        )
    if masks.dtype != torch.bool:
        raise UsageError(f"masks must be bool, not {masks.dtype}")
    if not maps.is_floating_point():
        raise UsageError(f"maps must be float tensors in [0, 1], not {maps.dtype}")


def first_of(count: int, conditions: dict[str, Tensor]) -> tuple[Tensor, list[str]]:
    """Which of N maps have a value, bool (N,), and N statuses: the first whose condition, bool (N,), holds, else ``ok``.

    >>> first_of(2, {"no_object": torch.tensor([True, False]), "zero_cam": torch.tensor([True, False])})
    (tensor([False,  True]), ['no_object', 'ok'])
    """
    status, valid = ["ok"] * count, torch.ones(count, dtype=torch.bool)
    for word, condition in reversed(conditions.items()):
        for row in condition.nonzero().flatten().tolist():
            status[row] = word
        valid &= ~condition.cpu()
    return valid, status
