"""On which images do models differ? Tables by right and wrong, by the object's area and place, and by class."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from das_explain.evidence.values import Key
from das_explain.report import pairs
from das_explain.report.results import Results
from das_explain.report.tables import Cell, Row, Table, difference, marks, name, numbers, plain, whole, words
from das_explain.report.words import p_text
from das_explain.stats.intervals import SHARES

MOST_ROWS = 600  # of the table by class, for each pair
FAMILIES = {"correct": "Prediction", "area": "Area of the object", "centre": "Place of the object"}
INTERVAL = "Difference, 95\N{NO-BREAK SPACE}% interval"


def strata(results: Results) -> Table | None:
    """The difference by right and wrong predictions, by the object's area and by its place."""
    chosen = results.strata[results.strata["family"].isin(FAMILIES)]
    rows = _stratum_rows(results, chosen, lambda row: (Cell(FAMILIES[row.family]), Cell(row.stratum)))
    columns = (
        *words("By", "Images that are", "Block"),
        *pairs.heads(results),
        *numbers("Images"),
        *pairs.mean_heads(results),
        *numbers(INTERVAL),
        *pairs.drawn_head(results),
        *numbers("p adjusted"),
    )
    note = (
        "Area and place: thirds of the images that a row’s models share, by R’s area and by the distance of its centre "
        "from the frame’s. p: paired permutation test, adjusted after Holm within each family (By). A difference that "
        "is clear in one stratum and not in another is no difference between strata. " + _FEW
    )
    return Table("strata", "On which images do they differ?", columns, rows, note) if rows else None


def classes(results: Results) -> Table | None:
    """The difference by class, those with the most images first; of a single model its mean at each block."""
    chosen = results.strata[results.strata["family"] == "class"]
    sizes = chosen.groupby("stratum", sort=False)["n"].max().sort_values(ascending=False, kind="stable")
    if len(sizes) < 2:
        return _class_means(results)
    room = max(1, MOST_ROWS // len(chosen.drop_duplicates("block")))
    order = {each: place for place, each in enumerate(sizes.index[:room])}
    chosen = chosen[chosen["stratum"].isin(order)].sort_values(
        "stratum", key=lambda each: each.map(order), kind="stable"
    )
    rows = _stratum_rows(results, chosen, lambda row: (name(row.stratum),))
    columns = (
        *words("Class", "Block"),
        *pairs.heads(results),
        *numbers("Images"),
        *pairs.mean_heads(results),
        *numbers(INTERVAL),
        *pairs.drawn_head(results),
        *numbers("p adjusted"),
    )
    return Table("classes", "By class", columns, rows, _leaves_out(len(order), len(sizes)) + _CHANCE + _FEW)


_CHANCE = "With few images of a class the order is mostly chance: p is adjusted after Holm for all classes and blocks. "
_FEW = f"Intervals over few images are too short: over normal values they hold the true mean in {SHARES}."


def _leaves_out(shown: int, total: int) -> str:
    return f"The {shown:,} classes with the most images, of {total:,}; strata.csv has all. " if shown < total else ""


def _stratum_rows(results: Results, chosen: pd.DataFrame, head: Callable[[Any], tuple[Cell, ...]]) -> tuple[Row, ...]:
    compared = list(chosen.itertuples(index=False))
    drawn = marks([(row.delta, row.ci_low, row.ci_high) for row in compared])
    return tuple(
        pairs.pair_row(
            results,
            row,
            *head(row),
            Cell(row.block),
            *pairs.names(results, row),
            whole(row.n),
            *pairs.means(row),
            difference(row.delta, row.ci_low, row.ci_high),
            Cell(mark=mark),
            Cell(p_text(row.p_adjusted)),
        )
        for row, mark in zip(compared, drawn, strict=True)
    )


def _class_means(results: Results) -> Table | None:
    tally = results.tally
    if len(tally.classes) < 2 or len(results.models) != 1:
        return None
    images = np.bincount(tally.label[tally.label >= 0], minlength=len(tally.classes))
    order = sorted(range(len(images)), key=lambda i: (-images[i], tally.classes[i]))[:MOST_ROWS]
    rows = []
    for number_of, word in ((i, tally.classes[i]) for i in order):
        values = [tally.sfd.get(Key(results.models[0], block)) for block in results.blocks]
        mine = [np.empty(0) if each is None else each[tally.label == number_of] for each in values]
        means = [float(each[np.isfinite(each)].mean()) if np.isfinite(each).any() else math.nan for each in mine]
        rows.append(Row((name(word), whole(float(images[number_of])), *map(plain, means))))
    columns = (*words("Class"), *numbers("Images", *results.blocks))
    note = _leaves_out(len(order), len(images)) + "Mean sfd; with few images of a class the order is mostly chance."
    return Table("classes", "By class", columns, tuple(rows), note)
