"""A table of the page as a value: what stands in its cells, which rows belong to which pair of models.

``templates/macros.html.j2`` draws it; ``js/tables.js`` copies it as Markdown, LaTeX and CSV and sorts it,
``js/pairs.js`` shows the rows of another pair. Pure: numbers in, text out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from das_explain.report.charts import Interval
from das_explain.report.words import number, signed
from das_explain.text import cut_middle

LONGEST = 40  # characters of a name in a cell; the whole of it is its title


@dataclass(frozen=True)
class Column:
    """A heading. ``model``: the number of the model that it names. ``drawn``: its cells hold a picture only."""

    head: str
    numeric: bool = False
    model: int | None = None
    drawn: bool = False


@dataclass(frozen=True)
class Cell:
    """``text``, with ``interval`` after it in grey; ``model`` as in ``Column``; ``mark``: an interval as a picture."""

    text: str = ""
    interval: str = ""
    strong: bool = False
    model: int | None = None
    title: str = ""
    mark: Interval | None = None


@dataclass(frozen=True)
class Row:
    """``pair``: ``"0-1"``, the numbers of the two models that the row compares; empty where it compares none."""

    cells: tuple[Cell, ...]
    pair: str = ""


@dataclass(frozen=True)
class Table:
    """``name`` is its id in the page, ``title`` stands above it and ``note`` below."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""


def words(*heads: str) -> tuple[Column, ...]:
    """Columns of text."""
    return tuple(Column(head) for head in heads)


def numbers(*heads: str) -> tuple[Column, ...]:
    """Columns of numbers."""
    return tuple(Column(head, numeric=True) for head in heads)


def name(text: str) -> Cell:
    """A name from a run, which may be of any length.

    >>> name("n" * 50).text, len(name("n" * 50).title)
    ('nnnnnnnnnnnnnnnnnnnn…nnnnnnnnnnnnnnnnnnn', 50)
    """
    cut = cut_middle(text, LONGEST)
    return Cell(cut, title=text if cut != text else "")


def plain(value: float) -> Cell:
    """A number of three decimals."""
    return Cell(number(value))


def whole(value: float) -> Cell:
    """A count.

    >>> whole(1200.0).text
    '1,200'
    """
    return Cell("–" if math.isnan(value) or math.isinf(value) else f"{value:,.0f}")


def difference(value: float, low: float, high: float) -> Cell:
    """A signed number with its interval.

    >>> difference(0.01, -0.02, 0.04)
    Cell(text='+0.010', interval='[−0.020, +0.040]', strong=True, model=None, title='', mark=None)
    """
    if math.isnan(value):
        return Cell("–")
    return Cell(signed(value), "" if math.isnan(low) else f"[{signed(low)}, {signed(high)}]", strong=True)


def marks(ends: Sequence[tuple[float, float, float]]) -> list[Interval | None]:
    """Each (middle, low, high) as positions in a strip of 0..100 whose middle is zero, all on one scale; else None."""
    finite = [abs(value) for each in ends for value in each if math.isfinite(value)]
    reach = 1.08 * max(finite, default=0.0) or 1.0

    def mark(middle: float, low: float, high: float) -> Interval | None:
        if any(math.isnan(value) for value in (middle, low, high)):
            return None
        return Interval(*(round(50 + 50 * value / reach, 2) for value in (low, middle, high)))

    return [mark(*each) for each in ends]


def in_order(names: Iterable[str], order: Sequence[str]) -> list[str]:
    """Different names, those of ``order`` first and in that order."""
    found = list(dict.fromkeys(names))
    return sorted(found, key=lambda each: order.index(each) if each in order else len(order))
