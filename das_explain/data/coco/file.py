"""A COCO file, read, and which of its annotations are the object of a photo."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from das_explain.classnames import BY_ID, match_classes, synset_of
from das_explain.data.images import printable
from das_explain.errors import DasExplainError, UsageError, one_line
from das_explain.files import read_regular


@dataclass(frozen=True)
class CocoFile:
    """A COCO file, read: its images, the annotations by image id, category id -> name."""

    images: list[dict[str, Any]]
    annotations: dict[Any, list[dict[str, Any]]]
    categories: dict[Any, str]


@dataclass(frozen=True)
class Choice:
    """The ``annotations`` that make an image's R. ``notes``: words of ``assumptions.OF_COCO``."""

    image: dict[str, Any]
    annotations: list[dict[str, Any]]
    notes: tuple[str, ...]


def choose_annotations(
    file: CocoFile, image: dict[str, Any], label: str | None, values: Sequence[str] = (), *, crowd: bool = False
) -> Choice:
    """Those of the categories ``values`` (names or ids), else of the category of the image's label.

    Without either, or where the file knows no such category, all. ``crowd``: crowd regions are no object unless asked
    for. Raises ``UsageError`` for a value that is no category.
    """
    mine = file.annotations.get(image["id"], [])
    known: set[Any] = set()
    notes = []
    if values:
        for value in values:
            found, _ = match_category(value, file.categories)
            found = found or {number for number in file.categories if str(number) == value}
            if not found:
                names = ", ".join(sorted(file.categories.values())[:8])
                raise UsageError(f"--mask-value: the COCO file has no category {printable(value)!r}; it has {names}")
            known |= found
    elif label is not None:
        known, is_loose = match_category(label, file.categories)
        notes += ["loose"] * is_loose
    chosen = [each for each in mine if each.get("category_id") in known] if known else mine
    if not known and label is not None and mine:
        notes.append("any")
    if not known and label is None and len({str(each.get("category_id")) for each in mine}) > 1:
        notes.append("unlabelled")
    kept = [each for each in chosen if crowd or not each.get("iscrowd")]
    return Choice(image, kept, (*notes, *("crowd",) * (len(kept) < len(chosen))))


def match_category(name: str, categories: dict[Any, str]) -> tuple[set[Any], bool]:
    """The ids of the category that a class is, by the rule of ``match_classes``, and whether it was found loosely.

    Two categories of one name are both; none where several fit.
    """
    label, is_loose = _match_label(name, tuple(dict.fromkeys(categories.values())))
    return {number for number, each in categories.items() if each == label}, is_loose


@lru_cache(maxsize=4096)  # a file has one list of categories, and many photos of one label
def _match_label(name: str, labels: tuple[str, ...]) -> tuple[str | None, bool]:
    for how, found in match_classes([name], labels, [synset_of(label) for label in labels]).items():
        if name in found:
            return labels[found[name]], how not in ("", BY_ID)
    return None, False


def read_coco(file: str) -> CocoFile:
    """A COCO file, checked as far as its lists and their links go; read once as long as it stays the same.

    Raises:
        UsageError: it is no COCO file.
        DasExplainError: it cannot be read.
    """
    try:
        told = os.stat(file)
        return _read_version(file, told.st_mtime_ns, told.st_size)
    except OSError as error:
        raise DasExplainError(f"cannot read {printable(file)}: {error.strerror}") from None


@lru_cache(maxsize=2)
def _read_version(file: str, *version: int) -> CocoFile:
    where = printable(file)
    try:
        content = json.loads(read_regular(Path(file), "COCO file"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is no JSON: {one_line(error)[:100]}") from None
    parts: list[Any] = [content.get(name) if isinstance(content, dict) else None for name in ("images", "annotations")]
    if not all(isinstance(part, list) and all(isinstance(each, dict) for each in part) for part in parts):
        raise UsageError(f"{where} is no COCO file: it needs the lists images and annotations")
    images, annotations = parts
    try:
        by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for annotation in annotations:
            by_image[annotation["image_id"]].append(annotation)
        numbers = {image["id"] for image in images}
        if len(numbers) < len(images):
            raise UsageError(f"{where}: two images have the same id")
        categories = {
            each["id"]: str(each["name"]) for each in content.get("categories") or [] if isinstance(each, dict)
        }
    except (KeyError, TypeError) as error:
        raise UsageError(f"{where} is no COCO file: an image, annotation or category lacks a usable {error}") from None
    if lost := set(by_image) - numbers:
        raise UsageError(f"{where}: an annotation belongs to image {printable(str(lost.pop()))}, which is not listed")
    return CocoFile(images, dict(by_image), categories)
