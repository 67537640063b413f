"""The shapes of COCO's annotations as bool masks: polygons, of which those inside another are holes, and RLE.

pycocotools unites all polygons of an annotation. One that lies inside another would then say nothing, so whoever writes
one means a hole: tools that know holes (Shapely, OpenCV's contours) list them so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from das_explain.data.coco import rle

MOST = 1e15  # of a coordinate


def draw(annotation: dict[str, Any], size: tuple[int, int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """One annotation as bool (H, W), of ``size`` (width, height) if it is polygons, and notes on it.

    ``broken``: some of its polygons enclose nothing and were left out. ``holes``: some lie inside another, which as a
    part of the object would say nothing: they are taken out of it. Raises ``ValueError`` if it has no usable shape.
    """
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        return rle.decode(segmentation), ()
    if isinstance(segmentation, list) and segmentation:
        return _draw_polygons(segmentation, size)
    raise ValueError("an annotation has no segmentation (only a box?); draw its outline")


def is_number(value: object) -> bool:
    """Whether it may be a coordinate: JSON has numbers that no float holds."""
    return isinstance(value, (int, float)) and -MOST < value < MOST


def extent(annotations: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """The (width, height) that the polygons of annotations reach to: the photo's, where its file does not tell it."""
    rings = [each["segmentation"] for each in annotations if isinstance(each.get("segmentation"), list)]
    ends = [0.0, 0.0]
    for ring in (ring for each in rings for ring in each if isinstance(ring, list)):
        numbers = [float(each) if is_number(each) else 0.0 for each in ring]
        ends = [max([end, *numbers[axis::2]]) for axis, end in enumerate(ends)]
    return math.ceil(ends[0]) or 1, math.ceil(ends[1]) or 1


def _draw_polygons(rings: Sequence[Any], size: tuple[int, int]) -> tuple[np.ndarray, tuple[str, ...]]:
    parts, readable, problem = [], 0, None
    for ring in rings:
        try:
            mask = _fill(ring, size)
        except (ValueError, TypeError) as error:
            problem = error
            continue
        readable += 1
        if mask.any():
            parts.append(_Part.of(mask))
    if not readable:
        raise problem or ValueError("it has no outline")
    parts.sort(key=lambda part: part.area, reverse=True)
    mask, holes = np.zeros(size[::-1], bool), False
    for i, part in enumerate(parts):
        around = sum(part.is_inside(other) for other in parts[:i])
        holes |= around > 0
        if around % 2:
            mask[part.where] &= ~part.mask
        else:
            mask[part.where] |= part.mask
    notes = ("broken",) * (len(parts) < len(rings))
    return mask, (*notes, *("holes",) * holes)


def _fill(ring: Any, size: tuple[int, int]) -> np.ndarray:
    """A polygon, or an RLE among them, as some tools list it."""
    if not isinstance(ring, dict):
        return rle.fill([ring], size)
    mask = rle.decode(ring)
    if mask.shape != size[::-1]:
        raise ValueError("an RLE is of another size than its image")
    return mask


@dataclass(frozen=True)
class _Part:
    """What one polygon encloses, within its own bounds: a photo's object may have hundreds."""

    where: tuple[slice, slice]
    mask: np.ndarray
    area: int

    @classmethod
    def of(cls, mask: np.ndarray) -> _Part:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        where = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
        return cls(where, mask[where].copy(), int(np.count_nonzero(mask)))

    def is_inside(self, other: _Part) -> bool:
        """Whether all of this lies in another, larger one."""
        pairs = list(zip(self.where, other.where))
        if self.area >= other.area or any(mine.start < its.start or mine.stop > its.stop for mine, its in pairs):
            return False
        at = tuple(slice(mine.start - its.start, mine.stop - its.start) for mine, its in pairs)
        return not (self.mask & ~other.mask[at]).any()
