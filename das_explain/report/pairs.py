"""What rows that compare two models have in common: whom they compare, and the page's name for them."""

from __future__ import annotations

from typing import Any

from das_explain.report.results import Results
from das_explain.report.tables import Cell, Column, Row, name, numbers, plain, words
from das_explain.text import cut_middle


def heads(results: Results) -> tuple[Column, ...]:
    """A column that names the models, where a run compares more than two of them."""
    return () if len(results.pairs) == 1 else words("Models")


def names(results: Results, row: Any) -> tuple[Cell, ...]:
    """The cell of ``heads``."""
    return () if len(results.pairs) == 1 else (name(f"{row.model_b} − {row.model_a}"),)


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
