"""How evidence is scored. None of it is part of a run's identity: another choice takes seconds, and no network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from das_explain.errors import UsageError
from das_explain.measures import MEASURES, MeasureOptions
from das_explain.measures.sfd import BOXES, SCALINGS
from das_explain.nulls import NULLS
from das_explain.stats.sensitivity import DEFAULT_READING

ALL = "all"


@dataclass(frozen=True)
class ScoreOptions:
    """``threshold``, ``scaling`` and ``box`` as in ``measures.MeasureOptions``.

    ``measures`` and ``nulls`` are names; ``all`` stands for all (of the measures those that need no network).
    ``readings``: whether sfd is read in every way that it may be. ``tolerance``: pixels by which the pointing game's
    point may miss R (15 in Zhang et al.). ``baseline``: the model that all others are compared with; ``None``: every two
    are. ``pairs``: whether models are compared at all, or only the designs that they are copies of; ``designs``: whether
    these have their tables even where each has one copy only.
    """

    threshold: float = 0.3
    scaling: str = "antilog"
    box: str = "rect"
    measures: tuple[str, ...] = (ALL,)
    nulls: tuple[str, ...] = ("shuffled", "centre", "uniform")
    readings: bool = True
    baseline: str | None = None
    pairs: bool = True
    tolerance: float = 0.0
    designs: bool = False

    def resolved(self) -> ScoreOptions:
        """The same with every name spelled out. Raises UsageError for what does not exist."""
        every = [name for name, measure in MEASURES.items() if not measure.needs_network]
        # The score of the main table is always there.
        measures = ("sfd", *(each for name in self.measures for each in (every if name == ALL else [name])))
        nulls = [each for name in self.nulls for each in (NULLS if name == ALL else [name])]
        for name, value, known in (
            ("--scaling", self.scaling, SCALINGS),
            ("--box", self.box, (*BOXES, "shared")),
            *(("--measure", each, MEASURES) for each in measures),
            *(("--nulls", each, NULLS) for each in nulls),
        ):
            if value not in known:
                raise UsageError(f"{name} {value!r} is unknown; choose among {', '.join(known)}")
        if not 0 <= self.tolerance < math.inf:
            raise UsageError(f"--tolerance is in pixels, 0 or more, not {self.tolerance}")
        if not 0 < self.threshold <= 1:
            raise UsageError(f"--threshold must lie in (0, 1], not {self.threshold}")
        return replace(self, measures=tuple(dict.fromkeys(measures)), nulls=tuple(dict.fromkeys(nulls)))

    @property
    def network_measures(self) -> tuple[str, ...]:
        """Those of the measures that have to be taken while the networks are at hand."""
        return tuple(name for name in self.measures if MEASURES[name].needs_network)

    @property
    def reading(self) -> dict[str, Any]:
        """The choices that make this reading of sfd among those of readings.csv."""
        return {**DEFAULT_READING, "scaling": self.scaling, "threshold": self.threshold, "box": self.box}

    def for_measures(self) -> MeasureOptions:
        """What a measure is told."""
        return MeasureOptions(
            threshold=self.threshold, scaling=self.scaling, box=self.box, tolerance=self.tolerance, distances=False
        )

    def to_json(self) -> dict[str, Any]:
        """For ``run.json``; ``from_json`` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ScoreOptions:
        """The options a run was scored with. Raises UsageError if they are none."""
        try:
            names = {name: tuple(map(str, values[name])) for name in ("measures", "nulls")}
            baseline = values.get("baseline")
            return cls(
                float(values["threshold"]),
                str(values["scaling"]),
                str(values["box"]),
                **names,
                readings=bool(values.get("readings", True)),
                baseline=None if baseline is None else str(baseline),
                pairs=bool(values.get("pairs", True)),
                tolerance=float(values.get("tolerance", 0.0)),
                designs=bool(values.get("designs", False)),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            raise UsageError(
                "run.json does not say how the run was scored: take scoring out of it, and score the run anew"
            ) from None
