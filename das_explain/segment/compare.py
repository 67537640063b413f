"""How well two masks of one photo agree: IoU, and the F-measure of their boundaries.

Boundary F: Martin, Fowlkes, Malik (PAMI 2004), for segmentation as in Csurka, Larlus, Perronnin, "What is a good
evaluation measure for semantic segmentation?" (BMVC 2013): precision is the share of the found mask's boundary pixels
that lie within a tolerance of the human one's boundary, recall the reverse, F = 2 P R / (P + R). The tolerance is
theirs, 0.75 % of the image's diagonal. A boundary pixel is one of the mask's with a neighbour (of four) outside of it;
the photo's own edge is no boundary.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from das_explain.files import six_digits
from das_explain.types import Region

TOLERANCE = 0.0075
AGAINST = (
    "image",
    "label",
    "status",
    "compared",
    "iou",
    "boundary_f",
    "boundary_precision",
    "boundary_recall",
    "area",
    "human_area",
    "overlay",
)


@dataclass(frozen=True)
class Agreement:
    """All in [0, 1]. Of two empty masks everything is 1."""

    iou: float
    boundary_f: float
    boundary_precision: float
    boundary_recall: float


def compare_masks(found: np.ndarray, human: np.ndarray, tolerance: float = TOLERANCE) -> Agreement:
    """Two masks, bool (H, W), of the same size; ``tolerance`` is a fraction of the diagonal.

    Where one has no boundary (it is empty, or fills the photo) and the other has one, the boundary scores are 0; where
    neither has one they say whether the masks are equal. Raises ValueError for masks of different sizes.
    """
    if found.shape != human.shape:
        raise ValueError(f"masks of different sizes: {found.shape} and {human.shape}")
    together = int((found | human).sum())
    iou = 1.0 if together == 0 else int((found & human).sum()) / together
    mine, theirs = boundary(found), boundary(human)
    if not mine.any() or not theirs.any():
        same = float(not mine.any() and not theirs.any() and bool((found == human).all()))
        return Agreement(iou, same, same, same)
    reach = tolerance * math.hypot(*found.shape)
    precision = float((_distance(theirs)[mine] <= reach).mean())
    recall = float((_distance(mine)[theirs] <= reach).mean())
    total = precision + recall
    return Agreement(iou, 2 * precision * recall / total if total else 0.0, precision, recall)


def boundary(mask: np.ndarray) -> np.ndarray:
    """The pixels of a bool mask (H, W) that touch a pixel outside of it, above, below, left or right."""
    padded = np.pad(mask, 1, mode="edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def _distance(pixels: np.ndarray) -> np.ndarray:
    """Of every pixel to the nearest of ``pixels``, between their centres: float32 (H, W)."""
    import cv2

    return cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def agreement(row: dict[str, Any], region: Region, human: Region) -> dict[str, Any]:
    """How a photo's mask agrees with a human's, as a row of ``AGAINST``; ``row`` has its image, label and status.

    A mask that was not found counts as empty; photos without a human's object are only counted. Masks have one size.
    """
    if region.mask is None and region.status != "no_object":
        return against_row(row, region.status)
    if human.mask is None:
        if human.status != "no_object":
            return against_row(row, f"human_{human.status}")
        return against_row(row, "both_no_object" if region.mask is None else "human_no_object")
    found = region.mask if region.mask is not None else np.zeros_like(human.mask)
    numbers = {name: round(value, 6) for name, value in asdict(compare_masks(found, human.mask)).items()}
    areas = {"area": round(float(found.mean()), 6), "human_area": round(float(human.mask.mean()), 6)}
    return against_row(row, "ok") | numbers | areas


def against_row(row: dict[str, Any], status: str) -> dict[str, Any]:
    """A row of ``AGAINST`` without numbers: ``status`` says why, else ``ok``."""
    return dict.fromkeys(AGAINST) | {name: row[name] for name in ("image", "label", "status")} | {"compared": status}


def summarize_agreement(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the images with a human mask of an object; an object that was not found there counts as 0.

    ``rows`` have ``iou`` and ``boundary_f`` (``None`` where nothing could be compared) and ``compared``, a status.
    """
    compared = [row for row in rows if row["iou"] is not None]
    ious = np.array([row["iou"] for row in compared])
    boundaries = np.array([row["boundary_f"] for row in compared])
    return {
        "images": len(rows),
        "compared": len(compared),
        "statuses": dict(sorted(Counter(row["compared"] for row in rows).items())),
        "tolerance": TOLERANCE,
        "mean_iou": six_digits(ious.mean()) if len(ious) else None,
        "median_iou": six_digits(np.median(ious)) if len(ious) else None,
        "share_iou_50": six_digits((ious >= 0.5).mean()) if len(ious) else None,
        "share_iou_75": six_digits((ious >= 0.75).mean()) if len(ious) else None,
        "mean_boundary_f": six_digits(boundaries.mean()) if len(ious) else None,
    }


def worst(rows: Sequence[dict[str, Any]], count: int = 10) -> list[dict[str, Any]]:
    """The ``count`` rows of the lowest IoU, then boundary F, worst first."""
    compared = [row for row in rows if row["iou"] is not None]
    return sorted(compared, key=lambda row: (row["iou"], row["boundary_f"]))[:count]
