"""On which images do models differ? The paired difference within strata: by right and wrong, size, place and class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from das_explain.stats.intervals import mean_intervals
from das_explain.stats.pairing import codes, column_on, of_measure, pair, pairs_of, require, rows_on
from das_explain.stats.significance import holm, sign_flip_p_values

STRATA = ["family", "stratum", "block", "model_a", "model_b", "n", "mean_a", "mean_b", "delta", "ci_low", "ci_high",
    "p_value", "p_adjusted"]  # fmt: skip
THIRDS = {"area": ("small", "medium", "large"), "centre": ("central", "between", "off centre")}
RIGHT = ("both wrong", "one right", "both right")


class Stratum(NamedTuple):
    """``chosen`` bool (images,): which images are in it."""

    family: str
    name: str
    chosen: np.ndarray


def compare_strata(
    scores: pd.DataFrame,
    measure: str = "sfd",
    images: pd.DataFrame | None = None,
    baseline: str | None = None,
) -> pd.DataFrame:
    """The paired difference between two models within strata of the images that are scored for both.

    ``scores`` is scores.csv, or a table of measures with the same further columns; ``images`` may add a column
    ``distance``, that of R's centre from the frame's centre in any unit, with one row per ``image``. Families of
    strata, each where its column is there:

    - ``correct``: ``both right``, ``one right``, ``both wrong``, by the column ``correct``;
    - ``area``: thirds of the object's area, ``small``, ``medium``, ``large``, by ``r_area`` (the mean of both frames');
    - ``centre``: thirds of that distance, ``central``, ``between``, ``off centre``;
    - ``class``: a stratum for each ``label``, in sorted order.

    Thirds are of the images that a row compares; equal values fall into one stratum. Returns ``family, stratum, block,
    model_a, model_b, n, mean_a, mean_b, delta, ci_low, ci_high, p_value, p_adjusted``, as in `tables.compare`;
    ``p_adjusted`` is Holm's over all rows of a family. A stratum without an image has no row. Strata are looked for,
    not foreseen: a difference in one of them is a question for other images.
    """
    mine, _ = of_measure(scores, measure)
    require(mine, ["image", "model", "block", "status"])
    wide = pair(scores, ["block", "model"], measure)
    distance = _distances(images, wide.images)
    keys, differences = [], []
    for block, a, b in pairs_of(mine, baseline):
        both = np.stack([wide.of((block, a)), wide.of((block, b))])
        known = ~np.isnan(both).any(axis=0)
        for family, name, chosen in _strata(mine, block, (a, b), wide.images[known], distance[known]):
            of_a, of_b = both[:, known][:, chosen]
            keys.append((family, name, block, a, b, len(of_a), of_a.mean(), of_b.mean()))
            differences.append(of_b - of_a)
    found = zip(keys, mean_intervals(differences), sign_flip_p_values(differences), strict=True)
    rows = [(*key, *interval, p_value, np.nan) for key, interval, p_value in found]
    table = pd.DataFrame(rows, columns=STRATA)
    for family in dict.fromkeys(table["family"]):
        chosen = table["family"] == family
        table.loc[chosen, "p_adjusted"] = holm(table.loc[chosen, "p_value"].to_numpy(dtype=float))
    order = {family: place for place, family in enumerate(("correct", "area", "centre", "class"))}
    return table.sort_values("family", key=lambda family: family.map(order), kind="stable", ignore_index=True)


def _strata(
    scores: pd.DataFrame, block: str, models: tuple[str, str], images: pd.Index, distance: np.ndarray
) -> Iterator[Stratum]:
    """The strata of these images that hold one."""
    rows = [rows_on(scores, block, model, images) for model in models]

    def of(column: str) -> list[pd.Series]:
        return [column_on(scores, column, each) for each in rows]

    found: list[Stratum] = []
    if "correct" in scores.columns:
        right = np.sum([_truth(column) for column in of("correct")], axis=0)  # NaN where one is not known
        found += [Stratum("correct", RIGHT[count], right == count) for count in (2, 1, 0)]
    if "r_area" in scores.columns:
        areas = np.mean(
            [pd.to_numeric(column, errors="coerce").to_numpy(dtype=float) for column in of("r_area")], axis=0
        )
        found += _thirds("area", areas)
    found += _thirds("centre", distance)
    if "label" in scores.columns:
        label = of("label")[0]
        place, labels = codes(label)
        known = label.notna().to_numpy() & np.array([str(each) != "" for each in labels], dtype=bool)[place]
        classes = {str(each): which for which, each in enumerate(labels)}
        found += [Stratum("class", each, known & (place == classes[each])) for each in sorted(classes)]
    yield from (stratum for stratum in found if stratum.chosen.any())


def _thirds(family: str, values: np.ndarray) -> list[Stratum]:
    """Three strata of nearly the same size; NaN in none."""
    if np.isnan(values).all():
        return []
    edges = np.nanquantile(values, [1 / 3, 2 / 3])
    third = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="left"))
    return [Stratum(family, name, third == which) for which, name in enumerate(THIRDS[family])]


def _truth(column: pd.Series) -> np.ndarray:
    """1.0, 0.0 or NaN of a column that holds true and false in any spelling of a CSV."""
    place, texts = codes(column)
    known = {"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0}
    return np.array([known.get(str(text).lower(), np.nan) for text in texts])[place]


def _distances(table: pd.DataFrame | None, images: pd.Index) -> np.ndarray:
    """The column ``distance`` on these images; NaN where it says nothing."""
    if table is None:
        return np.full(len(images), np.nan)
    require(table, ["image", "distance"], "images")
    place, texts = codes(table["image"])
    distance = pd.Series(pd.to_numeric(table["distance"], errors="coerce").to_numpy(dtype=float), index=texts[place])
    return distance[~distance.index.duplicated()].reindex(images).to_numpy(dtype=float)
