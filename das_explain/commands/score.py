"""``das-explain score``: a run's tables again, from its evidence, with other options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from das_explain.commands.common import comma_separated


def score(
    run: Annotated[Path, typer.Argument(help="The run's folder: the --out of sfd.")],
    threshold: Annotated[Optional[float], typer.Option(help="tau; as before unless given.")] = None,  # noqa: UP045
    scaling: Annotated[Optional[str], typer.Option(help="antilog, antilog-literal, exp, linear.")] = None,  # noqa: UP045
    box: Annotated[Optional[str], typer.Option(help="B: rect, region, or shared.")] = None,  # noqa: UP045
    measure: Annotated[Optional[str], typer.Option(help="Measures, separated by commas.")] = None,  # noqa: UP045
    nulls: Annotated[Optional[str], typer.Option(help="Nulls, separated by commas, or all.")] = None,  # noqa: UP045
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Another folder for the result; the run's own unless given."),
    ] = None,  # noqa: UP045
    report: Annotated[bool, typer.Option(help="Draw the figures and write the HTML report.")] = True,
) -> None:
    """Score a finished run again with other options: no network is run."""
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
        options = replace(options, measures=comma_separated(measure))
    if nulls is not None:
        options = replace(options, nulls=None if nulls == "all" else comma_separated(nulls))
    options = options.resolved()
    check_box(options, opened)
    if out is None:
        opened.lock()
    else:
        opened = opened.copy_to(out)
    score_and_publish(opened, options, report=report)
