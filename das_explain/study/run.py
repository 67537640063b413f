"""A study from its file to its page. Whatever is finished stays; what is missing is made."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from das_explain.checkpoint.config import WEIGHTS
from das_explain.files import write_json, write_text_whole
from das_explain.folders import inside, lock_folder, remove_parts, remove_written
from das_explain.report.tables import Table
from das_explain.study import figures, tables
from das_explain.study.folder import STUDY, SUMMARY, check_out
from das_explain.study.page import write_page
from das_explain.study.preflight import check_study
from das_explain.study.results import Results
from das_explain.study.run_units import Resources, Told, run_units
from das_explain.study.schema import Study
from das_explain.study.scoring import score_units
from das_explain.study.summary import summary
from das_explain.study.units import Unit, check_keep, check_units, drop_checkpoint, units_of
from das_explain.types import Progress, no_progress


@dataclass(frozen=True)
class Made:
    """What a study's folder holds now: the page, what was found, and the tables as they are shown."""

    page: Path
    results: Results
    shown: dict[str, Table]
    figures: list[Path]  # the PNGs; a PDF lies beside each


def nobody(unit: Unit, seconds: float) -> None:
    """Tells nobody of a finished unit."""


def run_study(
    study: Study,
    out: Path,
    *,
    command: Sequence[str],
    resources: Resources = Resources(),  # noqa: B008 - frozen
    keep: str = "last",
    device: str | None = None,
    batch: int = 16,
    workers: int | None = None,
    told: Told = nobody,
    progress: Progress = no_progress,
    asking: Progress = no_progress,
    scoring: Progress = no_progress,
    note: Callable[[str], None] = lambda _: None,
) -> Made:
    """Trains what is not trained, scores what is not scored, writes tables, figures, summary and page.

    Args:
        out: the study's folder; ``units/``, ``runs/``, ``tables/``, ``figures/`` and ``report/`` are in it.
        command: what the user typed.
        keep: of each unit: ``none`` of its weights once it is scored, ``last`` its weights, ``all`` also what training
            would go on from.
        told: of each unit that is finished; ``progress``: of photos
            explained, ``asking``: on which networks were asked about null maps; ``scoring``: of photos scored; ``note``: of what a data set has to say about itself.

    Raises:
        UsageError: an option that does not exist, a folder of something else.
        DasExplainError: a link in the folder leads out of it, a unit's folder holds another run, a unit cannot be trained,
            photos or masks cannot be used, another process is at the same study.
    """
    resources.check()
    check_keep(keep)
    units = units_of(study, out)
    before = check_out(study, units, out)
    check_units(units)
    check_study(study, units, out, note)
    with lock_folder(out):
        for name in ("", "tables", "figures"):
            remove_parts(inside(out, name))
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        said = {"study": study.to_dict(), "command": list(command), "created": created}
        write_json(out / STUDY, {**said, "figures": before})
        run_units(units, resources, keep, told)
        for unit in units:  # those that were finished before, perhaps with another --keep
            drop_checkpoint(unit, keep)
        runs = score_units(
            study, units, out, engine=resources.engine, device=device, batch=batch, workers=workers,
            progress=progress, asking=asking, scoring=scoring, note=note,
        )  # fmt: skip
        results = Results.read(study, units, runs, out)
        made = publish_results(results, command, created)
        drawn = [path.with_suffix(end).name for path in made.figures for end in (".png", ".pdf")]
        remove_written(inside(out, "figures"), set(before) - set(drawn))
        write_json(out / STUDY, {**said, "figures": drawn})
        if keep == "none":
            for unit in units:
                (unit.model / WEIGHTS).unlink(missing_ok=True)
    return made


def publish_results(results: Results, command: Sequence[str], created: str) -> Made:
    """Writes tables, figures, summary and page of what was found."""
    out = results.folder
    results.write(inside(out, "tables"))
    shown = shown_tables(results)
    drawn = figures.draw(results, inside(out, "figures"))
    write_text_whole(out / SUMMARY, summary(results, shown, drawn, command))
    page = write_page(results, shown, drawn, shlex.join(command), created)
    return Made(page, results, shown, drawn)


def shown_tables(results: Results) -> dict[str, Table]:
    """The tables of page and summary that have rows, in order."""
    found = {
        "outcome": tables.outcome(results),
        "differences": tables.differences(results),
        "lifts": tables.lifts(results),
        "readings": tables.readings(results),
        "variance": tables.variance(results),
        "correlations": tables.correlations(results),
        "measures": tables.measures(results),
        "others": tables.other_differences(results),
        "units": tables.units(results),
    }
    return {name: table for name, table in found.items() if table is not None}
