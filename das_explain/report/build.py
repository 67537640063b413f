"""Writes a run's report: a folder that opens from disk, can be zipped and mailed, and asks for nothing from outside.

The new report is made beside the old one and then takes its place: a failure half-way leaves the old one whole.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from das_explain.errors import DasExplainError
from das_explain.evidence.ownership import figure_names, is_page
from das_explain.evidence.run import Run
from das_explain.files import is_regular, write_text_whole
from das_explain.folders import replace_folder
from das_explain.report import doubts, pairs
from das_explain.report.gallery import LIMIT, Gallery
from das_explain.report.page import all_tables, page
from das_explain.report.payload import dump_js
from das_explain.report.results import OPTIONAL, Results
from das_explain.report.single import as_one_file

HERE = Path(__file__).parent
SMALL_TABLES = ("summary", *(name for name in OPTIONAL if name != "readings"))  # copied beside the page
SINGLE_LIMIT = 300  # images of a report in one file
SCRIPTS = (
    "base",
    "state",
    "maps",
    "reading",
    "card",
    "gallery",
    "scatter",
    "curve",
    "pairs",
    "viewer",
    "tables",
    "main",
)


def build_report(run_dir: Path) -> Path:
    """Write RUN/report/ (``index.html``, ``data.js``, ``pairs.js``, ``report.js``, ``report.css``, ``images/``,
    ``files/``).

    Reads run.json, the evidence (shard by shard), scores.csv, summary.csv and, if they are there, the other tables.
    Small tables and figures are copied to ``files/``, so that links work wherever the folder goes. A report that was
    there before is replaced as a whole. Returns the path of ``index.html``.

    Raises DasExplainError, on one line, for a missing or broken run folder or a disk that cannot be written.
    """
    results = Results.read(Run.open(run_dir))
    target = results.run.path("report")
    figures = figure_names(results.manifest)
    if target.is_dir() and any(target.iterdir()) and not _is_report(target / "data.js"):
        raise DasExplainError(f"{target} exists and is no report: move it away, then build the report again")
    with writing(target), replace_folder(target, lambda name: is_page(name, figures)) as staging:
        files = _copy_files(results.run, staging / "files")
        _write(results, staging, LIMIT, files)
    return target / "index.html"


def build_single_file(run_dir: Path) -> Path:
    """Write RUN/report.html: the same page in one file, with up to ``SINGLE_LIMIT`` images. Returns its path.

    Raises DasExplainError as ``build_report`` does.
    """
    results = Results.read(Run.open(run_dir))
    target = results.run.path("report.html")
    if target.exists() and not _is_report(target):
        raise DasExplainError(f"{target} exists and is no report: move it away, then build the report again")
    with writing(target), tempfile.TemporaryDirectory() as folder:
        _write(results, Path(folder), SINGLE_LIMIT, [])
        write_text_whole(target, as_one_file(Path(folder)))
    return target


def _write(results: Results, folder: Path, limit: int, files: list[str]) -> None:
    """All of a report but ``files/``, into an empty folder."""
    images = folder / "images"
    images.mkdir()
    counts = Gallery(results, images, limit).write(folder / "data.js")
    tables, curves = all_tables(results), doubts.curves(results)
    rows = pairs.by_pair(results, filter(None, tables.values()))
    if rows or curves:
        (folder / "pairs.js").write_text(
            f"DAS.byPair = {dump_js({'rows': rows, **(curves or {})})};\n", encoding="ascii"
        )
    scripts = [(HERE / "js" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    (folder / "report.js").write_text('"use strict";\n(() => {\n' + "\n".join(scripts) + "})();\n", encoding="utf-8")
    shutil.copyfile(HERE / "report.css", folder / "report.css")
    (folder / "index.html").write_bytes(
        page(results, counts, files, tables, curves=bool(curves)).encode("utf-8", "replace")
    )


def _copy_files(run: Run, folder: Path) -> list[str]:
    """Copies the small tables and the figures of a run into a new folder; their names, in order."""
    names = [f"{name}.csv" for name in SMALL_TABLES] + [f"figures/{name}" for name in figure_names(run.manifest)]
    found = [path for path in map(run.path, names) if is_regular(path)]
    if found:
        folder.mkdir()
    for path in found:
        shutil.copyfile(path, folder / path.name)
    return [path.name for path in found]


def _is_report(path: Path) -> bool:
    """Whether a file holds a report's data: nobody else's page is ever replaced."""
    return is_regular(path) and b"window.DAS = {" in path.read_bytes()


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """What the disk refuses, said on one line."""
    try:
        yield
    except OSError as error:
        raise DasExplainError(f"{target} cannot be written: {error.strerror or error}") from error
