"""The command line: one file per command, heavy imports inside the commands so that ``--help`` answers at once."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from das_explain import __version__
from das_explain.commands.cache import app as cache
from das_explain.commands.compare import compare
from das_explain.commands.demo import demo
from das_explain.commands.doctor import doctor
from das_explain.commands.evaluate import evaluate
from das_explain.commands.figure import figure
from das_explain.commands.gate import gate
from das_explain.commands.heatmap import heatmap
from das_explain.commands.help import Command, Group, Stopped
from das_explain.commands.models import app as models
from das_explain.commands.profile import profile
from das_explain.commands.report import report
from das_explain.commands.score import score
from das_explain.commands.segment import segment
from das_explain.commands.sfd import sfd
from das_explain.commands.study import study
from das_explain.commands.topics import help_page
from das_explain.commands.train import train
from das_explain.errors import DasExplainError

RESUMED = ("sfd", "demo", "segment", "train", "study")

app = typer.Typer(
    cls=Group,
    help="Shows whether an attention gate makes a CNN look at the object: maps, sfd score, comparison.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
COMMANDS = (
    *(heatmap, sfd, score, compare, report, figure, segment, gate),
    *(demo, train, study, evaluate, profile, doctor),
)
for command in COMMANDS:
    app.command(cls=Command)(command)
app.command("help", cls=Command)(help_page)
app.add_typer(models, name="models")
app.add_typer(cache, name="cache")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"das-explain {__version__}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """What stands before the command."""


def main() -> None:
    """Entry point: a user's mistake is one line on stderr and exit code 2 (usage) or 1, without a traceback."""
    os.environ["MPLBACKEND"] = "agg"  # figures go into files, whatever a notebook or a desktop has set
    try:
        app()
    except (Stopped, KeyboardInterrupt):
        goes_on = "; the same command continues where it was" if set(sys.argv[1:2]) & set(RESUMED) else ""
        print(f"das-explain: stopped{goes_on}", file=sys.stderr)
        sys.exit(Stopped.exit_code)
    except DasExplainError as error:
        print(f"das-explain: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:  # the disk is full, a folder is gone: no fault of the program's
        if error.filename is None and error.strerror is None:
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"das-explain: {where}{error.strerror}", file=sys.stderr)
        sys.exit(1)
