"""``index.html``: everything a reader without JavaScript gets, and the places that scripts fill."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from das_explain.evidence.tables import TABLES
from das_explain.report import charts, doubts, measured, outcome, pairs, settings, strata, words
from das_explain.report.gallery import GalleryCounts
from das_explain.report.payload import colour_table
from das_explain.report.results import Results
from das_explain.report.tables import Table, marks
from das_explain.text import cut_middle, plural

HERE = Path(__file__).parent


def all_tables(results: Results) -> dict[str, Table | None]:
    """The tables behind the outcome, by the names that the templates know; None where a run has nothing for one."""
    makers = (
        *(measured.measures, measured.lifts, measured.signs, measured.agreement, measured.blind_maps),
        measured.best_iou,
        *(doubts.readings, doubts.exclusions, doubts.statuses, strata.strata, strata.classes, doubts.effects),
        doubts.variance,
        doubts.regions,
    )
    return {make.__name__: make(results) for make in makers}


def environment(*more: Path) -> Environment:
    """What templates are drawn with: everything is escaped, what is not given is an error. ``more``: folders of templates
    that are looked in first."""
    made = Environment(
        loader=FileSystemLoader([*more, HERE / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        number=words.number,
        signed=words.signed,
        whole=lambda value: words.number(value, 0),
        p=words.p_text,
        percent=words.percent,
        plural=plural,
        join_names=words.join,
        cut=cut_middle,
    )
    return made


def page(
    results: Results, counts: GalleryCounts, files: list[str], tables: dict[str, Table | None], *, curves: bool
) -> str:
    """The text of the page. ``files``: the names of those in ``files/`` beside it; ``tables`` are ``all_tables``;
    ``curves``: whether there is something to draw specification curves from."""
    blind = outcome.lifts(results)
    compared = set(zip(results.comparison["model_a"], results.comparison["model_b"], strict=True))
    first, second = compared.pop() if len(compared) == 1 else (None, None)
    folder = results.run.folder
    template = environment().get_template("index.html.j2")
    return template.render(
        results=results,
        manifest=results.manifest,
        folder=shlex.quote(str(folder)),
        counts=counts,
        created=words.moment(results.manifest.get("created")),
        verdict=outcome.verdict(results),
        findings=outcome.findings(results, blind),
        holds=outcome.holds(results),
        claims=outcome.claims(results),
        settings=settings.settings(results),
        assumptions=results.assumptions(),
        statuses=settings.status_counts(results),
        finds="sam" in str(results.section("segmenter").get("name")),
        accuracy=settings.accuracy(results),
        first=first,
        second=second,
        comparison=list(zip(results.comparison.to_dict("records"), _marks(results), strict=True)),
        summary=_summary(results),
        blind=blind,
        nulls=[null for null in words.NULLS if any(key[2] == null for key in blind)],
        null_words=words.NULLS,
        tables={name: table and pairs.of_first_pair(results, table) for name, table in tables.items()},
        curves=curves,
        distributions=charts.distributions(results),
        entries=[_entry(entry) for entry in results.entries()],
        colours=_gradient(),
        written=[f"{name}.csv" for name in TABLES if (folder / f"{name}.csv").is_file()],
        files=files,
        designs=results.designs.to_dict("records"),
        command=_command(results.manifest.get("command")),
        versions=results.section("versions"),
    )


def _marks(results: Results) -> list[charts.Interval | None]:
    ends = results.comparison[["delta", "ci_low", "ci_high"]]
    return marks(list(ends.astype(float).itertuples(index=False, name=None)))


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
