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
from das_explain.report import charts, outcome, words
from das_explain.report.gallery import Gallery, GalleryCounts
from das_explain.report.payload import colour_table
from das_explain.report.run import Run, read_run
from das_explain.text import cut_middle

HERE = Path(__file__).parent
SCRIPTS = ("base", "maps", "state", "card", "gallery", "scatter", "viewer", "main")
TABLES = ("scores", "summary", "comparison", "nulls", "lift", "designs")


def build_report(run_dir: Path) -> Path:
    """Write RUN/report/ (``index.html``, ``data.js``, ``report.js``, ``report.css``, ``images/``) from a run's files.

    Reads run.json, journal.jsonl (as a stream), scores.csv, summary.csv and, if they are there, comparison.csv,
    nulls.csv, lift.csv and designs.csv. A report that was there before is replaced as a whole. Returns the path of
    ``index.html``.

    Raises DasExplainError, on one line, for a missing or broken run folder or a disk that cannot be written.
    """
    run = read_run(Path(run_dir))
    target = run.folder / "report"
    if target.is_dir() and any(target.iterdir()) and not (target / "index.html").is_file():
        raise DasExplainError(f"{target} exists and is no report: move it away, then build the report again")
    try:
        with _staged(target) as staging:
            images = staging / "images"
            images.mkdir()
            counts = Gallery(run, images).write(staging / "data.js")
            scripts = [(HERE / "js" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
            script = '"use strict";\n(() => {\n' + "\n".join(scripts) + "})();\n"
            (staging / "report.js").write_text(script, encoding="utf-8")
            shutil.copyfile(HERE / "report.css", staging / "report.css")
            (staging / "index.html").write_bytes(_page(run, counts).encode("utf-8", "replace"))
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


def _page(run: Run, counts: GalleryCounts) -> str:
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
        shorten=cut_middle,
    )
    blind = outcome.lifts(run)
    pairs = set(zip(run.comparison["model_a"], run.comparison["model_b"], strict=True))
    first, second = pairs.pop() if len(pairs) == 1 else (None, None)
    return environment.get_template("index.html.j2").render(
        run=run,
        manifest=run.manifest,
        folder=shlex.quote(str(run.folder)),
        counts=counts,
        n_images=outcome.image_count(run.scores),
        created=words.moment(run.manifest.get("created")),
        findings=outcome.findings(run, blind),
        claims=outcome.claims(run),
        settings=outcome.settings(run),
        statuses=outcome.status_counts(run),
        finds="sam" in str(run.section("segmenter").get("name")),
        accuracy=outcome.accuracy(run),
        first=first,
        second=second,
        comparison=list(zip(run.comparison.to_dict("records"), charts.intervals(run), strict=True)),
        summary=_summary(run),
        blind=blind,
        nulls=[null for null in words.NULLS if any(key[2] == null for key in blind)],
        null_words=words.NULLS,
        distributions=charts.distributions(run),
        entries=[_entry(entry) for entry in run.model_entries()],
        number_of={model: i for i, model in enumerate(run.models)},
        colours=_gradient(),
        tables=[f"{name}.csv" for name in TABLES if (run.folder / f"{name}.csv").is_file()],
        designs=run.designs.to_dict("records"),
        figures=sorted(path.name for path in (run.folder / "figures").glob("*") if path.is_file()),
        command=_command(run.manifest.get("command")),
        versions=run.section("versions"),
    )


def _summary(run: Run) -> list[dict[str, Any]]:
    """summary.csv, block by block so that models stand under each other."""
    rows = run.summary.to_dict("records")
    order = {name: i for i, name in enumerate(run.blocks)}, {name: i for i, name in enumerate(run.models)}
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
