"""Pieces of the gallery's data: every value that comes from a run is checked here before it may enter the page.

Names, labels, numbers and pictures are hostile until proven otherwise: text stays text, numbers are finite, and a frame
is a JPEG of the size that it claims.
"""

from __future__ import annotations

import io
import json
import math
from typing import Any

import numpy as np
from contourpy import contour_generator
from PIL import Image

JPEG_MAGIC = b"\xff\xd8\xff"


def dump_js(value: Any) -> str:
    """JSON that is also safe JavaScript inside or outside of HTML: ASCII only, no ``<``, no NaN."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def plain_text(value: Any, limit: int = 1000) -> str | None:
    """Any value as text of at most ``limit`` characters; None for nothing."""
    return None if value is None or value == "" else str(value)[:limit]


def finite(value: Any, digits: int = 4) -> float | None:
    """A finite number to ``digits`` significant digits, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e300 or math.isnan(value):
        return None
    return float(f"{value:.{digits}g}")


def is_jpeg(file: Any, height: int, width: int) -> bool:
    """Whether bytes are a JPEG of this size, and no more of them than such a picture may need."""
    if not isinstance(file, bytes) or not file.startswith(JPEG_MAGIC) or len(file) > 4 * height * width + (1 << 16):
        return False
    try:
        with Image.open(io.BytesIO(file), formats=["JPEG"]) as image:
            return image.size == (width, height)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def outline(mask: np.ndarray) -> str:
    """A mask's border as an SVG path, bool (H, W) -> path data in half pixels (so a 4 x 4 frame is 8 units wide).

    The line runs through the midpoints between neighbouring pixels inside and outside the mask; straight runs are one.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return ""
    top, left = rows[0], columns[0]  # only the part that holds the mask is traced
    padded = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.float32), 1)
    parts = []
    for line in contour_generator(z=padded).lines(0.5):
        points = np.rint(line * 2 - 1).astype(int)  # pixel centre (i, i) of the padded part -> 2 i - 1
        points += (2 * left, 2 * top)
        steps = np.diff(points, axis=0)
        turns = np.any(steps != np.roll(steps, 1, axis=0), axis=1)
        if not turns.any():
            continue
        corners = points[:-1][turns]
        moves = np.diff(corners, axis=0)
        start = f"M{corners[0][0]} {corners[0][1]}"
        parts.append(start + "".join(f"l{dx} {dy}" for dx, dy in moves) + "z")
    return "".join(parts).replace(" -", "-")


def colour_table() -> str:
    """256 colours from blue (0) to red (255) as hex digits, 6 each: those of the figures."""
    from das_explain.cam.colours import HEAT

    return HEAT.tobytes().hex()
