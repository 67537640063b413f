"""How a run was measured, in words, and what its rows come to: settings, statuses, predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from das_explain.report.regions import told, without_region
from das_explain.report.results import Results
from das_explain.report.words import BOXES, SCALINGS, SOURCES, TARGETS, join
from das_explain.statuses import STATUSES
from das_explain.text import plural


def _or(value: Any, table: dict[str, str], **words: Any) -> str:
    """A setting as ``name: what it means``; the bare name if it is unknown, ``not recorded`` if there is none."""
    if value is None or value == "":
        return "not recorded"
    meaning = table.get(str(value))
    return f"{value}: {meaning.format(**words)}" if meaning else str(value)


def settings(results: Results) -> list[tuple[str, str]]:
    """(term, explanation) of everything that decides the size of the numbers, in words."""
    options, scoring = results.section("options"), results.section("scoring")
    data, segmenter = results.section("data"), results.section("segmenter")
    threshold = scoring.get("threshold", "threshold")
    name = segmenter.get("name")
    detail = told(segmenter, data.get("spec"))
    source = _or(name, SOURCES) + (f" ({', '.join(detail)})" if detail else "")
    if without := without_region(results):
        counts = join([f"{plural(count, 'image')} {STATUSES[status]}" for status, count in without.items()])
        source += f". Without R: {counts}"
    size, drawn = data.get("count"), len(results.run.sample)
    where = str(data.get("spec", "not recorded"))
    if isinstance(size, int):
        by_class = ", evenly over the classes" if data.get("stratified") is True else ""
        chosen = (
            "all of them" if drawn == size else f"{drawn:,} drawn{by_class}, seed {results.manifest.get('seed', '?')}"
        )
        where += f": {plural(size, 'image')}, {chosen}"
    return [
        ("Images", where),
        ("Heat maps", f"{options.get('method', 'method not recorded')}, each map scaled to its own maximum"),
        ("Class explained", explained_class(results)),
        ("Region R", source),
        ("Box B", _or(scoring.get("box"), BOXES, threshold=threshold)),
        ("Threshold", str(scoring.get("threshold", "not recorded"))),
        ("Scaling of w", _or(scoring.get("scaling"), SCALINGS)),
    ]


def explained_class(results: Results) -> str:
    """Which class the maps explain, as the rows of scores.csv have it."""
    target, tally = results.section("options").get("target"), results.tally
    if target not in (None, "", *TARGETS):
        return f"{target}, one class for every image"
    text = _or(target, TARGETS)
    if target == "label" and tally.unlabelled:
        text += f"; on {plural(tally.unlabelled, 'image')} without one, each model’s own prediction"
    if len(results.models) > 1:
        on = f"on {plural(tally.differing, 'image')} of {results.count:,} the models explain different classes"
        text += f"; {on}" if tally.differing else ", the same class for every model"
    return text


@dataclass(frozen=True)
class StatusCount:
    """How many rows of scores.csv, on how many images, ended with this status."""

    status: str
    meaning: str
    rows: int
    images: int


def status_counts(results: Results) -> list[StatusCount]:
    """Every status of scores.csv, ``ok`` first, then the most frequent."""
    rows, images = results.tally.rows, results.tally.images
    order = sorted(rows, key=lambda status: (status != "ok", -rows[status], status))
    return [StatusCount(status, STATUSES.get(status, ""), rows[status], images[status]) for status in order]


def accuracy(results: Results) -> dict[str, tuple[float, int]]:
    """Model -> (top-1 share, images with a label and a prediction)."""
    return {model: (right / known, known) for model, (right, known) in results.tally.right.items() if known}
