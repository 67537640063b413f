"""The objects' masks of a batch, and what measures need of them, computed once however many maps are scored on them."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor


class Regions:
    """R of N images: ``masks`` bool (N, H, W), never changed afterwards; all else is derived when first asked for.

    Models, blocks and nulls share masks: whoever scores them makes one ``Regions`` and hands it on.
    """

    def __init__(self, masks: Tensor) -> None:
        self.masks = masks
        self._distances: dict[int, np.ndarray] = {}

    @cached_property
    def area(self) -> Tensor:
        """Pixels of R, int64 (N,)."""
        return self.inside.sum(2).sum(1).long()  # whole numbers below 2**24: exact in float32, and vectorised

    @cached_property
    def inside(self) -> Tensor:
        """1 on R, 0 elsewhere, float32 (N, H, W)."""
        return self.masks.view(torch.uint8).float()  # four times quicker than from bool

    @cached_property
    def extents(self) -> Tensor:
        """Bounding rectangles, as ``extents`` gives them."""
        return extents(self.inside.amax(1) > 0, self.inside.amax(2) > 0)

    def distance(self, row: int) -> np.ndarray:
        """Pixels from each pixel of image ``row`` to R's nearest, float32 (H, W), 0 on R; R must not be empty."""
        if row not in self._distances:
            off = (~self.masks[row]).cpu().numpy().astype(np.uint8)
            self._distances[row] = cv2.distanceTransform(off, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return self._distances[row]


def extents(columns: Tensor, rows: Tensor) -> Tensor:
    """Smallest upright rectangle around what occupies columns, bool (N, W), and rows, bool (N, H): int64 (N, 4).

    xyxy exclusive; where nothing is occupied (W, H, 0, 0), which joins with any other rectangle by ``join``.

    >>> extents(torch.tensor([[False, True, True]]), torch.tensor([[True, False]])).tolist()
    [[1, 0, 3, 1]]
    """
    edges = []
    for along in (columns, rows):
        length = along.shape[1]
        index = torch.arange(length, device=along.device).expand_as(along)
        edges.append((torch.where(along, index, length).amin(1), torch.where(along, index, -1).amax(1) + 1))
    (x0, x1), (y0, y1) = edges
    return torch.stack((x0, y0, x1, y1), dim=1)


def join(first: Tensor, second: Tensor) -> Tensor:
    """Smallest rectangles that hold both: ``extents`` int64 (N, 4) twice -> int64 (N, 4)."""
    return torch.cat((torch.minimum(first[:, :2], second[:, :2]), torch.maximum(first[:, 2:], second[:, 2:])), dim=1)
