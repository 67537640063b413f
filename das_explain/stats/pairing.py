"""From the rows of a table to arrays that are paired by image: which measure, which rows count, what belongs together.

A table has one row per image, model and block (and null). Its values stand in a column of the measure's own name
(``sfd`` in scores.csv) or, in a long table (measures.csv, nulls.csv), in ``value`` with the measure's name in
``measure``. A row counts as scored when its status is one of `das_explain.statuses.SCORED`. Columns of text may be
categorical, Arrow strings or objects: each distinct text is looked at once, and no list grows with the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from das_explain.errors import DasExplainError, UsageError
from das_explain.statuses import SCORED


@dataclass(frozen=True)
class Paired:
    """The scored values of one measure.

    ``values`` float64 (keys, images), NaN where there is none; ``keys`` gives each key's row in it, ``images`` the
    images' names in sorted order.
    """

    keys: dict[tuple[str, ...], int]
    images: pd.Index
    values: np.ndarray

    def of(self, key: tuple[str, ...]) -> np.ndarray:
        """The values of one key, float64 (images,); all NaN if the key has none."""
        return self.values[self.keys[key]] if key in self.keys else np.full(len(self.images), np.nan)

    def common(self, *keys: tuple[str, ...]) -> np.ndarray:
        """The values of these keys on the images that all of them have: float64 (keys, common images)."""
        values = np.stack([self.of(key) for key in keys])
        return np.ascontiguousarray(values[:, ~np.isnan(values).any(axis=0)])

    def on(self, images: pd.Index) -> Paired:
        """The same values laid out on these images, NaN where this has none."""
        places = _places(images, self.images)
        values = np.full((len(self.keys), len(images)), np.nan)
        values[:, places >= 0] = self.values[:, places[places >= 0]]
        return Paired(self.keys, images, values)


def pair(table: pd.DataFrame, keys: list[str], measure: str = "sfd", name: str = "scores") -> Paired:
    """The scored values of a measure, by the columns ``keys`` and by image.

    ``name`` is what an error calls the table. Raises `DasExplainError` for a table that lacks a column, has two scored
    rows of one image and key, or a scored row without a finite value, and `UsageError` for a measure it does not have.
    """
    table, column = of_measure(table, measure, name)
    require(table, ["image", *keys, "status"], name)
    scored = np.flatnonzero(table["status"].isin(SCORED).to_numpy())
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float, na_value=np.nan)[scored]
    image, images = codes(table["image"], scored)
    order = np.argsort(images.to_numpy(dtype=images.dtype if images.dtype.kind == "i" else object), kind="stable")
    place = np.empty(len(images), dtype=np.int64)
    place[order] = np.arange(len(images))
    parts = [codes(table[key], scored) for key in keys]
    key = np.ravel_multi_index([part for part, _ in parts], [max(1, len(texts)) for _, texts in parts])
    present, key = np.unique(key, return_inverse=True)
    cell = key * len(images) + place[image]
    for bad, problem in ((~np.isfinite(values), "is scored but has no value"), (_twice(cell), "stands twice")):
        if bad.any():
            first = table.iloc[scored[int(np.argmax(bad))]]
            where = ", ".join(f"{part} {first[part]}" for part in ["image", *keys])
            raise DasExplainError(f"the table of {name} is broken: the row of {where} {problem}; score the data again")
    wide = np.full(len(present) * len(images), np.nan)
    wide[cell] = values
    places = np.unravel_index(present, [max(1, len(texts)) for _, texts in parts])
    found = zip(*(texts[place] for (_, texts), place in zip(parts, places, strict=True)), strict=True)
    return Paired({key: row for row, key in enumerate(found)}, images[order], wide.reshape(len(present), len(images)))


def of_measure(table: pd.DataFrame, measure: str, name: str = "scores") -> tuple[pd.DataFrame, str]:
    """The rows that belong to a measure, and the column in which its values stand."""
    if "measure" not in table.columns:
        require(table, [measure], name)
        return table, measure
    require(table, ["value"], name)
    if len(table) and measure not in (known := measures_of(table)):
        raise UsageError(f"the table of {name} has no measure {measure}: it has {', '.join(known)}")
    return table[table["measure"] == measure], "value"


def measures_of(table: pd.DataFrame) -> list[str]:
    """The measures of a table in order of first appearance; a table that is not long has ``sfd``."""
    return names(table, "measure") if "measure" in table.columns else ["sfd"]


def require(table: pd.DataFrame, columns: list[str], name: str = "scores") -> None:
    """Raises `DasExplainError` if a column is missing."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DasExplainError(
            f"the table of {name} has no column {', '.join(missing)}: give the CSV of a das-explain run"
        )


def codes(column: pd.Series, rows: np.ndarray | None = None) -> tuple[np.ndarray, pd.Index]:
    """int (rows,): which of the distinct texts a row has; and these texts, in order of first appearance.

    ``rows`` int (n,): only of these, in this order. Categories that are a range are numbers that stand for texts and sort
    as these do; they come in their own order, and none is looked up.
    """
    array = column.array if rows is None else column.array[rows]
    if isinstance(array, pd.Categorical) and -1 not in array.codes:
        if isinstance(array.categories, pd.RangeIndex):
            there = np.bincount(array.codes, minlength=len(array.categories)) > 0
            return (np.cumsum(there) - 1)[array.codes], array.categories[there]
        if isinstance(array.categories.dtype, pd.StringDtype):
            found, places = pd.factorize(array.codes)
            return found, array.categories[places]
    found, values = pd.factorize(array, use_na_sentinel=False)
    values = pd.Index(values)
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.categories.dtype)
    if not isinstance(values.dtype, pd.StringDtype):
        again, values = pd.factorize(np.array([str(value) for value in values], dtype=object))  # 1 and "1" are one
        found = again[found] if len(again) else found
    return found.astype(np.int64, copy=False), pd.Index(values)


def rows_on(table: pd.DataFrame, block: str, model: str, images: pd.Index) -> np.ndarray:
    """Which row of the table is each image's, of a block and model: int (images,), -1 where there is none, of several the
    first."""
    mine = np.flatnonzero(_equal(table["block"], block) & _equal(table["model"], model))
    place, texts = codes(table["image"], mine)
    firsts = np.append(mine[np.unique(place, return_index=True)[1]], -1)
    return firsts[_places(images, texts)]


def column_on(table: pd.DataFrame, column: str, rows: np.ndarray) -> pd.Series:
    """Any column on the images of `rows_on`; missing where there is no row."""
    return pd.Series(pd.api.extensions.take(table[column].array, rows, allow_fill=True))


def _places(images: pd.Index, texts: pd.Index) -> np.ndarray:
    """Where each image stands in ``texts``, -1 where it does not: nothing is looked up where they are the same."""
    return np.arange(len(texts)) if images.equals(texts) else texts.get_indexer(images)


def _equal(column: pd.Series, text: str) -> np.ndarray:
    found, texts = codes(column)
    return found == (texts.get_loc(text) if text in texts else -1)


def names(table: pd.DataFrame, column: str) -> list[str]:
    """Distinct values of a column as text, in order of first appearance."""
    return [str(text) for text in codes(table[column])[1]]


def sizes(table: pd.DataFrame) -> dict[tuple[str, str], int]:
    """(block, model) -> its number of rows, scored or not; both in order of first appearance."""
    block, blocks = codes(table["block"])
    model, models = codes(table["model"])
    counts = np.bincount(block * len(models) + model, minlength=len(blocks) * len(models))
    pairs = ((str(block), str(model)) for block in blocks for model in models)
    return {pair: int(count) for pair, count in zip(pairs, counts, strict=True) if count}


def members(table: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    """Each block with the models that have it, all in order of first appearance."""
    yield from _members(sizes(table))


def _members(keys: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for block, model in keys:
        found.setdefault(block, []).append(model)
    yield from found.items()


def pairs_of(table: pd.DataFrame, baseline: str | None = None) -> list[tuple[str, str, str]]:
    """Block and two models that both have it, the one that appears first before the other.

    With a ``baseline`` only its pairs with each other model, the baseline first. Raises `UsageError` if there is no
    such model.
    """
    return pairs_among(sizes(table), baseline)


def pairs_among(keys: Iterable[tuple[str, str]], baseline: str | None = None) -> list[tuple[str, str, str]]:
    """`pairs_of` of each (block, model) there is, in order."""
    keys = list(keys)
    if baseline is None:
        return [(block, a, b) for block, models in _members(keys) for a, b in combinations(models, 2)]
    if keys and baseline not in (known := dict.fromkeys(model for _, model in keys)):
        raise UsageError(f"no model is called {baseline}: the run's models are {', '.join(known)}")
    return [
        (block, baseline, model)
        for block, models in _members(keys)
        if baseline in models
        for model in models
        if model != baseline
    ]


def _twice(cells: np.ndarray) -> np.ndarray:
    """bool (n,): which of the small whole numbers have been there before."""
    if not len(cells) or np.bincount(cells).max() < 2:  # as it should be; to look each up takes ten times the room
        return np.zeros(len(cells), bool)
    return pd.Series(cells).duplicated().to_numpy()
