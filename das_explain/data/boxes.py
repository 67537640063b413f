"""``--boxes PATH``: rectangles for photos from a file of their own, for ``boxes+sam`` and box masks.

A CSV with ``image`` and rectangles as in ``rows``; ImageNet's ``LOC_val_solution.csv`` (``ImageId``,
``PredictionString``: ``n01440764 x0 y0 x1 y1 ...``); one XML file as PASCAL VOC and ImageNet have them, or a folder of
them. Photos are matched by name with or without ending, else by the last part of the name alone.

PASCAL counts pixels from 1 and includes the last one: its 1..500 is 0..500 here. ImageNet counts from 0.
"""

from __future__ import annotations

import csv
import math
import os
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from das_explain.data.images import printable
from das_explain.data.rows import Box, one_spelling, read_rows, row_boxes
from das_explain.errors import UsageError
from das_explain.files import expanded, is_regular, read_regular
from das_explain.types import Sample

Named = tuple[str | None, Box]  # the object's class, where the file tells it
MAX_XML = 1 << 20  # bytes; theirs have a few thousand


def attach_boxes(samples: Sequence[Sample], path: Path) -> list[Sample]:
    """The samples with ``boxes`` from ``path``, in place of any they had; without where it has none for them.

    Where a file names the objects and one has the sample's label, only objects of that name are taken: R is the
    classified object. Raises ``UsageError`` if nothing fits, or a name fits two entries.
    """
    found: dict[str, list[Named]] = defaultdict(list)
    for key, named in _entries(expanded(path)):
        found[one_spelling(key)] += named
    by_name: dict[str, list[str]] = defaultdict(list)
    for key in found:
        by_name[_stem(key)].append(key)
    spelt = [one_spelling(sample.name) for sample in samples]
    exact = [next((key for key in (name, _bare(name)) if key in found), None) for name in spelt]
    claimed = set(exact)  # by its whole name: no other sample has these boxes for the end of its name
    user: dict[str, str] = {}
    out, hits = [], 0
    for sample, name, mine in zip(samples, spelt, exact):
        if mine is None:
            keys = [each for each in by_name.get(_stem(name), []) if each not in claimed]
            if len(keys) > 1:
                raise UsageError(f"{printable(path)} has boxes for {keys[0]} and {keys[1]}; both fit {sample.name}")
            mine = keys[0] if keys else None
            if mine is not None and user.setdefault(mine, sample.name) != sample.name:
                both = f"{user[mine]} and {sample.name}"
                raise UsageError(f"the boxes for {mine} in {printable(path)} fit both {both}: name the folders there")
        named = found[mine] if mine is not None else []
        hits += bool(named)
        out.append(replace(sample, boxes=_of_label(named, sample.label)))
    if not hits:
        example = f", such as {samples[0].name}" if samples else ""
        raise UsageError(f"{printable(path)} has no box for any of the {len(samples)} images{example}")
    return out


def _of_label(named: list[Named], label: str | None) -> tuple[Box, ...]:
    wanted = _plain(label or "")
    same = [box for name, box in named if name is not None and _plain(name) == wanted]
    return tuple(same or (box for _, box in named))


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())


def _bare(name: str) -> str:
    """A name without the ending of a file: ``a/b.v2.jpg`` -> ``a/b.v2``."""
    return os.path.splitext(name)[0]


def _stem(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1].partition(".")[0]


def _entries(path: Path) -> Iterator[tuple[str, list[Named]]]:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.xml") if file.is_file())
        if not files:
            raise UsageError(f"{printable(path)} holds no XML files of boxes")
        for file in files:
            yield file.relative_to(path).with_suffix("").as_posix(), _read_xml(file)
    elif not is_regular(path):
        raise UsageError(f"no such file or folder of boxes: {printable(path)}")
    elif path.suffix.lower() == ".xml":
        yield path.stem, _read_xml(path)
    elif _is_localization(path):
        yield from _read_localization(path)
    else:
        for line, row in read_rows(path):
            yield (
                row["image"].strip().replace("\\", "/"),
                [(None, box) for box in row_boxes(row, f"{printable(path)}, line {line}")],
            )


# ---- ImageNet's LOC_*_solution.csv


def _is_localization(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline(200).decode("utf-8-sig", "replace").strip().lower().startswith("imageid,predictionstring")


def _read_localization(path: Path) -> Iterator[tuple[str, list[Named]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        next(reader)
        for row in reader:
            if not row:
                continue
            where = f"{printable(path)}, line {reader.line_num}"
            words = row[1].split() if len(row) == 2 else []
            if not words or len(words) % 5:
                raise UsageError(f"{where}: ImageId and groups of a class and four numbers are expected")
            yield row[0].strip(), [(words[i], _box(words[i + 1 : i + 5], where)) for i in range(0, len(words), 5)]


# ---- PASCAL VOC's and ImageNet's XML


def _read_xml(path: Path) -> list[Named]:
    where = printable(path)
    text = read_regular(path, "file of boxes", most=MAX_XML)
    if b"<!ENTITY" in text.replace(b"\0", b""):  # what a few objects need is plain
        raise UsageError(f"{where} is not a file of boxes: it defines entities of its own")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # an encoding that nobody knows
        raise UsageError(f"{where} is not XML ({error})") from None
    if root.tag != "annotation":
        raise UsageError(f"{where} is not a PASCAL VOC file: it has <{root.tag}> where <annotation> is expected")
    first = 0 if "ilsvrc" in (root.findtext("source/database") or "").lower() else 1
    named: list[Named] = []
    for thing in root.iter("object"):
        corners = [thing.findtext(f"bndbox/{end}") or "missing" for end in ("xmin", "ymin", "xmax", "ymax")]
        x0, y0, x1, y1 = _box(corners, where)
        named.append((thing.findtext("name"), (x0 - first, y0 - first, x1, y1)))
    return named


def _box(words: Sequence[str], where: str) -> Box:
    try:
        x0, y0, x1, y1 = (float(word) for word in words)
    except ValueError:
        raise UsageError(f"{where}: a box is four numbers, not {printable(' '.join(words))!r}") from None
    if not all(map(math.isfinite, (x0, y0, x1, y1))) or x1 <= x0 or y1 <= y0:
        raise UsageError(f"{where}: the box {' '.join(words)} is empty; the corners are x0 y0 x1 y1, x0 < x1, y0 < y1")
    return x0, y0, x1, y1
