"""The tables of a study's page and summary: numbers in, cells out. Drawn by the report's templates, or as Markdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from das_explain.measures import MEASURES
from das_explain.report.tables import Cell, Column, Row, Table, difference, marks, name, numbers, plain, whole, words
from das_explain.report.words import NULLS, number, signed
from das_explain.scoring.designs import TOP1
from das_explain.study.results import Results

OVER = "Intervals: 95 %, over trained copies and images together."
MAIN = (TOP1, "sfd")


def title_of(measure: str) -> str:
    """What a measure is called."""
    if measure == TOP1:
        return "right, top-1"
    return MEASURES[measure].title if measure in MEASURES else measure


def outcome(results: Results) -> Table | None:
    """Accuracy and mean sfd of each design, on each set of photos."""
    rows = []
    for data in results.runs:
        for design in results.designs:
            right = results.row("design_means", data=data, group=design, measure=TOP1)
            cells = [
                _mean(results.row("design_means", data=data, group=design, measure="sfd", block=block))
                for block in results.blocks
            ]
            # Of photos without labels there is no accuracy, of a block that a design does not have no sfd.
            rows.append(Row((name(data), name(design), whole(results.study.copies), _percent(right), *cells)))
    columns = (*words("Photos", "Design"), *numbers("Copies", "Right, top-1", *(f"sfd, {b}" for b in results.blocks)))
    return _table("outcome-table", "Accuracy and sfd of each design", columns, rows, OVER)


def differences(results: Results) -> Table | None:
    """What the designs differ by in accuracy and sfd, and how many copies would settle it."""
    return _differences(results, lambda measure: measure in MAIN, "differences", "Differences between designs")


def other_differences(results: Results) -> Table | None:
    """The same of the other measures."""
    return _differences(results, lambda measure: measure not in MAIN, "others", "Differences in the other measures")


def _differences(results: Results, chosen: Callable[[str], bool], at: str, title: str) -> Table | None:
    table = results.tables["design_differences"]
    found = [row for row in table.itertuples(index=False) if chosen(row.measure)]
    scale = [100.0 if row.measure == TOP1 else 1.0 for row in found]
    drawn = marks([(row.delta, row.ci_low, row.ci_high) for row in found])
    rows = [
        Row(
            (
                name(row.data), Cell(title_of(row.measure)), Cell(row.block or "–"), name(row.group_a), name(row.group_b), whole(row.n),
                _points(row, times), Cell(mark=mark), Cell(_copies(row.copies_needed)),
            )
        )
        for row, times, mark in zip(found, scale, drawn, strict=True)
    ]  # fmt: skip
    columns = (
        *words("Photos", "Measure", "Block", "First", "Second"),
        *numbers("Images", "Second \N{MINUS SIGN} first"),
        Column("0", drawn=True),
        *numbers("Copies to settle it"),
    )
    note = (
        f"{OVER} Images: those scored for every copy of both. Of right, top-1 in percentage points. Copies to settle it: of each design, to tell the two apart in four "
        "of five studies, were the difference seen here the true one; as uncertain as that is."
    )
    return _table(at, title, columns, rows, note)


def lifts(results: Results, measure: str = "sfd") -> Table | None:
    """How far each design stands above maps that know nothing of the photo."""
    table = results.of("design_lifts", measure=measure)
    nulls = list(dict.fromkeys(table["null"])) if len(table) else []
    rows = []
    for (data, block, design), mine in table.groupby(["data", "block", "group"], sort=False) if len(table) else ():
        over = {row.null: row for row in mine.itertuples(index=False)}
        first = next(iter(over.values()))
        cells = [
            part
            for null in nulls
            for part in (
                (plain(over[null].mean_null), difference(over[null].lift, over[null].ci_low, over[null].ci_high))
                if null in over
                else (Cell("–"), Cell("–"))
            )
        ]
        rows.append(Row((name(data), Cell(block), name(design), plain(first.mean), *cells)))
    titles = [NULLS.get(null, null) for null in nulls]
    columns = (
        *words("Photos", "Block", "Design"),
        *numbers("Mean", *(part for title in titles for part in (title, f"Lift over {title[0].lower()}{title[1:]}"))),
    )
    note = f"{OVER} Shuffled maps: each copy’s own, on another photo’s object. Where a lift’s interval holds 0, a blind map does as well."
    return _table(
        f"lift-{measure}", f"{title_of(measure)} beside maps that know nothing of the photo", columns, rows, note
    )


def measures(results: Results) -> Table | None:
    """Every other measure of each design, and how far it stands above maps that know nothing of the photo."""
    lifted = results.tables["design_lifts"]
    nulls = list(dict.fromkeys(lifted["null"])) if len(lifted) else []
    over = {(r.data, r.measure, r.block, r.group, r.null): r for r in lifted.itertuples(index=False)}
    rows = []
    for row in results.tables["design_means"].itertuples(index=False):
        if row.measure not in MAIN:
            found = [over.get((row.data, row.measure, row.block, row.group, null)) for null in nulls]
            cells = [Cell("–") if each is None else difference(each.lift, each.ci_low, each.ci_high) for each in found]
            head = (name(row.data), Cell(title_of(row.measure)), Cell(row.block), name(row.group))
            rows.append(Row((*head, _mean(row), *cells)))
    columns = (
        *words("Photos", "Measure", "Block", "Design"),
        *numbers("Mean", *(f"Lift over {NULLS.get(null, null).lower()}" for null in nulls)),
    )
    note = f"{OVER} Of a measure where less is better a good lift is below zero."
    return _table("measures", "The other measures of each design", columns, rows, note)


def variance(results: Results) -> Table | None:
    """What makes the values vary."""
    rows = []
    for row in results.tables["design_means"].itertuples(index=False):
        if row.measure in MAIN:
            parts = (row.sd_copy, row.sd_image, row.sd_copy_image)
            span = f"{number(row.least)} to {number(row.greatest)}"
            cells = (name(row.data), Cell(title_of(row.measure)), Cell(row.block or "–"), name(row.group))
            rows.append(Row((*cells, *(plain(part) for part in parts), Cell(span))))
    columns = (
        *words("Photos", "Measure", "Block", "Design"),
        *numbers("Between copies", "Between images", "Copy × image", "Least and greatest copy"),
    )
    note = (
        "Standard deviations by a two-way random effects model. Between copies: what training again with another seed moves "
        "on all images alike; it does not shrink with more images, only with more copies."
    )
    return _table("variance", "Where the variance comes from", columns, rows, note)


def readings(results: Results) -> Table | None:
    """In how many readings of sfd the sign of a difference holds."""
    rows = []
    for row in results.sensitivity().itertuples(index=False):
        cells = (
            name(row.data),
            Cell(row.block),
            name(row.model_a),
            name(row.model_b),
            Cell(signed(row.delta), strong=True),
        )
        counts = (
            Cell(f"{row.same_sign} of {row.readings}", strong=True),
            whole(row.excludes_zero),
            whole(row.other_excludes_zero),
        )
        rows.append(Row((*cells, *counts, *(Cell(signed(value)) for value in (row.least, row.median, row.greatest)))))
    columns = (
        *words("Photos", "Block", "First", "Second"),
        *numbers("As scored", "Sign holds in", "Interval on that side", "on the other", "Least", "Median", "Greatest"),
    )
    note = "Scaling, threshold, box, region and exclusions read in every way. The same maps each time: counts, and no test."
    return _table("readings", "The same maps in every reading of sfd", columns, rows, note)


def correlations(results: Results) -> Table | None:
    """Whether copies that are more often right score higher."""
    rows = []
    for row in results.tables["correlations"].itertuples(index=False):
        ends = (row.r, row.ci_low, row.ci_high), (row.within, row.within_ci_low, row.within_ci_high)
        over, within = (difference(*each) for each in ends)
        cells = name(row.data), Cell(title_of(row.measure)), Cell(row.block), whole(row.copies)
        rows.append(Row((*cells, over, Cell(signed(row.rho)), within)))
    columns = (*words("Photos", "Measure", "Block"), *numbers("Copies", "r with accuracy", "rho", "r within designs"))
    note = (
        "Pearson’s r between the share of photos a copy gets right and its mean, with Fisher’s interval; rho is Spearman’s. "
        "Within designs: of what a copy differs by from its design’s mean."
    )
    return _table("correlations", "Accuracy and focus, over all copies", columns, rows, note)


def units(results: Results) -> Table | None:
    """Every copy by itself."""
    tests = [column for column in results.units.columns if column.startswith(f"{TOP1}_")]
    rows = [
        Row(
            (
                name(row["unit"]), whole(row["seed"]), whole(row["seconds"]),
                *(Cell(f"{100 * row[test]:.1f} %" if np.isfinite(row[test]) else "–") for test in tests),
                *_copy_cells(results, row),
            )
        )
        for row in results.units.to_dict("records")
    ]  # fmt: skip
    heads = [f"sfd, {block}, {data}" for data in results.runs for block in results.blocks]
    own = [f"Top-1, {test.removeprefix(f'{TOP1}_').replace('_', ' ')}" for test in tests]
    columns = (*words("Copy"), *numbers("Seed", "Seconds", *own, *heads))
    return _table(
        "units", "Every trained copy", columns, rows, "Seconds of training. Top-1: as measured when it was trained."
    )


def _copy_cells(results: Results, unit: dict[str, Any]) -> list[Cell]:
    """Mean sfd of a copy on each set of photos at each block."""
    mine = [row["unit"] for row in results.units.to_dict("records") if row["design"] == unit["design"]]
    model = f"{unit['design']}#{mine.index(unit['unit']) + 1}" if len(mine) > 1 else unit["design"]
    found = [
        results.row("copies", data=data, model=model, measure="sfd", block=block)
        for data in results.runs
        for block in results.blocks
    ]
    return [Cell("–") if row is None else plain(row.mean) for row in found]


def _table(at: str, title: str, columns: tuple, rows: list[Row], note: str) -> Table | None:
    return Table(at, title, columns, tuple(rows), note) if rows else None


def _percent(row: Any) -> Cell:
    if row is None:
        return Cell("–")
    low, high = (100 * min(max(end, 0.0), 1.0) for end in (row.ci_low, row.ci_high))
    ends = f"[{low:.1f}, {high:.1f}]" if np.isfinite(row.ci_low) else ""
    return Cell(f"{100 * row.mean:.1f} %", ends, strong=True)


def _mean(row: Any) -> Cell:
    """The mean of a measure; an interval of few copies may reach beyond what it can be, which is left out."""
    if row is None or np.isnan(row.mean):
        return Cell("–")
    least, most = MEASURES[row.measure].bounds if row.measure in MEASURES else (-np.inf, np.inf)
    low, high = (number(min(max(end, least), most)) for end in (row.ci_low, row.ci_high))
    return Cell(number(row.mean), f"[{low}, {high}]" if np.isfinite(row.ci_low) else "", strong=True)


def _points(row: Any, times: float) -> Cell:
    if times == 1:
        return difference(row.delta, row.ci_low, row.ci_high)
    low, high = (signed(times * end, 1) for end in (row.ci_low, row.ci_high))
    return Cell(signed(times * row.delta, 1), f"[{low}, {high}]" if np.isfinite(row.ci_low) else "", strong=True)


def _copies(needed: float) -> str:
    return "–" if np.isnan(needed) else "more images" if np.isinf(needed) else f"{needed:,.0f}"


def as_markdown(table: Table) -> str:
    """A table for a README: what the page shows, without pictures."""
    kept = [i for i, column in enumerate(table.columns) if not column.drawn]

    def line(texts: list[str]) -> str:
        return "| " + " | ".join(text.replace("|", "\\|").replace("<", "\\<") for text in texts) + " |"

    heads = line([table.columns[i].head for i in kept])
    rules = "|" + "|".join(" --: " if table.columns[i].numeric else " --- " for i in kept) + "|"
    rows = [line([f"{row.cells[i].text} {row.cells[i].interval}".strip() for i in kept]) for row in table.rows]
    return "\n".join([heads, rules, *rows])
