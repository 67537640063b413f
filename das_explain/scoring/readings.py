"""sfd of maps in every reading that its definition leaves open, at about the cost of three: what ``readings.csv`` rests on.

Four scalings, six thresholds, three boxes and three regions are 216 readings of a map. Scaling is what costs, so each
scaled map is made once and added up once, in a summed-area table (Crow 1984). A rectangle's sum is four of its entries.
The pixels at or above each threshold, on R as it is, eroded, dilated and off it, are one image of labels, and a label's
sum is that of the ends of its vertical runs. 10^w is 10^w - 1 and an area.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import cv2
import numpy as np
import torch

from das_explain.measures import Regions
from das_explain.measures.sfd import score_regions

SCALINGS = ("antilog", "antilog-literal", "exp", "linear")
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7)
BOXES = ("rect", "region", "shared")
REGIONS = ("as is", "eroded", "dilated")
MARGIN = 0.02  # of the frame's shorter side: how far R is eroded and dilated
ZERO_CAM, NO_BACKGROUND = -1.0, 2.0  # in the place of a value, since sfd lies in [0, 1]

_INSIDE = np.array([[0, 0, 1, 1], [0, 0, 0, 1], [0, 1, 1, 1]], float)  # which pixels are on R in each of REGIONS
_AT_LEAST = 1e-4  # of a map's weight that B must hold, or rounding might show


class RegionReadings:
    """R of N images in three readings, for maps of the same frames: masks bool (N, H, W).

    Eroded and dilated by a disc whose radius is 2 % of the frame's shorter side, rounded, at least one pixel. What lies
    beyond the frame is not known, so nothing is eroded from its edge. An R that erosion removes is empty: no object.
    """

    def __init__(self, masks: np.ndarray) -> None:
        self.masks = masks
        count, height, width = masks.shape
        radius = max(1, round(MARGIN * min(height, width)))
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        disc = (x**2 + y**2 <= radius**2).astype(np.uint8)
        self.inside = np.empty((count, height, width), np.uint8)
        """0 off all of them, 1 on the dilated R only, 2 on R but not on the eroded, 3 on all."""
        self.extents = np.empty((count, len(REGIONS), 4), np.int64)
        for row, mask in enumerate(masks.view(np.uint8)):
            eroded, dilated = cv2.erode(mask, disc), cv2.dilate(mask, disc)
            np.add(mask, dilated, out=self.inside[row])
            np.add(self.inside[row], eroded, out=self.inside[row])
            for place, region in enumerate((mask, eroded, dilated)):
                x0, y0, across, down = cv2.boundingRect(region)
                self.extents[row, place] = (x0, y0, x0 + across, y0 + down) if across else (width, height, 0, 0)

    def mask(self, row: int, region: int) -> np.ndarray:
        """bool (H, W): R of an image in the reading ``REGIONS[region]``."""
        return self.inside[row] >= (2, 3, 1)[region]

    @cached_property
    def areas(self) -> np.ndarray:
        """Pixels of R, float64 (N, regions)."""
        counts = [[np.count_nonzero(self.mask(row, r)) for r in range(len(REGIONS))] for row in range(len(self.masks))]
        return np.array(counts, float).reshape(len(self.masks), len(REGIONS))


def read_maps(maps: np.ndarray, regions: RegionReadings, thresholds: Sequence[float] = THRESHOLDS) -> np.ndarray:
    """sfd of maps in all readings.

    Args:
        maps: float32 (models, N, H, W) in [0, 1], at the frame's size: the models that share a box.
        regions: R of the N images.
        thresholds: T in (0, 1], ascending.

    Returns:
        float32 (models, N, scalings, T, boxes, regions), in the orders of ``SCALINGS``, ``thresholds``, ``BOXES`` and
        ``REGIONS``: what ``measures.sfd.sfd_score`` gives, to six digits; ``ZERO_CAM`` and ``NO_BACKGROUND`` where that
        is the status, NaN for any other that has no score (no object, a map that is not finite).
    """
    models, count, height, width = maps.shape
    limits = [_at_least(threshold) for threshold in thresholds]
    levels = len(limits) + 1
    codes = np.full((models, count, height + 1, width + 1), 4 * levels, np.uint8)
    columns, rows = np.empty((models, count, width), np.uint8), np.empty((models, count, height), np.uint8)
    reached, level = np.empty((2, height, width), bool)
    for row in range(count):
        inside = regions.inside[row] * np.uint8(levels)
        for model in range(models):
            highest = np.greater_equal(maps[model, row], limits[0], out=level).view(np.uint8)
            for limit in limits[1:]:
                np.greater_equal(maps[model, row], limit, out=reached)
                np.add(highest, reached.view(np.uint8), out=highest)
            highest.max(0, out=columns[model, row])
            highest.max(1, out=rows[model, row])
            np.add(highest, inside, out=codes[model, row, :-1, :-1])
    salient = _extents(columns, rows, len(limits))
    corners = _corners(salient, regions.extents, (height, width))

    with np.errstate(over="ignore", invalid="ignore"):
        edges = np.empty((models, count, 3, *corners.shape[2:]))
        cells = np.empty((models, count, 4, 4 * levels + 1, 4 * levels + 1))
        adder = _Adder(height, width, 4 * levels + 1)
        for at in np.ndindex(models, count):
            adder.add(maps[at], codes[at], corners[at], edges[at], cells[at])
        cells = (cells @ np.ones(4 * levels + 1) - np.ones(4 * levels + 1) @ cells)[..., :-1].reshape(
            models, count, 4, 4, levels
        )
        values, sure = _values(edges, cells, corners, regions, width + 1)
    for model, row in zip(*np.nonzero(~sure)):
        values[model, row] = _one_by_one(maps[:, row], model, regions, row, thresholds)
    return values


class _Adder:
    """Adds up one map after another; its arrays are used again, since what stays in the processor's cache is quicker."""

    def __init__(self, height: int, width: int, labels: int) -> None:
        self.stride, self.labels = width + 1, labels
        self.scaled = np.empty((height, width), np.float32)
        self.table = np.zeros((height + 1, width + 1))
        self.depth = np.repeat(np.arange(height + 1, dtype=float), width + 1)

    def add(
        self, weights: np.ndarray, codes: np.ndarray, corners: np.ndarray, edges: np.ndarray, cells: np.ndarray
    ) -> None:
        """Fills ``edges`` (3, ...) with what the summed-area tables of antilog, exp and linear hold at ``corners`` (...),
        and ``cells`` (4, labels, labels): of the columns of pixels above an edge between an upper and a lower label, the
        sums in the three scalings and the heights."""
        flat = codes.reshape(-1)
        above = np.flatnonzero(flat[: -self.stride] != flat[self.stride :])  # where a vertical run ends
        below = above + self.stride
        labels = flat.take(above).astype(np.int64)
        labels *= self.labels
        labels += flat.take(below)
        beside = below + 1
        cells = cells.reshape(4, -1)
        for place in range(3):
            scaled = weights
            if place == 0:
                np.multiply(weights, np.float32(math.log(10)), out=self.scaled)
                scaled = np.expm1(self.scaled, out=self.scaled)
            elif place == 1:
                scaled = cv2.exp(weights, self.scaled)  # a quarter of NumPy's time, to 1.2e-7 of the value
            cv2.integral(scaled, sum=self.table, sdepth=cv2.CV_64F)
            table = self.table.reshape(-1)
            table.take(corners, out=edges[place])
            column = table.take(beside)
            column -= table.take(below)
            cells[place] = np.bincount(labels, column, cells.shape[1])
        cells[3] = np.bincount(labels, self.depth.take(below), cells.shape[1])


def _at_least(threshold: float) -> np.float32:
    """The least float32 that is not below the threshold: 0.7 in float32 is less than 0.7."""
    limit = np.float32(threshold)
    return limit if float(limit) >= threshold else np.nextafter(limit, np.float32(2))


def _extents(columns: np.ndarray, rows: np.ndarray, thresholds: int) -> np.ndarray:
    """From the highest level of each column (..., W) and row (..., H): the rectangle around what reaches each threshold,
    int64 (..., T, 4), xyxy exclusive; (W, H, 0, 0) where nothing does."""
    ends = []
    for highest in (columns, rows):
        length = highest.shape[-1]
        there = highest[..., None, :] > np.arange(thresholds)[:, None]
        some = there.any(-1)
        ends.append((np.where(some, there.argmax(-1), length), np.where(some, length - there[..., ::-1].argmax(-1), 0)))
    (x0, x1), (y0, y1) = ends
    return np.stack((x0, y0, x1, y1), -1)


def _corners(salient: np.ndarray, extents: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Where the tables hold the corners of B: int64 (models, N, T, rect and shared, regions, 4); from the rectangles of
    what is salient (models, N, T, 4) and of R (N, regions, 4). An empty R has an empty B."""
    own = salient[:, :, :, None, None]
    shared = np.concatenate((salient[..., :2].min(0), salient[..., 2:].max(0)), -1)
    box = np.stack((own, np.broadcast_to(shared[None, :, :, None, None], own.shape)), 3)[:, :, :, :, 0]
    region = extents[None, :, None, None]
    x0, y0 = np.moveaxis(np.minimum(box[..., :2], region[..., :2]), -1, 0)
    x1, y1 = np.moveaxis(np.maximum(box[..., 2:], region[..., 2:]), -1, 0)
    stride = size[1] + 1
    return np.stack((y1 * stride + x1, y0 * stride + x1, y1 * stride + x0, y0 * stride + x0), -1)


def _values(
    edges: np.ndarray, cells: np.ndarray, corners: np.ndarray, regions: RegionReadings, stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """All readings of all maps, and which of the maps (models, N) they are sure of.

    ``edges`` (models, N, 3, T, 2, regions, 4) and ``corners`` without the 3; ``cells`` (models, N, 3 and the count,
    inside, levels).
    """
    models, count = corners.shape[:2]
    n_r = regions.areas  # (N, regions)
    on_r = np.einsum("mnsil,ri->mnsr", cells[:, :, :3], _INSIDE)
    y1x1, y0x1, _, y0x0 = np.moveaxis(corners, -1, 0)
    n_b = (y1x1 - y0x1) // stride * ((y0x1 - y0x0) % stride)  # rows times columns
    in_b = edges[..., 0] - edges[..., 1] - edges[..., 2] + edges[..., 3]
    above = cells[..., ::-1].cumsum(-1)[..., -2::-1]  # at or above each threshold
    off = np.einsum("mnsit,ri->mnstr", above, 1 - _INSIDE)
    # (models, N, scalings, T, boxes, regions); boxes in the order rect, region, shared
    in_n = np.stack((in_b[..., 0, :] - on_r[:, :, :, None], off[:, :, :3], in_b[..., 1, :] - on_r[:, :, :, None]), 4)
    n_n = np.stack((n_b[..., 0, :] - n_r[:, None], off[:, :, 3], n_b[..., 1, :] - n_r[:, None]), 3)
    on_r = np.broadcast_to(on_r[:, :, :, None, None], in_n.shape)
    on_r, in_n, n_r = np.maximum(on_r, 0), np.maximum(in_n, 0), n_r[:, None, None]

    total = cells[:, :, 2].sum((-1, -2))
    held = on_r[:, :, 2] + in_n[:, :, 2]
    empty = n_r == 0
    doubtful = ((held < _AT_LEAST * total[:, :, None, None, None]) & ~empty).any((2, 3, 4))
    finite = np.isfinite(total)

    values = np.empty((models, count, len(SCALINGS), *n_n.shape[2:]), np.float32)
    for place, table in enumerate((0, 0, 1, 2)):
        more = (n_r, n_n) if SCALINGS[place] == "antilog-literal" else (0, 0)
        w_r = (on_r[:, :, table] + more[0]) / np.maximum(n_r, 1)
        w_n = (in_n[:, :, table] + more[1]) / np.maximum(n_n, 1)
        values[:, :, place] = np.where(n_n > 0, w_r / (w_r + w_n), NO_BACKGROUND)
        values[:, :, place][held == 0] = ZERO_CAM
    values[np.broadcast_to(empty[None, :, None], values.shape)] = np.nan
    values[~finite] = np.nan
    return values, ~(doubtful & finite)


def _one_by_one(
    maps: np.ndarray, model: int, regions: RegionReadings, row: int, thresholds: Sequence[float]
) -> np.ndarray:
    """The same of one map by ``sfd_score``, float32 (scalings, T, boxes, regions): where B holds next to nothing of the
    map's weight, a difference of sums is no longer exact."""
    weights = torch.from_numpy(np.ascontiguousarray(maps))
    values = np.empty((len(SCALINGS), len(thresholds), len(BOXES), len(REGIONS)), np.float32)
    here = [Regions(torch.from_numpy(regions.mask(row, region))[None]) for region in range(len(REGIONS))]
    codes = {"zero_cam": ZERO_CAM, "no_background": NO_BACKGROUND}
    for scaling, threshold, box, region in np.ndindex(*values.shape):
        shared = None if BOXES[box] != "shared" else (weights.double() >= thresholds[threshold]).any(0)[None]
        score = score_regions(
            weights[model, None],
            here[region],
            threshold=thresholds[threshold],
            scaling=SCALINGS[scaling],
            box="region" if BOXES[box] == "region" else "rect",
            shared=shared,
        )
        values[scaling, threshold, box, region] = codes.get(score.status[0], float(score.sfd))
    return values
