"""Small photos for tests of the data rooms: four unequal quadrants, so that no turn, flip or channel swap can pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 60, 40
CORNERS = ((200, 30, 20), (20, 180, 40), (30, 40, 220), (230, 220, 30))  # of the rows, left to right

# EXIF orientation -> how upright pixels are stored under it (the inverse of what a viewer does).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def photo(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """An upright RGB photo, split at a third of its width and a quarter of its height."""
    pixels = np.empty((height, width, 3), np.uint8)
    x, y = width // 3, height // 4
    pixels[:y, :x], pixels[:y, x:], pixels[y:, :x], pixels[y:, x:] = CORNERS
    return Image.fromarray(pixels)


def object_mask(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """The bottom left quadrant of ``photo``: bool (H, W)."""
    mask = np.zeros((height, width), bool)
    mask[height // 4 :, : width // 3] = True
    return mask


def corners(image: Image.Image | np.ndarray) -> np.ndarray:
    """The four corner pixels, as in ``CORNERS``: int (4, C)."""
    pixels = np.asarray(image).astype(int)
    return np.stack([pixels[0, 0], pixels[0, -1], pixels[-1, 0], pixels[-1, -1]])


def store(upright: Image.Image, path: Path, orientation: int = 1) -> Path:
    """Saves a photo with an EXIF orientation, its pixels turned accordingly."""
    turn = STORED[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if path.suffix == ".jpg" else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    (upright if turn is None else upright.transpose(turn)).save(path, exif=exif, **options)
    return path


def store_mask(mask: np.ndarray, path: Path) -> Path:
    """Saves a bool mask as an 8-bit image of 0 and 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)
    return path
