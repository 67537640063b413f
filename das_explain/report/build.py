"""Writes a run's report: a folder that opens from disk, can be zipped and mailed, and asks for nothing from outside.

The new report is made beside the old one and then takes its place: a failure half-way leaves the old one whole.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from das_explain.errors import DasExplainError
from das_explain.evidence.run import Run
from das_explain.evidence.tables import TABLES
from das_explain.report import charts, outcome, words
from das_explain.report.gallery import Gallery, GalleryCounts
from das_explain.report.payload import colour_table
from das_explain.report.results import Results
from das_explain.text import cut_middle

HERE = Path(__file__).parent
SCRIPTS = ("base", "state", "maps", "reading", "card", "gallery", "scatter", "viewer", "main")


def build_report(run_dir: Path) -> Path:
    """Write RUN/report/ (``index.html``, ``data.js``, ``report.js``, ``report.css``, ``images/``) from a scored run.

    Reads run.json, the evidence (shard by shard), scores.csv, summary.csv and, if they are there, comparison.csv,
    nulls.csv, lift.csv and designs.csv. A report that was there before is replaced as a whole. Returns the path of
    ``index.html``.

    Raises DasExplainError, on one line, for a missing or broken run folder or a disk that cannot be written.
    """
    results = Results.read(Run.open(run_dir))
    target = results.run.folder / "report"
    if target.is_dir() and any(target.iterdir()) and not (target / "index.html").is_file():
        raise DasExplainError(f"{target} exists and is no report: move it away, then build the report again")
    try:
        with _staged(target) as staging:
            images = staging / "images"
            images.mkdir()
            counts = Gallery(results, images).write(staging / "data.js")
            scripts = [(HERE / "js" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
            script = '"use strict";\n(() => {\n' + "\n".join(scripts) + "})();\n"
            (staging / "report.js").write_text(script, encoding="utf-8")
            shutil.copyfile(HERE / "report.css", staging / "report.css")
            (staging / "index.html").write_bytes(_page(results, counts).encode("utf-8", "replace"))
    except OSError as error:
        raise DasExplainError(f"{target} cannot be written: {error.strerror or error}") from error
    return target / "index.html"


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


def _page(results: Results, counts: GalleryCounts) -> str:
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
        plural=words.plural,
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
        distributions=charts.distributions(results),
        entries=[_entry(entry) for entry in results.entries()],
        number_of={model: i for i, model in enumerate(results.models)},
        colours=_gradient(),
        tables=[f"{name}.csv" for name in TABLES if (folder / f"{name}.csv").is_file()],
        designs=results.designs.to_dict("records"),
        figures=sorted(path.name for path in (folder / "figures").glob("*") if path.is_file()),
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
