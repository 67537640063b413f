"""``das-explain compare``: runs that were made apart, as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from das_explain.commands.options import Given, takes_options
from das_explain.commands.scoring import ScoreOn, Scoring, score_options


@takes_options
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="The runs' folders: each the --out of sfd.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the joined run.")],
    scoring: Annotated[dict[str, Any], Given(Scoring, "as the first run")],
    score_on: ScoreOn = "cpu",
    report: Annotated[bool, typer.Option(help="Draw the figures and write the HTML report.")] = True,
) -> None:
    """Compare models of runs made apart, on another day or machine: same data, sample, masks and options. Models of one
    name are copies of one design, as in sfd.

    Example: das-explain compare runs/monday runs/tuesday --out runs/both --baseline plain
    """
    from das_explain.commands.common import score_and_publish
    from das_explain.devices import check_device
    from das_explain.evidence.join import join_runs
    from das_explain.evidence.run import Run
    from das_explain.folders import check_folder
    from das_explain.scoring.options import ScoreOptions
    from das_explain.scoring.run import check_options

    check_folder(out)
    check_device(score_on)
    opened = [Run.open(run) for run in runs]
    before = opened[0].manifest.get("scoring")
    options = score_options(scoring, ScoreOptions.from_json(before) if before else None)
    joined = join_runs(opened, out, lambda run: check_options(options, run))
    score_and_publish(joined, options, report=report, score_on=score_on)
