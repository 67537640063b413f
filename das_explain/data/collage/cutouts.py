"""The photographs that ship with scikit-image and scikit-learn, and the objects cut out of them.

Nothing is downloaded. `outlines.json` is this project's own drawing: the objects' outlines as polygons (outer
ring, then holes), rectangles of the photographs that show none of the objects, and the scenes built of these, all in
pixels of the photographs (pixel (0, 0) covers [0, 1) x [0, 1)).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from das_explain.errors import DasExplainError

DRAWING: dict[str, Any] = json.loads(Path(__file__).with_name("outlines.json").read_text("utf-8"))
_FROM_SKLEARN = ("china.jpg", "flower.jpg")


def source_path(photo: str) -> Path:
    """The photograph's file in the installed wheel, found without importing the package, which could download."""
    sklearn = photo in _FROM_SKLEARN
    spec = find_spec("sklearn" if sklearn else "skimage")
    if spec is not None and spec.origin:
        path = Path(spec.origin).parent / ("datasets/images" if sklearn else "data") / photo
        if path.is_file():
            return path
    distribution = "scikit-learn" if sklearn else "scikit-image"
    raise DasExplainError(f"the collage cuts out {photo}, which ships with {distribution}: pip install {distribution}")


def check_photographs() -> None:
    """Raises ``DasExplainError`` unless every photograph of the drawing is there; reads none of them."""
    items = [*DRAWING["distractors"], *(item for items in DRAWING["objects"].values() for item in items)]
    for photo in sorted({each["photo"] for each in (*items, *DRAWING["surfaces"].values())}):
        source_path(photo)


@cache
def photograph(photo: str) -> np.ndarray:
    """A source photograph, uint8 (H, W, 3) RGB."""
    with Image.open(source_path(photo)) as image:
        return np.asarray(image.convert("RGB"))


@dataclass(frozen=True)
class Cutout:
    """An object cut out of its photograph."""

    photo: str
    rings: tuple[np.ndarray, ...]  # float32 (N, 2) each, the first is the outer one, the others are holes
    origin: tuple[int, int]  # x, y of the levels' corner in the photograph
    levels: tuple[np.ndarray, ...]  # uint8 (h, w, 4), colour and coverage, each half the one before, against aliasing
    area: float  # in pixels of the photograph


def _cut(photo: str, rings: tuple[np.ndarray, ...]) -> Cutout:
    pixels = photograph(photo)
    height, width = pixels.shape[:2]
    canvas = np.zeros((height * 4, width * 4), np.uint8)  # drawn four times finer, then averaged
    cv2.fillPoly(canvas, [np.round((ring * 4 - 0.5) * 16).astype(np.int32) for ring in rings], 255, shift=4)
    coverage = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    x0, y0 = np.maximum(np.floor(rings[0].min(0)).astype(int) - 4, 0)
    x1, y1 = np.ceil(rings[0].max(0)).astype(int) + 4
    alpha, pixels = coverage[y0:y1, x0:x1], pixels[y0:y1, x0:x1]
    # Colours spread outwards from safely inside, so that the soft edge mixes the object with its new background, never
    # with the old one. Thin tubes have no inside and keep their own pixels.
    inside = (cv2.erode(alpha, np.ones((3, 3), np.uint8)) > 250).astype(np.float32)[..., None]
    weight = np.maximum(cv2.GaussianBlur(inside, (0, 0), 1.5), 1e-3)[..., None]
    spread = cv2.GaussianBlur(pixels * inside, (0, 0), 1.5) / weight
    thin = (alpha > 127)[..., None] & (cv2.blur(inside, (5, 5)) < 0.1)[..., None]
    colour = np.where((inside > 0) | thin, pixels, np.clip(spread, 0, 255)).astype(np.uint8)
    levels = [np.dstack([colour, alpha])]
    for _ in range(3):
        height, width = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], (max(width // 2, 1), max(height // 2, 1)), interpolation=cv2.INTER_AREA))
    return Cutout(photo, rings, (int(x0), int(y0)), tuple(levels), float(coverage.sum() / 255))


@cache
def cutouts(label: str | None) -> tuple[Cutout, ...]:
    """The variants of a class, or with None the distractors, which belong to no class."""
    items = DRAWING["distractors"] if label is None else DRAWING["objects"][label]
    return tuple(_cut(item["photo"], tuple(np.asarray(ring, np.float32) for ring in item["rings"])) for item in items)
