"""What can be said of a map and a mask: one file per measure, and one line in ``MEASURES``.

A measure is data (name, bounds, direction) and a function of a batch. Tables, statistics, figures and the report take
any measure; none of them knows one by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class MeasureOptions:
    """How maps are scored: no part of a run's identity, since evidence can be scored again.

    ``threshold``, ``scaling`` and ``box`` are those of ``sfd.sfd_score``; ``box`` may also be ``shared``: one rectangle
    for all models of a block, around R and the salient pixels of every one of them, which whoever calls gives in
    ``shared``, bool (N, H, W).
    """

    threshold: float = 0.3
    scaling: str = "antilog"
    box: str = "rect"
    shared: Tensor | None = None


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
    """

    name: str
    needs_network: bool
    bounds: tuple[float, float]
    higher_is_better: bool
    compute: Callable[..., Measured]
    title: str = field(default="")


MEASURES: dict[str, Measure] = {}


def register(measure: Measure) -> Measure:
    """Adds a measure under its name; returns it."""
    MEASURES[measure.name] = measure
    return measure
