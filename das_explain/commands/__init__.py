"""The command line: one file per command, heavy imports inside the commands so that ``--help`` answers at once."""

from __future__ import annotations

import atexit
import errno
import gc
import io
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
from das_explain.commands.help import Command, Group
from das_explain.commands.models import app as models
from das_explain.commands.profile import profile
from das_explain.commands.report import report
from das_explain.commands.say import say
from das_explain.commands.score import score
from das_explain.commands.segment import segment
from das_explain.commands.sfd import sfd
from das_explain.commands.study import study
from das_explain.commands.topics import help_page
from das_explain.commands.train import train
from das_explain.errors import LONGEST, DasExplainError, one_line
from das_explain.signals import Stopped, exit_status, heard_signals, ignore_signals, was_asked_to_stop
from das_explain.text import cut_middle, spelled

_CONTINUED = "what is done is kept: the same command goes on from there"
_AS_BEFORE = "tables and report are as they were: the same command makes them anew"
_SO_FAR = "the figures and tables so far are in --out: the same command makes all of them anew"
GOES_ON = {
    **dict.fromkeys(("sfd", "demo", "segment", "train", "evaluate", "study"), _CONTINUED),
    **dict.fromkeys(("score", "compare", "report"), _AS_BEFORE),
    **dict.fromkeys(("heatmap", "gate"), _SO_FAR),
}
"""What becomes of a command that was stopped."""
EXIT_STATUSES = {
    0: "done; images that could not be read are named with their reasons",
    1: "failed: a broken file, a full disk, not one image that could be read",
    2: "wrong request: a path that is not there, an --out that cannot be written, an unknown option or name",
    130: "stopped by Ctrl-C",
    143: "stopped by SIGTERM",
}
"""What every command ends with."""

app = typer.Typer(
    cls=Group,
    help="Shows whether an attention gate makes a CNN look at the object: maps, sfd score, comparison.\n\n"
    "Exit status of every command: "
    + "; ".join(f"{status} {meaning}" for status, meaning in EXIT_STATUSES.items())
    + ".\n\nExample: das-explain demo",
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
        say(f"das-explain {__version__}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """What stands before the command."""
    import logging  # which help does without

    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells where it keeps its cache


def main() -> None:
    """Entry point of a process: what holds for all of it, and `run_command`."""
    # By default a seventh of a start is spent on looking through what libraries have just made.
    gc.set_threshold(50_000, 20, 20)
    os.environ["MPLBACKEND"] = "agg"  # figures go into files, whatever a notebook or a desktop has set
    atexit.register(ignore_signals)
    try:
        run_command()
    finally:
        gc.freeze()  # else half a second of every command goes by while modules are taken apart that end with it


def run_command() -> None:
    """What ``sys.argv`` asks for: whatever ends it is one line on stderr and a status of ``EXIT_STATUSES``, without a
    traceback."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal has no letters for is spelt out
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        os.getcwd()
    except FileNotFoundError:  # where there is none, torch's libraries end the process
        _end("the folder that you are in is no longer there: change to another", 2)
    try:
        with heard_signals():
            app()
    except BrokenPipeError:
        sys.exit(1)
    except (Stopped, Exception) as error:
        line, status = _told(error)
        if was_asked_to_stop() and status != exit_status():  # nothing better is said: libraries make other errors of it
            goes_on = GOES_ON.get(next((word for word in sys.argv[1:2]), ""), "")
            _end(f"stopped{goes_on and f'; {goes_on}'}", exit_status())
        if not line:
            raise
        _end(line, status)


def _told(error: BaseException) -> tuple[str, int]:
    """What is said of an error, and the status; no line of what nobody foresaw."""
    if isinstance(error, DasExplainError):
        return one_line(error), error.exit_code
    if isinstance(error, OSError) and (error.filename is not None or error.strerror is not None):
        # The disk is full, a folder is gone: no fault of the program's. A name that is too long is no path that could be there.
        where = "" if error.filename is None else f"{cut_middle(str(error.filename), LONGEST)}: "
        return f"{where}{error.strerror}", 2 if error.errno == errno.ENAMETOOLONG else 1
    return "", 1


def _end(sentence: str, status: int) -> None:
    print(f"das-explain: {spelled(sentence, backslash=False)}", file=sys.stderr)  # noqa: T201
    sys.exit(status)
