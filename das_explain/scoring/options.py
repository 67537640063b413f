"""How evidence is scored. None of it is part of a run's identity: another choice takes seconds, and no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from das_explain.errors import UsageError
from das_explain.measures import MEASURES, MeasureOptions
from das_explain.measures.sfd import BOXES, SCALINGS
from das_explain.nulls import NULLS


@dataclass(frozen=True)
class ScoreOptions:
    """``measures`` and ``nulls`` are names; ``None``: all that need no network, and all.

    ``threshold``, ``scaling`` and ``box`` as in ``measures.MeasureOptions``.
    """

    threshold: float = 0.3
    scaling: str = "antilog"
    box: str = "rect"
    measures: tuple[str, ...] | None = None
    nulls: tuple[str, ...] | None = None

    def resolved(self) -> ScoreOptions:
        """The same with every name spelled out. Raises UsageError for what does not exist."""
        for name, value, known in (
            ("--scaling", self.scaling, SCALINGS),
            ("--box", self.box, (*BOXES, "shared")),
            *(("--measure", each, MEASURES) for each in self.measures or ()),
            *(("--nulls", each, NULLS) for each in self.nulls or ()),
        ):
            if value not in known:
                raise UsageError(f"{name} {value!r} is unknown; choose among {', '.join(known)}")
        if not 0 < self.threshold <= 1:
            raise UsageError(f"--threshold must lie in (0, 1], not {self.threshold}")
        measures = self.measures
        if measures is None:
            measures = tuple(name for name, measure in MEASURES.items() if not measure.needs_network)
        measures = tuple(dict.fromkeys(("sfd", *measures)))  # the score of the main table is always there
        nulls = tuple(NULLS) if self.nulls is None else tuple(dict.fromkeys(self.nulls))
        return ScoreOptions(self.threshold, self.scaling, self.box, measures, nulls)

    def for_measures(self) -> MeasureOptions:
        """What a measure is told."""
        return MeasureOptions(threshold=self.threshold, scaling=self.scaling, box=self.box)

    def to_json(self) -> dict[str, Any]:
        """For ``run.json``; ``from_json`` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ScoreOptions:
        """The options a run was scored with. Raises UsageError if they are none."""
        try:
            names = {name: tuple(map(str, values[name])) for name in ("measures", "nulls")}
            return cls(float(values["threshold"]), str(values["scaling"]), str(values["box"]), **names)
        except (KeyError, TypeError, ValueError):
            raise UsageError("run.json does not say how the run was scored: give the options") from None
