"""Tables and figures of a run are made beside those that are there and take their place together."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from das_explain.errors import DasExplainError
from das_explain.evidence.ownership import figure_names
from das_explain.evidence.run import Run
from das_explain.evidence.tables import TABLES
from das_explain.files import part_of
from das_explain.folders import remove_written


@contextmanager
def new_tables(run: Run) -> Iterator[Path]:
    """A folder to write tables into, which take the place of all that were there when it is left without an error.

    From the first to the last step of that ``run.json`` says nothing of ``scored``: whoever finds it so scores anew.
    """
    with _staged(run, "tables") as folder:
        yield folder
        run.manifest.pop("scored", None)
        run.save_manifest()
        made = {path.name for path in folder.iterdir()}
        for name in (f"{table}.csv" for table in TABLES if table != "sample"):
            if name in made:
                os.replace(folder / name, run.path(name))
            else:
                remove_written(run.folder, [name])


@contextmanager
def new_figures(run: Run) -> Iterator[Path]:
    """A folder to draw into; its files are among the run's figures when it is left without an error.

    Raises DasExplainError where a file of such a name is there that the run did not draw.
    """
    with _staged(run, "figures") as folder:
        yield folder
        before, made = figure_names(run.manifest), sorted(path.name for path in folder.iterdir())
        target = run.path("figures")
        target.mkdir(exist_ok=True)
        if foreign := [name for name in made if name not in before and (target / name).exists()]:
            raise DasExplainError(f"{target / foreign[0]} is not of this run: move it elsewhere and report again")
        _record(run, sorted({*before, *made}))  # first the names, then the files: what is there is known to be ours
        for name in made:
            os.replace(folder / name, run.path(f"figures/{name}"))


def _record(run: Run, figures: list[str]) -> None:
    if run.manifest.get("figures") != figures:
        run.manifest["figures"] = figures
        run.save_manifest()


@contextmanager
def _staged(run: Run, name: str) -> Iterator[Path]:
    folder = part_of(run.folder / name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
