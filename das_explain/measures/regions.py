"""The objects' masks of a batch, and what measures need of them, computed once however many maps are scored on them."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
from torch import Tensor

from das_explain.measures.levels import total


class Regions:
    """R of N images: ``masks`` bool (N, H, W), never changed afterwards; all else is derived when first asked for.

    Models, blocks and nulls share masks: whoever scores them makes one ``Regions`` and hands it on.

    >>> import torch
    >>> from das_explain.measures import MeasureOptions, Regions, compute_all
    >>> masks = torch.tensor([[[False, True, True], [False, False, True]]])
    >>> regions = Regions(masks)
    >>> regions.area.tolist(), regions.extents.tolist()
    ([3], [[1, 0, 3, 2]])
    >>> options = MeasureOptions(regions=regions)
    >>> [float(compute_all(maps, masks, options)["iou"].values) for maps in (masks.float(), 1 - masks.float())]
    [1.0, 0.0]
    """

    def __init__(self, masks: Tensor) -> None:
        self.masks = masks
        self._outlines: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    @cached_property
    def array(self) -> np.ndarray:
        """The masks as NumPy sees them, bool (N, H, W)."""
        return self.masks.cpu().numpy()

    @cached_property
    def outside(self) -> Tensor:
        """The pixels off R, bool (N, H, W)."""
        return ~self.masks

    @cached_property
    def area(self) -> np.ndarray:
        """Pixels of R, int64 (N,)."""
        return np.array([np.count_nonzero(mask) for mask in self.array], np.int64)

    @cached_property
    def extents(self) -> np.ndarray:
        """Bounding rectangles, as the function ``extents`` gives them."""
        return extents(*(np.asarray(self.array.any(axis)) for axis in (1, 2)))

    def distances(self, row: int, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
        """Pixels from k places of image ``row`` to R's nearest pixel, float (k,), 0 on R; R must not be empty."""
        mask = self.array[row]
        on = mask[ys, xs]
        if on.all():
            return np.zeros(len(ys))
        if row not in self._outlines:
            self._outlines[row] = _outline(mask)
        rows, columns = self._outlines[row]  # off R, the nearest pixel is one of these
        if len(ys) * len(rows) > 2**18:
            off = (~mask).view(np.uint8)
            return cv2.distanceTransform(off, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[ys, xs].astype(float)
        squares = (ys[:, None] - rows) ** 2 + (xs[:, None] - columns) ** 2
        return np.where(on, 0.0, np.sqrt(squares.min(1)))


def _outline(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns, int64 (k,) each, of R's pixels at the frame's edge or with a direct neighbour off R."""
    outline = mask.copy()
    inner = mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    outline[1:-1, 1:-1] &= ~inner
    return np.divmod(np.flatnonzero(outline), mask.shape[1])


def add_up(weights: Tensor, masks: Tensor) -> np.ndarray:
    """Sums of weights (N, H, W), none below 0, over masks, bool (N, H, W): float64 (N,), of float32 weights to six digits.

    What lies on R and what lies off it are added up apart, so that neither is a difference that could cancel.

    >>> import torch
    >>> add_up(torch.tensor([[[1.0, 2.0, 4.0]]]), torch.tensor([[[True, False, True]]]))
    array([5.])
    """
    if weights.device.type == "cpu":
        return np.array([add_up_map(each, mask) for each, mask in zip(weights.numpy(), masks.numpy())], float)
    return total(weights * masks)


def add_up_map(weights: np.ndarray, mask: np.ndarray) -> float:
    """The same of one map, (H, W) each, in a quarter of the time of a product and its sum: float64 but for a few neighbours."""
    return cv2.norm(weights, cv2.NORM_L1, mask.view(np.uint8)) if weights.size else 0.0


def extents(columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Smallest upright rectangle around what occupies columns, bool (N, W), and rows, bool (N, H): int64 (N, 4).

    xyxy exclusive; where nothing is occupied (W, H, 0, 0), which joins with any other rectangle by ``join``.

    >>> extents(np.array([[False, True, True]]), np.array([[True, False]])).tolist()
    [[1, 0, 3, 1]]
    """
    edges = []
    for along in (columns, rows):
        length, occupied = along.shape[1], along.any(1)
        edges.append((np.where(occupied, along.argmax(1), length), occupied * (length - along[:, ::-1].argmax(1))))
    (x0, x1), (y0, y1) = edges
    return np.stack((x0, y0, x1, y1), axis=1)


def join(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Smallest rectangles that hold both: ``extents`` int64 (N, 4) twice -> int64 (N, 4)."""
    return np.concatenate((np.minimum(first[:, :2], second[:, :2]), np.maximum(first[:, 2:], second[:, 2:])), axis=1)
