"""A study as a README: the page's sentences and tables, its figures, and how to do it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from das_explain.report.tables import Table
from das_explain.study import words
from das_explain.study.results import Results
from das_explain.study.tables import as_markdown
from das_explain.train.card import clock

HEAD = "# Study: "


def summary(results: Results, tables: Mapping[str, Table], figures: Sequence[Path], command: Sequence[str]) -> str:
    """The text, in Markdown; figures are looked for in ``figures/`` beside it."""
    study = results.study
    parts = [f"{HEAD}{study.name}", "", *([study.description, ""] if study.description else [])]
    parts += ["## What came out", "", *(f"- {line}" for line in words.sentences(results)), ""]
    parts += ["## What it may and may not claim", "", *(f"- {line}" for line in words.claims(results)), ""]
    for table in tables.values():
        parts += [f"## {table.title}", "", as_markdown(table), "", table.note, ""]
    parts += ["## Figures", "", *(line for path in figures for line in (f"![{path.stem}](figures/{path.name})", ""))]
    parts += ["## How it was made", "", f"    {shlex.join(command)}", "", *(f"- {line}" for line in facts(results)), ""]
    return "\n".join(parts)


def facts(results: Results) -> list[str]:
    """Recipe, data, time and versions."""
    study, seconds = results.study, results.units["seconds"]
    return [
        f"Recipe {study.recipe}" + "".join(f", {key}={value}" for key, value in study.set.items()),
        *(
            f"Design {name}: " + ", ".join(f"{k}={v}" for k, v in settings.items())
            for name, settings in study.designs.items()
        ),
        *(
            f"Photos {name}: {data.data}, {len(results.runs[name].sample)} images"
            + (f"; {data.about}" if data.about else "")
            for name, data in study.data.items()
        ),
        f"Training: {len(seconds)} units, {clock(seconds.sum())} in all, {clock(seconds.min())} to {clock(seconds.max())} each, "
        f"on {', '.join(dict.fromkeys(results.units['machine']))}",
        "Versions: " + ", ".join(f"{name} {number}" for name, number in results.versions.items()),
    ]
