"""Region R from rectangles around the object (``--box-masks``): their union."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from das_explain.data.images import full_size
from das_explain.errors import UsageError
from das_explain.types import Region, Sample

if TYPE_CHECKING:
    from das_explain.data.dataset import Dataset


class BoxMasks:
    """Fills the boxes of each sample, xyxy in pixels of the upright photo, in whole pixels, clipped to it."""

    name = "boxes"
    needs_networks = False

    def __init__(self, dataset: Dataset) -> None:
        ends = [end for sample in dataset.samples for box in sample.boxes for end in box[2:]]
        if not ends:
            raise UsageError(f"{dataset.spec} has no rectangles: --box-masks needs the columns x0,y0,x1,y1 in the CSV")
        if max(ends) <= 1:
            raise UsageError(f"the rectangles in {dataset.spec} are fractions of the photo; they are needed in pixels")

    def identity(self) -> dict[str, Any]:
        """Nothing to set."""
        return {"name": self.name}

    def region(self, sample: Sample, image: Image.Image) -> Region:
        """The union of ``sample.boxes``; a box covers at least one pixel unless it lies outside the photo."""
        if not sample.boxes:
            return Region(None, "no_mask")
        width, height = full_size(image)
        fx, fy = image.width / width, image.height / height  # below 1 where a gigantic photo was decoded smaller
        mask = np.zeros((image.height, image.width), dtype=bool)
        for box in sample.boxes:
            x0, x1 = _pixels(box[0] * fx, box[2] * fx, image.width)
            y0, y1 = _pixels(box[1] * fy, box[3] * fy, image.height)
            mask[y0:y1, x0:x1] = True
        detail = {"boxes": [list(box) for box in sample.boxes]}
        if not mask.any():
            return Region(None, "mask_mismatch", {**detail, "message": f"no box meets the photo of {width} x {height}"})
        return Region(mask, detail=detail)


def _pixels(start: float, stop: float, length: int) -> tuple[int, int]:
    """Whole pixels of the interval [start, stop) within [0, length): whose centre it holds, or its middle one."""
    first, last = max(0, int(np.ceil(start - 0.5))), min(length, int(np.ceil(stop - 0.5)))
    if first >= last and start < length and stop > 0:
        first = min(length - 1, max(0, int((start + stop) / 2)))
        last = first + 1
    return max(0, first), max(0, last)
