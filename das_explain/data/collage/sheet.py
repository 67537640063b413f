"""For looking at the outlines and at samples: `python -m das_explain.data.collage.sheet OUT.png`."""

from __future__ import annotations

import sys

import cv2
import numpy as np
from PIL import Image

from das_explain.data.collage.cutouts import cutouts, photograph
from das_explain.data.collage.images import Collage
from das_explain.data.collage.scenes import CLASSES


def contact_sheet(columns: int = 5, rows: int = 5) -> np.ndarray:
    """Every source with its outlines, then test images with the edges of their masks. uint8 (H, W, 3)."""
    drawn = [cutout for label in (*CLASSES, None) for cutout in cutouts(label)]
    tiles = []
    for photo in dict.fromkeys(cutout.photo for cutout in drawn):
        picture = photograph(photo).copy()
        rings = [ring for cutout in drawn if cutout.photo == photo for ring in cutout.rings]
        fixed = [np.round((ring - 0.5) * 8).astype(np.int32) for ring in rings]
        cv2.polylines(picture, fixed, True, (0, 255, 0), 1, cv2.LINE_AA, 3)
        scale = min(320 / picture.shape[1], 240 / picture.shape[0])
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        below, beside = 240 - picture.shape[0], 320 - picture.shape[1]
        tiles.append(cv2.copyMakeBorder(picture, 0, below, 0, beside, cv2.BORDER_CONSTANT))
    for item in Collage(columns * rows):
        edges = cv2.findContours(item.mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
        tiles.append(cv2.drawContours(item.image.copy(), edges, -1, (0, 255, 0), 1))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m das_explain.data.collage.sheet OUT.png")
    Image.fromarray(contact_sheet()).save(sys.argv[1])
