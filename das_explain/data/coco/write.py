"""Writes COCO-format JSON, image by image, so that memory does not grow with the masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from das_explain.data.coco import rle
from das_explain.files import open_new

SHAPES = ("polygons", "rle")


def annotation(mask: np.ndarray, shapes: str = "polygons") -> dict[str, Any]:
    """A bool mask (H, W) as a COCO annotation, without its ids.

    ``polygons`` run along the edges of the pixels and give the mask back exactly; a mask with holes, which COCO's
    polygons cannot have, comes as compressed RLE. ``rle``: always RLE.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x0, y0, x1, y1 = (int(edge) for edge in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    outer, holes = ([], True) if shapes == "rle" else rle.rings(mask)
    return {
        "segmentation": rle.encode(mask) if holes else outer,
        "area": int(mask.sum()),
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "iscrowd": 0,
    }


class CocoWriter:
    """A context manager: ``path`` is there, whole, after it was left without an error."""

    def __init__(self, path: Path, categories: Sequence[str], info: dict[str, Any]) -> None:
        self.path = path
        self.category = {name: number for number, name in enumerate(categories, 1)}
        self.info = info
        self._open = ExitStack()
        self._images: list[dict[str, Any]] = []
        self._annotations = 0

    def __enter__(self) -> CocoWriter:
        self._file = self._open.enter_context(open_new(self.path))
        self._write('{"info":' + json.dumps(self.info) + ',\n"annotations":[')
        return self

    def add(self, name: str, size: tuple[int, int], category: str, shape: dict[str, Any] | None) -> None:
        """An image of ``size`` (width, height), and its annotation (``None``: the image has no object)."""
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": name, "width": size[0], "height": size[1]})
        if shape is not None:
            ids = {"id": self._annotations + 1, "image_id": number, "category_id": self.category[category]}
            self._write(("," if self._annotations else "") + "\n" + json.dumps({**ids, **shape}))
            self._annotations += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if kind is not None:
            return bool(self._open.__exit__(kind, error, trace))
        with self._open:
            categories = [{"id": number, "name": name} for name, number in self.category.items()]
            images = ",\n".join(json.dumps(image) for image in self._images)
            self._write(f'\n],\n"images":[\n{images}\n],\n"categories":{json.dumps(categories)}}}\n')
        return False

    def _write(self, text: str) -> None:
        self._file.write(text.encode("ascii"))
