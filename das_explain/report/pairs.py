"""Rows that compare two models: whom they compare, which pair the page shows first, and what it needs of the others.

The page holds the rows of one pair; those of the others are built by ``js/pairs.js`` when they are chosen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from das_explain.report.results import Results
from das_explain.report.tables import Cell, Column, Row, Table, name, numbers, plain, words
from das_explain.text import cut_middle


def heads(results: Results) -> tuple[Column, ...]:
    """A column that names the models, where a run compares more than two of them."""
    return () if len(results.pairs) == 1 else words("Models")


def names(results: Results, row: Any) -> tuple[Cell, ...]:
    """The cell of ``heads``."""
    return () if len(results.pairs) == 1 else (name(f"{row.model_b} − {row.model_a}"),)


def model(results: Results, text: str, otherwise: str = "–") -> Cell:
    """A model's name in its colour; ``otherwise`` where there is none."""
    return replace(name(text or otherwise), model=results.number(text))


def sides(results: Results) -> tuple[str, str]:
    """What a heading calls the two models: by name where they are the same in all rows."""
    return results.pairs[0] if len(results.pairs) == 1 else ("the first", "the second")


def mean_heads(results: Results) -> tuple[Column, ...]:
    """Columns of both models' means, under their names where these are the same in all rows."""
    if len(results.pairs) != 1:
        return numbers("First", "Second")
    return tuple(Column(model, numeric=True, model=results.number(model)) for model in results.pairs[0])


def drawn_head(results: Results) -> tuple[Column, ...]:
    """A column of intervals as pictures, and which side is whose."""
    first, second = results.pairs[0] if len(results.pairs) == 1 else ("first", "second")
    return (Column(f"{cut_middle(first, 12)} ← 0 → {cut_middle(second, 12)}", drawn=True),)


def means(row: Any) -> tuple[Cell, ...]:
    """The cells of ``mean_heads``."""
    return plain(row.mean_a), plain(row.mean_b)


def pair_row(results: Results, row: Any, *cells: Cell) -> Row:
    """A row of the page that compares the models of a table's row."""
    return Row(cells, results.pair_name(row.model_a, row.model_b))


def of_first_pair(results: Results, table: Table) -> Table:
    """The table as the page shows it first; rows that compare nothing stay."""
    first = results.pair_name(*results.first_pair) if results.first_pair else ""
    return replace(table, rows=tuple(row for row in table.rows if row.pair in ("", first)))


def by_pair(results: Results, tables: Iterable[Table]) -> dict[str, dict[str, Any]]:
    """The rows of every pair: name of the table -> pair -> rows of cells, as fields that are not empty.

    Nothing where a run compares one pair only.
    """
    found: dict[str, dict[str, Any]] = {}
    for table in tables if len(results.pairs) > 1 else ():
        for row in table.rows:
            if row.pair:
                cells = [
                    {key: value for key, value in asdict(cell).items() if value not in (None, "", False)}
                    for cell in row.cells
                ]
                found.setdefault(table.name, {}).setdefault(row.pair, []).append(cells)
    return found
