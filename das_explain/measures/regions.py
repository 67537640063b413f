"""The objects' masks of a batch, and what measures need of them, computed once however many maps are scored on them."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor

TOGETHER = 4  # maps whose intermediate values stay in the processor's cache


def in_parts(maps: Tensor) -> tuple[Tensor, ...]:
    """Maps (N, H, W) as many at a time as are quickest added up: a few of them on a processor, all on another device."""
    return maps.split(TOGETHER) if maps.device.type == "cpu" else (maps,)


class Regions:
    """R of N images: ``masks`` bool (N, H, W), never changed afterwards; all else is derived when first asked for.

    Models, blocks and nulls share masks: whoever scores them makes one ``Regions`` and hands it on.

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
    def factors(self) -> Tensor:
        """1 on R and 0 off it, float32 (N, H, W): what weights are multiplied by to be added up over R."""
        # Four times quicker than from bool, of which Pillow gives bytes of 255.
        return self.masks.view(torch.uint8).clamp(max=1).float()

    @cached_property
    def area(self) -> Tensor:
        """Pixels of R, int64 (N,)."""
        counts = [np.count_nonzero(mask) for mask in self.array]
        return torch.tensor(counts, dtype=torch.int64, device=self.masks.device)

    @cached_property
    def extents(self) -> Tensor:
        """Bounding rectangles, as the function ``extents`` gives them."""
        columns, rows = (torch.from_numpy(self.array.any(axis)).to(self.masks.device) for axis in (1, 2))
        return extents(columns, rows)

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


def divide(weights: Tensor, factors: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Weights (N, H, W) added up along rows: of the pixels on R, and of those off it, (N, H) each, in their precision.

    ``factors`` (N, H, W): 1 on R, else 0. ``kept``: factors for the weights off R, of a shape that fits. Each weight
    goes into one of the sums and 0 into the other, so that neither is a difference that could cancel. Give it as many
    maps at a time as ``in_parts`` does.

    >>> divide(torch.tensor([[[1.0, 2.0, 4.0]]]), torch.tensor([[[1.0, 0.0, 1.0]]]))
    (tensor([[5.]]), tensor([[2.]]))
    """
    part = weights * factors
    on_rows = part.sum(2)
    torch.sub(weights, part, out=part)
    return on_rows, (part if kept is None else part.mul_(kept)).sum(2)


def extents(columns: Tensor, rows: Tensor) -> Tensor:
    """Smallest upright rectangle around what occupies columns, bool (N, W), and rows, bool (N, H): int64 (N, 4).

    xyxy exclusive; where nothing is occupied (W, H, 0, 0), which joins with any other rectangle by ``join``.

    >>> extents(torch.tensor([[False, True, True]]), torch.tensor([[True, False]])).tolist()
    [[1, 0, 3, 1]]
    """
    edges = []
    for along in (columns, rows):
        length = along.shape[1]
        index = torch.arange(length, device=along.device)
        edges.append((torch.where(along, index, length).amin(1), torch.where(along, index, -1).amax(1) + 1))
    (x0, x1), (y0, y1) = edges
    return torch.stack((x0, y0, x1, y1), dim=1)


def join(first: Tensor, second: Tensor) -> Tensor:
    """Smallest rectangles that hold both: ``extents`` int64 (N, 4) twice -> int64 (N, 4)."""
    return torch.cat((torch.minimum(first[:, :2], second[:, :2]), torch.maximum(first[:, 2:], second[:, 2:])), dim=1)
