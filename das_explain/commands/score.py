"""``das-explain score``: a run's tables again, from its evidence, with other options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from das_explain.commands.options import Given, takes_options
from das_explain.commands.scoring import ScoreOn, Scoring, score_options


@takes_options
def score(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder: the --out of sfd.")],
    scoring: Annotated[dict[str, Any], Given(Scoring, "as before")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Another folder for the result; the run's own unless given."),
    ] = None,
    score_on: ScoreOn = "cpu",
    report: Annotated[bool, typer.Option(help="Draw the figures and write the HTML report.")] = True,
) -> None:
    """Score a finished run again, from its evidence: no network runs. What is not given is as it was before.

    Example: das-explain score runs/mine --threshold 0.5 --out runs/mine-0.5
    """
    from das_explain.commands.common import score_and_publish
    from das_explain.devices import check_device
    from das_explain.evidence.run import Run
    from das_explain.folders import check_folder
    from das_explain.scoring.options import ScoreOptions
    from das_explain.scoring.run import check_options

    check_device(score_on)
    opened = Run.open(run)
    before = opened.manifest.get("scoring")
    options = score_options(scoring, ScoreOptions.from_json(before) if before else None)
    check_options(options, opened)
    if out is not None:
        check_folder(out)
    if out is None:
        opened.lock()
    else:
        opened = opened.copy_to(out)
    score_and_publish(opened, options, report=report, score_on=score_on)
