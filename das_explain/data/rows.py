"""The rows of a CSV about images: what its cells may hold, for the samples themselves, their masks and rectangles.

Rectangles come as four columns ``x0,y0,x1,y1`` or as one column ``boxes`` with ``x0 y0 x1 y1;x0 y0 x1 y1``; pixels of
the upright photo, x1 and y1 exclusive. Other columns are ignored.
"""

from __future__ import annotations

import csv
import io
import math
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from das_explain.data.images import printable
from das_explain.data.remote import is_remote, place
from das_explain.errors import UsageError
from das_explain.files import read_regular
from das_explain.text import spelled

_CORNERS = ("x0", "y0", "x1", "y1")
Box = tuple[float, float, float, float]


def read_rows(path: Path, keys: Sequence[str] = ("image",)) -> list[tuple[int, dict[str, str]]]:
    """(line number, {column: cell}) of every row that is not blank; columns in lower case.

    ``keys``: columns of which the file has one or more, and each row a cell in one of them.
    """
    where = printable(path)
    try:
        text = read_regular(path, "CSV").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{where} is not UTF-8 text (byte {error.start}): save it as CSV in UTF-8") from None
    if (byte := text.find("\0")) >= 0:  # UTF-16 without a mark; csv minds it in Python 3.10 only
        raise UsageError(f"{where} is not UTF-8 text (NUL at character {byte}): save it as CSV in UTF-8")
    header = text.lstrip().split("\n", 1)[0]
    delimiter = next((mark for mark in (",", ";", "\t") if mark in header), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    columns: list[str] = []
    rows = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = _columns(cells, where, keys)
                continue
            if len(cells) > len(columns):
                raise UsageError(
                    f"{where}, line {reader.line_num}: {len(cells)} cells under {len(columns)} columns; "
                    f'quote a cell that contains "{delimiter}"'
                )
            row = dict(zip(columns, cells))
            row = {name: cell if name == "image" else cell.strip() for name, cell in row.items()}
            if not any(row.get(key, "").strip() for key in keys):
                raise UsageError(f"{where}, line {reader.line_num}: the {' or '.join(keys)} cell is empty")
            rows.append((reader.line_num, row))
    except csv.Error as error:
        raise UsageError(f"{where}, line {reader.line_num}: not valid CSV ({error})") from None
    if not columns:
        raise UsageError(f"{where} is empty: its first line must name the columns, image[,label][,mask]")
    return rows


def _columns(cells: list[str], where: str, keys: Sequence[str]) -> list[str]:
    columns = [cell.strip().lower() for cell in cells]
    if not set(keys) & set(columns):
        found = ", ".join(printable(cell)[:40] for cell in cells[:8])
        expected = "image[,label][,mask]" if keys == ("image",) else " or ".join(f"{key},value" for key in keys)
        raise UsageError(
            f"{where} has no column {' or '.join(keys)} (its first line reads: {found}); expected {expected}"
        )
    for name in ("image", "label", "mask", "boxes", "value", *_CORNERS):
        if columns.count(name) > 1:
            raise UsageError(f"{where} has two columns {name}")
    corners = [name for name in _CORNERS if name in columns]
    if 0 < len(corners) < 4:
        raise UsageError(f"{where} has the columns {', '.join(corners)}; a rectangle needs x0, y0, x1 and y1")
    return columns


def resolve(folder: Path, cell: str) -> tuple[str, Path]:
    """A path cell -> (name, path). Works where no file is called so and one is with slashes for the backslashes of a
    CSV made on Windows, or with accents spelt the other way (macOS writes them apart, most others as one character)."""
    stripped = cell.strip()
    if is_remote(stripped):
        return spelled(stripped), place(stripped)
    tries = [cell, stripped, stripped.replace("\\", "/")]
    tries += [unicodedata.normalize(form, each) for form in ("NFC", "NFD") for each in tries[1:]]
    cell = next((each for each in tries if os.path.exists(folder / each)), tries[2])
    path = folder / cell
    inside = os.path.isabs(cell) and path.is_relative_to(os.path.abspath(folder))
    name = path.relative_to(os.path.abspath(folder)) if inside else Path(cell)
    return spelled(name.as_posix()), path


def one_spelling(name: str) -> str:
    """A name in the one Unicode form (NFC) that names are compared in, whatever system they were written on."""
    return unicodedata.normalize("NFC", name)


def row_boxes(row: dict[str, str], where: str) -> tuple[Box, ...]:
    """The rectangles of one row; an empty row has none."""
    texts = [part for part in (row.get("boxes") or "").split(";") if part.strip()]
    corners = [row.get(name) or "" for name in _CORNERS]
    if any(corners):
        texts.append(" ".join(corner or "missing" for corner in corners))
    boxes = []
    for text in texts:
        try:
            x0, y0, x1, y1 = (float(number) for number in text.split())
        except ValueError:
            raise UsageError(f"{where}: a box is four numbers x0 y0 x1 y1 in pixels, not {printable(text)!r}") from None
        if not all(map(math.isfinite, (x0, y0, x1, y1))) or x1 <= x0 or y1 <= y0:
            raise UsageError(f"{where}: the box {printable(text)!r} is empty; it needs x0 < x1 and y0 < y1")
        boxes.append((x0, y0, x1, y1))
    return tuple(boxes)
