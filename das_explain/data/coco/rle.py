"""COCO's shapes: run-length encoded masks and polygons, to and from bool masks.

The format is that of pycocotools (``maskApi.c``): runs go down the columns and start with one of zeros. Compressed,
each is a signed number (from the fourth on the difference to the run before the last) in groups of 5 bits, lowest
first, as the characters from "0" on. It is small, and the package has to be compiled where there is no wheel, so it is
read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from das_explain.data.images import MAX_MASK_PIXELS

Ring = list[float]
"""x0, y0, x1, y1, ... in pixels, the pixel (0, 0) reaching from 0 to 1."""


def encode(mask: np.ndarray) -> dict[str, Any]:
    """A bool mask (H, W) as compressed RLE: ``{"size": [H, W], "counts": "..."}``."""
    pixels = np.concatenate([[False], mask.ravel(order="F"), [not mask[-1, -1]]])
    changes = np.flatnonzero(pixels[1:] != pixels[:-1])
    runs = np.diff(np.concatenate([[0], changes])).tolist()
    characters = []
    for i, run in enumerate(runs):
        number = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            bits, number = number & 31, number >> 5
            more = number != (-1 if bits & 16 else 0)
            characters.append(chr(48 + bits + 32 * more))
    return {"size": list(mask.shape), "counts": "".join(characters)}


def decode(rle: Any) -> np.ndarray:
    """Compressed or uncompressed RLE -> bool (H, W). Raises ValueError, on one line, for anything else."""
    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
        runs = _runs(counts) if isinstance(counts, (str, bytes)) else [int(run) for run in counts]
    except (KeyError, TypeError, ValueError, OverflowError, IndexError):
        raise ValueError("an RLE needs size [height, width] and counts") from None
    _check_size(height, width)
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"the runs of an RLE do not add up to its {width} x {height} pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(height, width, order="F")


def _runs(text: str | bytes) -> list[int]:
    data = text.encode("ascii") if isinstance(text, str) else text
    runs: list[int] = []
    position = 0
    while position < len(data):
        number, shift, more = 0, 0, True
        while more:
            bits = data[position] - 48
            if not 0 <= bits < 64:
                raise ValueError
            number |= (bits & 31) << shift
            position, shift, more = position + 1, shift + 5, bool(bits & 32)
            if shift > 40:
                raise ValueError
        if bits & 16:
            number |= -1 << shift
        runs.append(number + runs[-2] if len(runs) > 2 else number)
    return runs


def fill(rings: Sequence[Ring], size: tuple[int, int]) -> np.ndarray:
    """The union of polygons as bool (H, W), ``size`` (width, height): a pixel belongs if its centre lies inside.

    Raises ValueError for a ring that is no list of at least three finite points.
    """
    width, height = size
    _check_size(height, width)
    mask = np.zeros((height, width), bool)
    for ring in rings:
        points = np.asarray(ring, dtype=np.float64)
        if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
            raise ValueError("a polygon is a list x0, y0, x1, y1, ... of at least three points")
        _fill_ring(mask, points.reshape(-1, 2))
    return mask


def _fill_ring(mask: np.ndarray, points: np.ndarray) -> None:
    """Adds one polygon, line by line: where an edge crosses a row's middle, inside turns to outside or back."""
    height, width = mask.shape
    start, end = points, np.roll(points, -1, axis=0)
    first = np.clip(np.ceil(np.minimum(start[:, 1], end[:, 1]) - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(start[:, 1], end[:, 1]) - 0.5), 0, height).astype(np.int64)
    count = last - first
    if not count.any():
        return
    edge = np.repeat(np.arange(len(points)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
    crossing = start[edge, 0] + (row + 0.5 - start[edge, 1]) * slope
    column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    top, bottom = int(row.min()), int(row.max()) + 1
    turns = np.zeros((bottom - top, width + 1), np.uint8)
    np.bitwise_xor.at(turns, (row - top, column), 1)
    mask[top:bottom] |= np.bitwise_xor.accumulate(turns, axis=1)[:, :-1].astype(bool)


def rings(mask: np.ndarray) -> tuple[list[Ring], bool]:
    """The outlines of a bool mask (H, W) along the edges of its pixels, and whether it has holes.

    Each 4-connected part is one ring, clockwise on the screen; a mask without holes comes back from ``fill`` unchanged.
    COCO's polygons know no holes: they are left out, and the flag says so.
    """
    padded = np.pad(mask, 1)
    follow: dict[tuple[int, int], list[tuple[int, int]]] = {}  # corner (x, y) -> the next ones, the object to the right
    for (dy, dx), start, end in (
        ((-1, 0), (0, 0), (1, 0)),  # nothing above: along the top edge, to the right
        ((0, 1), (1, 0), (1, 1)),
        ((1, 0), (1, 1), (0, 1)),
        ((0, -1), (0, 1), (0, 0)),
    ):
        rows, columns = np.nonzero(mask & ~padded[1 + dy : padded.shape[0] - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx])
        for y, x in zip(rows.tolist(), columns.tolist()):
            follow.setdefault((x + start[0], y + start[1]), []).append((x + end[0], y + end[1]))
    outer: list[Ring] = []
    holes = False
    while follow:
        ring = _walk(follow)
        xs, ys = np.array(ring[::2]), np.array(ring[1::2])
        if (xs * np.roll(ys, -1) - np.roll(xs, -1) * ys).sum() > 0:
            outer.append(ring)
        else:
            holes = True
    return outer, holes


def _walk(follow: dict[tuple[int, int], list[tuple[int, int]]]) -> Ring:
    """Takes one closed line out of ``follow``; where two touch in a corner it turns right, along its own pixel."""
    first = here = next(iter(follow))
    ring: Ring = []
    before = (0, 0)
    while True:
        ends = follow.get(here, [])
        turned = (here[0] - before[1], here[1] + before[0])
        if here == first and ring and turned not in ends:
            return ring
        there = turned if len(ends) == 2 and turned in ends else ends[0]
        ends.remove(there)
        if not ends:
            del follow[here]
        step = (there[0] - here[0], there[1] - here[1])
        if step != before:
            ring += here
        here, before = there, step


def _check_size(height: int, width: int) -> None:
    if height < 1 or width < 1 or height * width > MAX_MASK_PIXELS:
        raise ValueError(f"{width} x {height} pixels are no usable size of a mask")
