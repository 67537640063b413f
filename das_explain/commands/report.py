"""``das-explain report``: write a run's figures and report again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from das_explain.commands.say import say


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder: the --out of sfd.")],
    single_file: Annotated[
        bool, typer.Option("--single-file", help="One HTML file to mail, RUN/report.html, with up to 300 photos.")
    ] = False,
) -> None:
    """Write the figures and the HTML report of a run.

    Example: das-explain report runs/mine
    """
    from das_explain.commands.tables import print_tables
    from das_explain.evidence.run import Run
    from das_explain.report.publish import publish
    from das_explain.scoring.parts import default_processes
    from das_explain.scoring.run import score_run

    opened = Run.open(run)
    opened.lock()
    if not opened.is_scored:
        score_run(opened, processes=default_processes())
    print_tables(opened)
    say(f"report      {publish(opened, single_file=single_file)}")
