"""Writes a run's report: a folder that opens from disk, can be zipped and mailed, and asks for nothing from outside.

The new report is made beside the old one and then takes its place: a failure half-way leaves the old one whole.
"""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from das_explain.errors import DasExplainError
from das_explain.evidence.run import Run
from das_explain.evidence.tables import TABLES
from das_explain.files import write_text_whole
from das_explain.report import charts, details, outcome, words
from das_explain.report.gallery import LIMIT, Gallery, GalleryCounts
from das_explain.report.payload import colour_table
from das_explain.report.results import Results
from das_explain.report.single import as_one_file
from das_explain.text import cut_middle, plural

HERE = Path(__file__).parent
SMALL_TABLES = ("summary", "comparison", "designs", "lift")
SINGLE_LIMIT = 300  # images of a report in one file
SCRIPTS = ("base", "state", "maps", "reading", "card", "gallery", "scatter", "viewer", "tables", "main")


def build_report(run_dir: Path) -> Path:
    """Write RUN/report/ (``index.html``, ``data.js``, ``report.js``, ``report.css``, ``images/``, ``files/``).

    Reads run.json, the evidence (shard by shard), scores.csv, summary.csv and, if they are there, the other tables.
    Small tables and figures are copied to ``files/``, so that links work wherever the folder goes. A report that was
    there before is replaced as a whole. Returns the path of ``index.html``.

    Raises DasExplainError, on one line, for a missing or broken run folder or a disk that cannot be written.
    """
    results = Results.read(Run.open(run_dir))
    target = results.run.folder / "report"
    if target.is_dir() and any(target.iterdir()) and not (target / "index.html").is_file():
        raise DasExplainError(f"{target} exists and is no report: move it away, then build the report again")
    with _writing(target), _staged(target) as staging:
        files = _copy_files(results.run.folder, staging / "files")
        _write(results, staging, LIMIT, files)
    return target / "index.html"


def build_single_file(run_dir: Path) -> Path:
    """Write RUN/report.html: the same page in one file, with up to ``SINGLE_LIMIT`` images. Returns its path.

    Raises DasExplainError as ``build_report`` does.
    """
    results = Results.read(Run.open(run_dir))
    target = results.run.folder / "report.html"
    with _writing(target), tempfile.TemporaryDirectory() as folder:
        _write(results, Path(folder), SINGLE_LIMIT, [])
        write_text_whole(target, as_one_file(Path(folder)))
    return target


def _write(results: Results, folder: Path, limit: int, files: list[str]) -> None:
    """All of a report but ``files/``, into an empty folder."""
    images = folder / "images"
    images.mkdir()
    counts = Gallery(results, images, limit).write(folder / "data.js")
    scripts = [(HERE / "js" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    (folder / "report.js").write_text('"use strict";\n(() => {\n' + "\n".join(scripts) + "})();\n", encoding="utf-8")
    shutil.copyfile(HERE / "report.css", folder / "report.css")
    (folder / "index.html").write_bytes(_page(results, counts, files).encode("utf-8", "replace"))


def _copy_files(run: Path, folder: Path) -> list[str]:
    """Copies the small tables and the figures of a run into a new folder; their names, in order."""
    tables = [run / f"{name}.csv" for name in SMALL_TABLES]
    figures = sorted(path for path in (run / "figures").glob("*") if path.suffix in (".png", ".pdf", ".svg"))
    found = [path for path in [*tables, *figures] if path.is_file() and not path.is_symlink()]
    if found:
        folder.mkdir()
    for path in found:
        shutil.copyfile(path, folder / path.name)
    return [path.name for path in found]


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DasExplainError(f"{target} cannot be written: {error.strerror or error}") from error


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """An empty folder beside ``target`` that takes its place on success and vanishes on failure."""
    fresh, old = target.with_name(".report.new"), target.with_name(".report.old")
    _remove(fresh)
    _remove(old)
    fresh.mkdir()
    try:
        yield fresh
        if target.is_symlink() or target.exists():
            target.rename(old)
        try:
            fresh.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    """Remove a folder, a file or a link (never what it points to), if there is one."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _page(results: Results, counts: GalleryCounts, files: list[str]) -> str:
    """``index.html``: everything a reader without JavaScript gets, and the places that scripts fill."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=words.number,
        signed=words.signed,
        whole=lambda value: words.number(value, 0),
        p=words.p_text,
        percent=words.percent,
        plural=plural,
        join_names=words.join,
        cut=cut_middle,
    )
    blind = outcome.lifts(results)
    pairs = set(zip(results.comparison["model_a"], results.comparison["model_b"], strict=True))
    first, second = pairs.pop() if len(pairs) == 1 else (None, None)
    folder = results.run.folder
    return environment.get_template("index.html.j2").render(
        results=results,
        manifest=results.manifest,
        folder=shlex.quote(str(folder)),
        counts=counts,
        created=words.moment(results.manifest.get("created")),
        verdict=outcome.verdict(results),
        findings=outcome.findings(results, blind),
        claims=outcome.claims(results),
        settings=outcome.settings(results),
        assumptions=results.assumptions(),
        statuses=outcome.status_counts(results),
        finds="sam" in str(results.section("segmenter").get("name")),
        accuracy=outcome.accuracy(results),
        first=first,
        second=second,
        comparison=list(zip(results.comparison.to_dict("records"), charts.intervals(results), strict=True)),
        summary=_summary(results),
        blind=blind,
        nulls=[null for null in words.NULLS if any(key[2] == null for key in blind)],
        null_words=words.NULLS,
        measures=details.measure_rows(results),
        every_null=details.null_rows(results),
        classes=details.class_rows(results),
        distributions=charts.distributions(results),
        entries=[_entry(entry) for entry in results.entries()],
        number_of={model: i for i, model in enumerate(results.models)},
        colours=_gradient(),
        tables=[f"{name}.csv" for name in TABLES if (folder / f"{name}.csv").is_file()],
        files=files,
        designs=results.designs.to_dict("records"),
        command=_command(results.manifest.get("command")),
        versions=results.section("versions"),
    )


def _summary(results: Results) -> list[dict[str, Any]]:
    """summary.csv, block by block so that models stand under each other."""
    rows = results.summary.to_dict("records")
    order = {name: i for i, name in enumerate(results.blocks)}, {name: i for i, name in enumerate(results.models)}
    return sorted(rows, key=lambda row: (order[0].get(row["block"], 99), order[1].get(row["model"], 99)))


def _entry(entry: dict[str, Any]) -> dict[str, str]:
    """A model's line in the provenance table, as text."""
    preprocess = entry.get("preprocess") if isinstance(entry.get("preprocess"), dict) else {}
    size = preprocess.get("size")
    return {
        "name": entry["name"],
        "spec": str(entry.get("spec", "not recorded")),
        "fingerprint": str(entry.get("fingerprint", "not recorded")),
        "input": " x ".join(str(side) for side in size) if isinstance(size, list) else str(size or "not recorded"),
    }


def _command(value: Any) -> str:
    """The command line as it can be typed again."""
    return shlex.join(str(part) for part in value) if isinstance(value, list) else str(value or "")


def _gradient() -> list[str]:
    """17 colours of the heat maps' scale, low to high, as ``#rrggbb``."""
    table = colour_table()
    return [f"#{table[6 * i : 6 * i + 6]}" for i in [*range(0, 256, 16), 255]]
