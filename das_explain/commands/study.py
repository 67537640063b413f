"""``das-explain study``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from das_explain.commands.help import RUNNING
from das_explain.commands.options import Running, Without, takes_options
from das_explain.commands.say import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from das_explain.study.run import Made
    from das_explain.study.run_units import Resources
    from das_explain.study.schema import Study
    from das_explain.study.units import Unit


@takes_options
def study(
    path: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="Designs, copies, recipe, photos to score on.")],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The study's folder. The same command goes on where it was cut off.")
    ],
    running: Annotated[Running, Without("overwrite")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="What the study needs, such as photos=FOLDER, or a setting of every design's recipe, such as "
            "schedule.epochs=4. Repeat it for more; none unless given.",
        ),
    ] = None,
    copies: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Trained copies of each design; the study's unless given.")
    ] = None,
    keep: Annotated[
        str,
        typer.Option(
            metavar="none|last|all",
            help="Of each copy: none of its weights once it is scored, its last weights, or also what training goes on "
            "from.",
        ),
    ] = "last",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Time a few steps, print units, time and disk, and make nothing.")
    ] = False,
    publish: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Afterwards copy summary, tables, figures and cards there, without weights and photos; not unless given.",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(metavar="local|ray", rich_help_panel=RUNNING, help="Units on this machine, or as Ray's tasks."),
    ] = "local",
    jobs: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", rich_help_panel=RUNNING, help="Units at once here; they share the processors."
        ),
    ] = 1,
    unit_cpus: Annotated[
        float, typer.Option(min=0.1, metavar="N", rich_help_panel=RUNNING, help="Processors of a unit on Ray.")
    ] = 1,
    unit_gpus: Annotated[
        float, typer.Option(min=0, metavar="N", rich_help_panel=RUNNING, help="GPUs of a unit on Ray.")
    ] = 0,
) -> None:
    """Train several copies of each design, score them all, and say what holds of the designs, on one page.

    Example: das-explain study studies/collage.yaml --out runs/collage --jobs 2
    """
    import shlex
    import sys

    from das_explain.commands.common import progress_bars
    from das_explain.study.schema import load_study

    loaded, given = load_study(path, settings or (), copies)
    from das_explain.study.run import run_study
    from das_explain.study.run_units import Resources
    from das_explain.study.units import check_keep, units_of

    check_keep(keep)
    resources = Resources(engine, jobs, unit_cpus, unit_gpus)
    if dry_run:
        _print_plan(loaded, out, resources, keep)
        return
    command = ["das-explain", *sys.argv[1:]]
    told = _Told(units := units_of(loaded, out))
    with progress_bars("images", "images with blind maps", "scored") as (progress, asking, scoring):
        made = run_study(
            loaded,
            out,
            command=command,
            resources=resources,
            keep=keep,
            device=running.device,
            batch=running.photos_at_once,
            workers=running.workers,
            told=told,
            progress=progress,
            asking=asking,
            scoring=scoring,
            note=told.note,
        )
    _print_outcome(made)
    if publish is not None:
        from das_explain.study.publish import publish as copy_to

        say(f"published   {copy_to(out, units, made.figures, publish, given)}")
    say(f"page        {made.page}")
    say(f"again       {shlex.join(command)}")


class _Told:
    """A line for each unit that is finished; what data has to say about itself once, however many use it."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self.units, self.notes = units, set[str]()

    def __call__(self, unit: Unit, seconds: float) -> None:
        from das_explain.study.units import training_of
        from das_explain.train.card import clock

        for line in training_of(unit).get("notes") or ():
            self.note(str(line))
        done = sum(each.finished for each in self.units)
        say(f"trained     {unit.name} in {clock(seconds)} ({done} of {len(self.units)})")

    def note(self, line: str) -> None:
        """A line that was not said before."""
        if line not in self.notes:
            self.notes.add(line)
            say(f"note        {line}")


def _print_plan(study: Study, out: Path, resources: Resources, keep: str) -> None:
    """Units, time and disk, from a timed probe."""
    from das_explain.commands.tables import print_table
    from das_explain.study.folder import check_places
    from das_explain.study.preflight import check_study
    from das_explain.study.probe import estimates, probe
    from das_explain.study.scoring import is_scored
    from das_explain.study.units import check_units, units_of
    from das_explain.train.card import clock

    resources.check()
    units, jobs = units_of(study, out), resources.jobs
    check_places(study, units, out)
    check_units(units)
    check_study(study, units, out, lambda line: say(f"note        {line}"))
    scored = [name for name in study.data if is_scored(study, units, name, out)]
    costs = probe(study, units)
    lines = estimates(study, units, costs, keep, scored)
    rows = [
        (line.what, f"{line.done} of {line.count}", clock(line.seconds), clock(line.left), _size(line.bytes))
        for line in lines
    ]
    print_table(("what", "done", "time of one", "time left", "disk"), rows, title=study.name)
    left, most = sum(line.left for line in lines), max(cost.checkpoint for cost in costs.values())
    say(
        f"time left   {clock(left)}, timed one at a time with all processors; several at once (--jobs) may be quicker; tables and figures come on top"
    )
    say(f"disk        {_size(sum(line.bytes for line in lines))}, and {_size(jobs * most)} while {jobs} train")


def _print_outcome(made: Made) -> None:
    from das_explain.commands.tables import print_table
    from das_explain.study.words import sentences

    if table := made.shown.get("outcome"):
        rows = [[f"{cell.text} {cell.interval}".strip() for cell in row.cells] for row in table.rows]
        print_table([column.head for column in table.columns], rows, title=table.title)
    for line in sentences(made.results):
        say(f"verdict     {line}")


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
