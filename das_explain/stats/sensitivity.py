"""Is it the model or the metric? What becomes of a difference when the measure is read in every way that it may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from das_explain.errors import DasExplainError, UsageError
from das_explain.stats.pairing import require

CHOICES = ("scaling", "threshold", "box", "region", "zero_cam", "no_background")
DEFAULT_READING: Mapping[str, Any] = {
    "scaling": "antilog",
    "threshold": 0.3,
    "box": "rect",
    "region": "as is",
    "zero_cam": "out",
    "no_background": 1,
}
READINGS = ["block", "model_a", "model_b", *CHOICES, "n", "delta", "ci_low", "ci_high"]
SENSITIVITY = ["block", "model_a", "model_b", "delta", "readings", "same_sign", "excludes_zero", "other_excludes_zero",
    "least", "median", "greatest"]  # fmt: skip


def sensitivity(readings: pd.DataFrame, default: Mapping[str, Any] = DEFAULT_READING) -> pd.DataFrame:
    """How far the sign of a difference depends on how the measure is read.

    ``readings`` is readings.csv: ``block, model_a, model_b``, the six choices (``scaling, threshold, box, region,
    zero_cam, no_background``), ``n, delta, ci_low, ci_high``. Returns a row for every block and pair of models:
    ``block, model_a, model_b, delta, readings, same_sign, excludes_zero, other_excludes_zero, least, median,
    greatest``. ``delta`` is the difference in the ``default`` reading; of ``readings`` that have a difference,
    ``same_sign`` have the sign of ``delta``, ``excludes_zero`` an interval on that side of 0, ``other_excludes_zero``
    one on the other; ``least``, ``median`` and ``greatest`` are of the differences. Where ``delta`` is 0 or NaN no
    reading has its sign.

    The readings are of the same images, so these are counts and no test: none of them is new evidence. Raises
    `UsageError` if a block and pair lack the default reading or have it twice.
    """
    table = specification_curve(readings, default)
    rows = []
    for key, mine in table.groupby(["block", "model_a", "model_b"], sort=False, observed=True):
        delta = float(mine.loc[mine["default"], "delta"].iloc[0])
        deltas = mine["delta"].dropna()
        sign = np.nan_to_num(np.sign(_rounded(delta)))
        same = int((np.sign(_rounded(deltas)) == sign).sum()) if sign else 0
        above, below = int((mine["ci_low"] > 0).sum()), int((mine["ci_high"] < 0).sum())
        clear, other = (below, above) if sign < 0 else (above, below)
        if not sign:
            clear, other = 0, above + below
        spread = (deltas.min(), deltas.median(), deltas.max()) if len(deltas) else (np.nan,) * 3
        rows.append((*key, delta, len(deltas), same, clear, other, *map(float, spread)))
    return pd.DataFrame(rows, columns=SENSITIVITY)


def specification_curve(readings: pd.DataFrame, default: Mapping[str, Any] = DEFAULT_READING) -> pd.DataFrame:
    """The readings in the order in which a specification curve shows them (Simonsohn, Simmons and Nelson 2020).

    The table of readings with two more columns: ``place``, from 0, by which the rows of each block and pair of models
    are sorted, least difference first, ties by the choices' order in the table, readings without a difference last; and
    ``default``, bool, which marks the ``default`` reading. Blocks and pairs in order of first appearance. Errors as in
    `sensitivity`.
    """
    require(readings, READINGS, "readings")
    keys = ["block", "model_a", "model_b"]
    marked = np.logical_and.reduce([_text(readings[name]) == _one(default[name]) for name in CHOICES])
    table = readings.assign(default=marked, delta=pd.to_numeric(readings["delta"], errors="coerce").astype(float))
    parts = []
    for key, mine in table.groupby(keys, sort=False, observed=True):
        if (count := int(mine["default"].sum())) != 1:
            where = f"{key[0]}, {key[1]} and {key[2]}"
            raise UsageError(f"the readings of {where} have the default reading {count} times: give it once")
        mine = mine.sort_values("delta", kind="stable", na_position="last")
        parts.append(mine.assign(place=np.arange(len(mine))))
    return pd.concat(parts, ignore_index=True) if parts else table.assign(place=pd.Series(dtype=int))


def verdict(row: Any) -> str:
    """A row of `sensitivity` in words: "The sign of b - a at BLOCK holds in 20 of 24 readings; the interval excludes
    zero in 12."
    """
    if not row.readings:
        raise DasExplainError(f"no reading of {row.block} has a difference between {row.model_a} and {row.model_b}")
    named = f"{row.model_b} \u2212 {row.model_a} at {row.block}"
    if not np.sign(_rounded(row.delta)) or np.isnan(row.delta):
        of_all = f"{row.other_excludes_zero} of {row.readings} readings"
        return f"In the default reading {named} has no sign; it excludes zero in {of_all}."
    more = f", and in {row.other_excludes_zero} on the other side" if row.other_excludes_zero else ""
    return (
        f"The sign of {named} holds in {row.same_sign} of {row.readings} readings; the interval excludes zero in "
        f"{row.excludes_zero}{more}."
    )


def _rounded(value: Any) -> Any:
    """Ten decimals: a difference of rounding errors has no sign."""
    return np.round(value, 10)


def _text(column: pd.Series) -> np.ndarray:
    """Each choice as text, 1, 1.0 and "1" alike."""
    known = {value: _one(value) for value in column.unique()}
    return column.map(known).astype(object).to_numpy()


def _one(value: Any) -> str:
    try:
        return f"{float(value):g}"
    except (ValueError, TypeError, OverflowError):  # run.json may be of a stranger
        return str(value)
