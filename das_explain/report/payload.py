"""Pieces of the gallery's data: every value that comes from a run is checked here before it may enter the page.

Journals, file names, labels and masks are hostile until proven otherwise: text stays text, numbers are finite, maps
have the size they claim, and a frame is a JPEG inside the run's folder.
"""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from contourpy import contour_generator
from PIL import Image

MAX_SIDE = 4096
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


def safe_frame(folder: Path, name: Any) -> Path | None:
    """The JPEG that a journal names, if it is a plain file inside ``folder`` reached through no symbolic link."""
    if not isinstance(name, str) or "\\" in name or "\0" in name or ":" in name:
        return None
    relative = PurePosixPath(name)
    if relative.is_absolute() or not relative.parts or ".." in relative.parts:
        return None
    path = folder
    try:
        for part in relative.parts:
            path = path / part
            if path.is_symlink():
                return None
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return path if file.read(3) == JPEG_MAGIC else None
    except OSError:
        return None


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


def mask_outline(encoded: Any) -> tuple[str, tuple[int, int]] | None:
    """A journal's mask (base64 of a 1-bit PNG) -> its outline and (H, W); None if it cannot be read."""
    if not isinstance(encoded, str):
        return None
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)), formats=["PNG"]) as image:
            if max(image.size) > MAX_SIDE:
                return None
            mask = np.asarray(image.convert("L")) >= 128
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return outline(mask), mask.shape


def checked_map(entry: Any) -> list[Any] | None:
    """A journal's map -> [h, w, base64], checked: h * w bytes."""
    if not isinstance(entry, dict):
        return None
    height, width, data = entry.get("h"), entry.get("w"), entry.get("data")
    if not (isinstance(height, int) and isinstance(width, int) and isinstance(data, str)):
        return None
    try:
        raw = base64.b64decode(data, validate=True)
    except ValueError:
        return None
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE) or len(raw) != height * width:
        return None
    return [height, width, base64.b64encode(raw).decode("ascii")]


def journal_record(line: bytes) -> dict[str, Any] | None:
    """A journal line that is an object with a usable index, else None."""
    try:
        record = json.loads(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    index = record.get("index") if isinstance(record, dict) else None
    return record if type(index) is int and 0 <= index < 10**9 else None


def colour_table() -> str:
    """256 colours from blue (0) to red (255) as hex digits, 6 each: those of the figures."""
    from das_explain.cam.colours import HEAT

    return HEAT.tobytes().hex()
