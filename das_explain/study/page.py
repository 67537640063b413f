"""The one page of a study, out of the report's parts: its style, its tables, its scripts, its caution with text."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from das_explain.folders import inside, replace_folder
from das_explain.report import words as phrases
from das_explain.report.build import HERE, writing
from das_explain.report.page import environment
from das_explain.report.tables import Table
from das_explain.study import gallery, words
from das_explain.study.results import Results
from das_explain.study.summary import facts

SCRIPTS = ("base", "tables")
TEMPLATES = Path(__file__).parent / "templates"
ABOVE = ("outcome", "differences", "lifts", "readings", "variance", "correlations")  # of the tables; others fold


def _is_page(name: str) -> bool:
    """Whether a file of ``report/`` is the page's: whatever else lies there is kept."""
    return name in ("index.html", "report.js", "report.css") or name.startswith(("figures/", "images/"))


def write_page(
    results: Results, tables: Mapping[str, Table], figures: Sequence[Path], command: str, created: str
) -> Path:
    """Writes ``report/`` in the study's folder: ``index.html``, style, script, figures and pictures; the page's path."""
    target = inside(results.folder, "report")
    with writing(target), replace_folder(target, _is_page) as folder:
        for name in ("figures", "images"):
            (folder / name).mkdir()
        for path in figures:
            for each in (path, path.with_suffix(".pdf")):
                shutil.copyfile(each, folder / "figures" / each.name)
        shown = {
            data: gallery.show(run, folder / "images", f"set{number}")
            for number, (data, run) in enumerate(results.runs.items())
        }
        scripts = [(HERE / "js" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
        (folder / "report.js").write_text(
            '"use strict";\n(() => {\n' + "\n".join(scripts) + "})();\n", encoding="utf-8"
        )
        styles = [path.read_text(encoding="utf-8") for path in (HERE / "report.css", TEMPLATES / "study.css")]
        (folder / "report.css").write_text("\n".join(styles), encoding="utf-8")
        page = (
            environment(TEMPLATES)
            .get_template("study.html.j2")
            .render(
                study=results.study,
                designs=results.designs,
                created=phrases.moment(created),
                sentences=words.sentences(results),
                claims=words.claims(results),
                above=[tables[name] for name in ABOVE if name in tables],
                folded=[table for name, table in tables.items() if name not in ABOVE],
                figures=[path.name for path in figures],
                shown=shown,
                facts=facts(results),
                command=command,
                runs={data: str(run.folder) for data, run in results.runs.items()},
            )
        )
        (folder / "index.html").write_bytes(page.encode("utf-8", "replace"))
    return target / "index.html"
