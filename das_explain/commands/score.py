"""``das-explain score``: a run's tables again, from its evidence, with other options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from das_explain.commands.help import SCORING
from das_explain.commands.options import comma_separated


def score(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder: the --out of sfd.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Another folder for the result; the run's own unless given."),
    ] = None,
    report: Annotated[bool, typer.Option(help="Draw the figures and write the HTML report.")] = True,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="TAU", rich_help_panel=SCORING, help="Pixels of at least this weight belong to B."),
    ] = None,
    scaling: Annotated[
        str | None, typer.Option(metavar="NAME", rich_help_panel=SCORING, help="antilog, antilog-literal, exp, linear.")
    ] = None,
    box: Annotated[
        str | None, typer.Option(metavar="NAME", rich_help_panel=SCORING, help="B: rect, region, or shared.")
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option(metavar="all|NAME,NAME", rich_help_panel=SCORING, help="What is measured, beside sfd."),
    ] = None,
    nulls: Annotated[
        str | None,
        typer.Option(
            metavar="all|NAME,NAME", rich_help_panel=SCORING, help="Maps blind to the photo, to compare with."
        ),
    ] = None,
) -> None:
    """Score a finished run again, from its evidence: no network runs. What is not given is as it was before.

    Example: das-explain score runs/mine --threshold 0.5 --out runs/mine-0.5
    """
    from dataclasses import replace

    from das_explain.commands.common import score_and_publish
    from das_explain.evidence.run import Run
    from das_explain.scoring.options import ScoreOptions
    from das_explain.scoring.run import check_box

    opened = Run.open(run)
    before = opened.manifest.get("scoring")
    options = ScoreOptions.from_json(before) if before else ScoreOptions()
    given = {"threshold": threshold, "scaling": scaling, "box": box}
    options = replace(options, **{name: value for name, value in given.items() if value is not None})
    if measure is not None:
        options = replace(options, measures=None if measure == "all" else comma_separated(measure))
    if nulls is not None:
        options = replace(options, nulls=None if nulls == "all" else comma_separated(nulls))
    options = options.resolved()
    check_box(options, opened)
    if out is None:
        opened.lock()
    else:
        opened = opened.copy_to(out)
    score_and_publish(opened, options, report=report)
