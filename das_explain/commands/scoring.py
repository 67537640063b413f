"""How maps are scored: the options of every command that scores, see ``options``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from das_explain.commands.help import SCORING
from das_explain.commands.options import comma_separated

if TYPE_CHECKING:
    from das_explain.scoring.options import ScoreOptions


ScoreOn = Annotated[
    str,
    typer.Option(
        "--score-on", metavar="NAME", rich_help_panel=SCORING, help="Where: cpu (the same digits everywhere) or cuda."
    ),
]
"""Where maps are scored, which is no choice of how."""


@dataclass(frozen=True)
class Scoring:
    """How maps are scored."""

    threshold: Annotated[
        float,
        typer.Option(metavar="TAU", rich_help_panel=SCORING, help="Pixels of at least this weight belong to B."),
    ] = 0.3
    scaling: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=SCORING,
            help="antilog (10^w - 1), antilog-literal (10^w), exp or linear.",
        ),
    ] = "antilog"
    box: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=SCORING,
            help="B: rect, region, or shared (one rectangle for all).",
        ),
    ] = "rect"
    measure: Annotated[
        str,
        typer.Option(
            metavar="all|NAME,NAME",
            rich_help_panel=SCORING,
            help="What is measured on the maps, beside sfd (das-explain help measures lists them).",
        ),
    ] = "all"
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="PIXELS",
            rich_help_panel=SCORING,
            help="By how much the pointing game's point may miss the object; 15 in its paper.",
        ),
    ] = 0.0
    nulls: Annotated[
        str,
        typer.Option(
            metavar="all|NAME,NAME",
            rich_help_panel=SCORING,
            help="Maps that are blind to the photo, to compare with.",
        ),
    ] = "shuffled,centre,uniform"
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=SCORING,
            help="Compare all other models with this one only; every two unless given.",
        ),
    ] = None
    readings: Annotated[
        bool, typer.Option(rich_help_panel=SCORING, help="Read sfd in every way that it may be (readings.csv).")
    ] = True
    pairs: Annotated[
        bool,
        typer.Option(
            rich_help_panel=SCORING,
            help="Compare models with each other; --no-pairs: only the designs that they are copies of.",
        ),
    ] = True

    def options(self) -> ScoreOptions:
        """The same for the scoring room, names checked. Raises ``UsageError``."""
        return score_options(asdict(self))


def score_options(given: Mapping[str, Any], before: ScoreOptions | None = None) -> ScoreOptions:
    """Flags of ``Scoring`` as options of the scoring room; what is not given is as ``before``. Raises ``UsageError``."""
    from das_explain.scoring.options import ScoreOptions

    changed = dict(given)
    if "baseline" in given:
        changed["baseline"] = given["baseline"] or None  # --baseline "" takes one back
    for flag, name in (("measure", "measures"), ("nulls", "nulls")):
        if flag in given:
            changed.pop(flag)
            changed[name] = comma_separated(given[flag])
    return replace(before or ScoreOptions(), **changed).resolved()
