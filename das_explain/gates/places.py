"""Where a deformable kernel looks: from offsets on a gate's map to pixels of the frame and of the photo.

Points are (x, y) float64, a pixel's centre at whole numbers: pixel 0 of a row reaches from -0.5 to 0.5, and what changes
is the size of pixels (half-pixel centres, as torch and Pillow resize). A gate's map is taken to cover the whole frame,
as a class activation map is when it is laid over a photo.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

from das_explain.data.geometry import Geometry

Points = np.ndarray


def kernel_grid(taps: int, cell: tuple[int, int]) -> Points:
    """Where a k x k kernel at ``cell`` (row, column) of a map looks without offsets: (taps, 2), row by row."""
    side = isqrt(taps)
    tap = np.arange(taps)
    return np.stack((cell[1] + tap % side - side // 2, cell[0] + tap // side - side // 2), axis=1).astype(float)


def kernel_places(offset: np.ndarray, cell: tuple[int, int]) -> Points:
    """Where it looks with offsets (taps, 2, h, w), (dy, dx) in pixels of the map: (taps, 2) on the map."""
    return kernel_grid(len(offset), cell) + offset[:, ::-1, cell[0], cell[1]].astype(float)


def rescale(points: Points, old: tuple[int, int], new: tuple[int, int]) -> Points:
    """From an image of ``old`` (height, width) pixels to the same image of ``new``."""
    factor = np.array([new[1] / old[1], new[0] / old[0]])
    return (np.asarray(points, dtype=float) + 0.5) * factor - 0.5


def cell_at(point: Points, frame: tuple[int, int], cells: tuple[int, int]) -> tuple[int, int]:
    """(row, column) of the map pixel that covers a point of the frame; one outside belongs to the nearest."""
    x, y = np.floor(rescale(point, frame, cells) + 0.5).astype(int)
    return int(np.clip(y, 0, cells[0] - 1)), int(np.clip(x, 0, cells[1] - 1))


def frame_to_photo(points: Points, geometry: Geometry, photo: tuple[int, int]) -> Points:
    """Pixels of the network's frame -> pixels of the photo of ``photo`` (width, height)."""
    x0, y0, x1, y1 = geometry.box(*photo)
    part = np.array([(x1 - x0) / geometry.size[1], (y1 - y0) / geometry.size[0]])
    return (np.asarray(points, dtype=float) + 0.5) * part + (x0, y0) - 0.5


def photo_to_frame(points: Points, geometry: Geometry, photo: tuple[int, int]) -> Points:
    """The inverse; a point that the crop leaves out lies outside the frame."""
    x0, y0, x1, y1 = geometry.box(*photo)
    part = np.array([(x1 - x0) / geometry.size[1], (y1 - y0) / geometry.size[0]])
    return (np.asarray(points, dtype=float) + 0.5 - (x0, y0)) / part - 0.5


def innermost(mask: np.ndarray) -> Points:
    """The pixel of a mask bool (H, W) that is farthest from its edge, the frame's edge included: (2,)."""
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return np.array([column, row], dtype=float)
