"""A COCO file as a detection data set: images, and the boxes and categories of the objects in them.

    FILE.json            the images lie where the first listed one is found: beside the file, in ``images`` beside it,
                         or, as COCO is laid out, ``annotations/instances_val2017.json`` and ``val2017/``
    FILE.json@FOLDER     the images lie in FOLDER

Boxes are (x, y, width, height) in pixels, as COCO has them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from das_explain.data.coco.file import CocoFile, read_coco
from das_explain.data.coco.shapes import is_number
from das_explain.data.images import ImageError, decode_image, full_size, printable, stored_turn
from das_explain.data.sources import path_of
from das_explain.errors import UsageError
from das_explain.files import expanded, sha256_of
from das_explain.types import Sample

_BACK = {Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270}


@dataclass(frozen=True)
class ObjectReader:
    """Reads photos as their COCO file describes them; small, for decoding workers."""

    sizes: dict[int, tuple[int, int]]  # index of a sample -> (width, height), where the file tells

    def read(self, sample: Sample) -> Image.Image:
        """The photo, RGB, in the frame of its boxes: upright, or as stored if only that has the size the file tells.

        Raises:
            ImageError: it cannot be read, is of another size, or so large that it comes reduced.
        """
        image = decode_image(path_of(sample))
        told, real = self.sizes.get(sample.index), full_size(image)
        if told not in (None, real) and (turn := stored_turn(path_of(sample))) is not None:
            image = image.transpose(_BACK.get(turn, turn))
            real = image.size
        if told not in (None, real) or image.size != real:
            width, height = told or real
            raise ImageError(
                f"{printable(path_of(sample))} has {image.width} x {image.height} pixels, its boxes are for {width} x {height}"
            )
        return image


@dataclass(frozen=True)
class ObjectDataset:
    """Photos with boxes. ``samples[i]`` is the file's i-th image; ``categories`` (id -> name) are in order of their ids.

    ``fingerprint`` is the SHA-256 of the file.
    """

    spec: str
    file: CocoFile
    samples: tuple[Sample, ...]
    categories: dict[int, str]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def reader(self) -> ObjectReader:
        """What reads the photos."""
        sides = [(each.get("width"), each.get("height")) for each in self.file.images]
        sizes = {i: (w, h) for i, (w, h) in enumerate(sides) if isinstance(w, int) and isinstance(h, int)}
        return ObjectReader(sizes)

    def image_id(self, sample: Sample) -> Any:
        """The file's id of an image."""
        return self.file.images[sample.index]["id"]

    def objects(self, sample: Sample) -> list[dict[str, Any]]:
        """The annotations of an image: ``bbox`` (x, y, width, height) in pixels, ``category_id``, perhaps ``iscrowd``."""
        return self.file.annotations.get(self.image_id(sample), [])


def is_object_spec(spec: str) -> bool:
    """Whether a data spec names a COCO file."""
    return spec.rpartition(".json@")[0] != "" or spec.lower().endswith(".json")


def open_objects(spec: str) -> ObjectDataset:
    """Reads ``FILE.json[@FOLDER]`` and checks its boxes; no image is read.

    Raises:
        UsageError: no COCO file, a box or category that cannot be used, a path out of the folder, no images found.
        DasExplainError: the file cannot be read.
    """
    head, at, folder = spec.rpartition(".json@")
    path = expanded(f"{head}.json" if at else spec)
    file, where = read_coco(str(path)), printable(path)
    categories = {number: file.categories[number] for number in sorted(file.categories, key=_category_order)}
    if not file.images or not categories:
        raise UsageError(f"{where} lists no images" if not file.images else f"{where} lists no categories")
    if len(set(categories.values())) < len(categories):
        raise UsageError(f"{where}: two categories have the same name")
    for annotation in (each for mine in file.annotations.values() for each in mine):
        _check(annotation, categories, where)
    names = [_file_name(image, where) for image in file.images]
    root = expanded(folder) if at else _image_folder(path, names[0])
    samples = tuple(Sample(name, i, path=root / name) for i, name in enumerate(names))
    return ObjectDataset(spec, file, samples, categories, sha256_of(path))


def corners(annotations: list[dict[str, Any]]) -> np.ndarray:
    """The boxes of annotations: float32 (M, 4), x0, y0, x1, y1."""
    boxes = np.array([each["bbox"] for each in annotations], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _check(annotation: dict[str, Any], categories: dict[int, str], where: str) -> None:
    box = annotation.get("bbox")
    if not (isinstance(box, list) and len(box) == 4 and all(map(is_number, box))):
        raise UsageError(f"{where}: annotation {printable(str(annotation.get('id')))} has no box of four numbers")
    number = annotation.get("category_id")
    if not isinstance(number, (int, str)) or number not in categories:
        raise UsageError(f"{where}: an annotation is of category {printable(str(number))}, which is not listed")


def _category_order(number: Any) -> tuple[bool, Any]:
    return (True, number) if isinstance(number, int) else (False, str(number))


def _file_name(image: dict[str, Any], where: str) -> str:
    name = str(image.get("file_name", "")).replace("\\", "/")
    parts = name.split("/")
    if not name or name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise UsageError(f"{where}: {printable(name)!r} is no file name below the folder of the images")
    return name


def _image_folder(path: Path, first: str) -> Path:
    split = re.sub(r"^(instances|annotations)_", "", path.stem)
    tried = [path.parent, path.parent / "images", path.parent.parent / split, path.parent / split]
    for folder in tried:
        if (folder / first).is_file():
            return folder
    looked = ", ".join(printable(folder) for folder in tried)
    raise UsageError(f"{printable(path)}: {printable(first)} is in none of {looked}; write {printable(path)}@FOLDER")
