"""The tables of a run's folder: their columns and types, one writer and one reader with one opinion of types.

Names, labels and statuses are text whatever they look like, and an empty cell is the empty text; everything else is a
number, and an empty cell is NaN.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from das_explain.errors import DasExplainError
from das_explain.files import is_regular, naming, part_of, replace_file

SCORES = (
    "image", "model", "block", "label", "target", "predicted", "confidence", "correct", "cam_max", "r_area",
    "b_x0", "b_y0", "b_x1", "b_y1", "w_r", "w_n", "sfd", "status",
)  # fmt: skip
MEASURES = ("image", "model", "block", "measure", "value", "status")
NULLS = ("image", "model", "block", "null", "measure", "value", "status")
SUMMARY = ("model", "block", "n", "n_scored", "mean_sfd", "ci_low", "ci_high")
COMPARISON = (
    "block", "model_a", "model_b", "n", "mean_a", "mean_b", "delta", "ci_low", "ci_high", "p_value", "p_adjusted", "win_rate",
)  # fmt: skip
LIFT = ("model", "block", "measure", "mean", "null", "mean_null", "lift", "ci_low", "ci_high", "n")
DESIGNS = (
    "block", "group_a", "group_b", "copies_a", "copies_b", "n", "mean_a", "mean_b", "delta", "ci_low", "ci_high",
    "image_ci_low", "image_ci_high", "claim",
)  # fmt: skip
READINGS = (
    "block", "model_a", "model_b", "scaling", "threshold", "box", "region", "zero_cam", "no_background", "n", "delta",
    "ci_low", "ci_high",
)  # fmt: skip
MEASURE_COMPARISON = ("measure", *COMPARISON)
AGREEMENT = ("block", "model_a", "model_b", "measure_a", "measure_b", "n", "tau", "p_value")
SIGNS = ("block", "model_a", "model_b", "reference", "sign", "measures", "same", "same_clear", "other_clear")
STATUS_COUNTS = ("model", "block", "status", "n")
EXCLUSIONS = (
    "block", "model_a", "model_b", "n", "delta", "ci_low", "ci_high", "excluded_a", "excluded_b", "excluded_both",
    "delta_low", "delta_high", "bound_ci_low", "bound_ci_high", "holds",
)  # fmt: skip
STRATA = (
    "family", "stratum", "block", "model_a", "model_b", "n", "mean_a", "mean_b", "delta", "ci_low", "ci_high", "p_value",
    "p_adjusted",
)  # fmt: skip
EFFECT_SIZES = (
    "block", "model_a", "model_b", "n", "p_value", "p_adjusted", "shift", "shift_low", "shift_high", "rank_biserial",
    "images_needed",
)  # fmt: skip
VARIANCE = ("block", "group", "copies", "n", "sd_copy", "sd_image", "sd_copy_image", "p_value")
COPIES = ("group", "model", "block", "measure", "n", "mean")
DESIGN_MEANS = (
    "measure", "block", "group", "copies", "n", "mean", "ci_low", "ci_high", "least", "greatest", "sd_copy", "sd_image",
    "sd_copy_image",
)  # fmt: skip
DESIGN_DIFFERENCES = ("measure", *DESIGNS, "copies_needed")
DESIGN_LIFTS = (
    "measure", "block", "group", "null", "copies", "n", "mean", "mean_null", "lift", "ci_low", "ci_high",
)  # fmt: skip
DESIGN_READINGS = ("block", "group_a", "group_b", *READINGS[3:])
CORRELATIONS = (
    "measure", "block", "copies", "r", "ci_low", "ci_high", "rho", "within", "within_ci_low", "within_ci_high",
)  # fmt: skip
REGION_RANGES = ("image", "model", "block", "alternatives", "sfd", "least", "greatest")
REGION_UNCERTAINTY = (
    "block", "model_a", "model_b", "n", "flips", "share", "range_a", "range_b", "delta", "delta_low", "delta_high",
)  # fmt: skip
BEST_IOU = ("model", "block", "n", "threshold", "mean_iou", "best_threshold", "best_iou")
SAMPLE = ("index", "image", "label")
TABLES = {
    "scores": SCORES, "measures": MEASURES, "nulls": NULLS, "summary": SUMMARY, "comparison": COMPARISON, "lift": LIFT,
    "designs": DESIGNS, "sample": SAMPLE, "readings": READINGS, "measure_comparison": MEASURE_COMPARISON,
    "agreement": AGREEMENT, "signs": SIGNS, "statuses": STATUS_COUNTS, "exclusions": EXCLUSIONS, "strata": STRATA,
    "effect_sizes": EFFECT_SIZES, "variance": VARIANCE, "copies": COPIES, "design_means": DESIGN_MEANS,
    "design_differences": DESIGN_DIFFERENCES, "design_lifts": DESIGN_LIFTS, "design_readings": DESIGN_READINGS,
    "correlations": CORRELATIONS, "region_ranges": REGION_RANGES, "region_uncertainty": REGION_UNCERTAINTY,
    "best_iou": BEST_IOU,
}  # fmt: skip
TEXT = {
    "image",
    "model",
    "block",
    "label",
    "target",
    "predicted",
    "status",
    "measure",
    "null",
    "model_a",
    "model_b",
    "group_a",
    "group_b",
    "claim",
    "scaling",
    "box",
    "region",
    "zero_cam",
    "no_background",
    "measure_a",
    "measure_b",
    "reference",
    "family",
    "stratum",
    "group",
}
REPEATED = TEXT - {
    "image",
    "label",
    "target",
    "predicted",
    "claim",
    "stratum",
}  # few different values: kept as categories


_ROWS = 10_000  # read at once where all are: pandas takes several times their room meanwhile
LONGEST_HEADER = 1 << 16  # bytes


def read_table(path: Path, columns: Sequence[str] = (), *, only: Sequence[str] | None = None) -> pd.DataFrame:
    """A CSV of a run. ``columns`` must be there; ``only`` these are read, all texts as categories.

    ``correct`` is 1, 0 or NaN. Raises DasExplainError, on one line, for a file that is missing, broken, or lacks one.
    """
    with _one_line(path):
        how = _types(path, columns, only)
        if only is None:
            return _typed(pd.read_csv(path, **how))
        how["dtype"] = {name: "category" if name in TEXT else kind for name, kind in how["dtype"].items()}
        with pd.read_csv(path, **how, chunksize=_ROWS) as parts:
            return _joined(map(_typed, parts))


def read_parts(
    path: Path, columns: Sequence[str] = (), *, only: Sequence[str] | None = None, rows: int
) -> Iterator[pd.DataFrame]:
    """As ``read_table``, so many rows at a time, so that memory does not grow with the file."""
    with _one_line(path), pd.read_csv(path, **_types(path, columns, only), chunksize=rows) as parts:
        for part in parts:
            yield _typed(part)


def _types(path: Path, columns: Sequence[str], only: Sequence[str] | None) -> dict[str, Any]:
    """Which columns of the file are read, and as what."""
    with path.open("rb") as file:  # pandas looks for its end in all of the file
        header = file.readline(LONGEST_HEADER)
    if len(header) == LONGEST_HEADER:
        raise DasExplainError(f"{path} has a first line without an end: was it written by another program?")
    if not header.strip():
        raise pd.errors.EmptyDataError
    try:
        names = next(csv.reader([header.decode("utf-8-sig")]))
    except csv.Error as error:
        raise DasExplainError(f"{path} has a first line that is none: {error}") from None
    missing = [name for name in (only or columns) if name not in names]
    if missing:
        raise DasExplainError(f"{path} lacks the column {missing[0]}: was it written by another version?")
    wanted = [name for name in names if only is None or name in only]
    text = {name: "category" if name in REPEATED else str for name in wanted if name in TEXT}
    return {
        "usecols": wanted,
        "dtype": text | ({"correct": str} if "correct" in wanted else {}),
        "keep_default_na": False,
        "na_values": {name: [""] for name in wanted if name not in TEXT and name != "correct"},
    }


def _joined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """One below the other, categories of texts as such."""
    apart: dict[str, list[pd.Series]] = {}
    for part in parts:
        for name in part.columns:  # copied out of the part, which would stay in memory for the sake of one
            apart.setdefault(name, []).append(part[name].copy())
    columns: dict[str, Any] = {}
    for name in [*apart]:
        each = apart.pop(name)
        columns[name] = pd.api.types.union_categoricals(each) if name in TEXT else pd.concat(each, ignore_index=True)
    return pd.DataFrame(columns, copy=False)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    for name in table.columns:
        if name not in TEXT and name != "correct":
            table[name] = pd.to_numeric(table[name], errors="coerce")
    if "correct" in table:
        table["correct"] = table["correct"].str.lower().map({"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0})
    return table


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """What reading a CSV may run into, said on one line."""
    if path.exists() and not is_regular(path):
        raise DasExplainError(f"{path} is no file: move it away and score the run again")
    try:
        yield
    except pd.errors.EmptyDataError:
        raise DasExplainError(f"{path} is empty: score the run again") from None
    except FileNotFoundError:
        raise DasExplainError(f"{path} is missing: is this the folder of a run of das-explain sfd?") from None
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise DasExplainError(f"{path} cannot be read as CSV: {str(error).splitlines()[0]}") from None


class TableWriter:
    """Writes a CSV part by part, under its final name only when it is whole."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, list(columns)
        self.partial = part_of(path)

    def __enter__(self) -> TableWriter:
        self.partial.unlink(missing_ok=True)
        self._file = self.partial.open("x", encoding="utf-8", newline="")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(self.columns)
        return self

    def add(self, table: pd.DataFrame | Mapping[str, np.ndarray]) -> None:
        """Appends rows; numbers with six significant digits, NaN and None as empty cells."""
        try:
            self._rows.writerows(zip(*(_cells(table[name]) for name in self.columns), strict=True))
        except OSError as error:
            raise naming(error, self.path) from None

    def __exit__(self, kind: Any, *_: Any) -> None:
        try:
            self._file.close()
            if kind is None:
                os.replace(self.partial, self.path)
        except OSError as error:
            raise naming(error, self.path) from None
        finally:
            self.partial.unlink(missing_ok=True)


def _cells(column: pd.Series | np.ndarray) -> list[Any]:
    if isinstance(column.dtype, np.dtype) and column.dtype.kind == "f":
        return ["" if number != number else f"{number:.6g}" for number in column.tolist()]
    if isinstance(column, pd.Series) and not isinstance(column.dtype, np.dtype):
        column = column.to_numpy(object, na_value=None)
    return ["" if value is None or value is pd.NA or value != value else value for value in column.tolist()]


def write_table(path: Path, table: pd.DataFrame) -> None:
    """A whole table, as ``TableWriter`` writes its parts."""
    with TableWriter(path, list(table.columns)) as writer:
        writer.add(table)


def write_parts(folder: Path, name: str, parts: Iterable[pd.DataFrame]) -> None:
    """A table of ``TABLES`` whose rows come in parts, into ``folder``."""
    with TableWriter(folder / f"{name}.csv", TABLES[name]) as writer:
        for part in parts:
            writer.add(part)


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Rows as dictionaries, one at a time; ``None`` is an empty cell."""

    def write(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([row[column] for column in columns] for row in rows)

    replace_file(path, write)
