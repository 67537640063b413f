"""Whether the numbers of a mask file are one object's, more or less (a soft mask), or those of classes.

Both may be any numbers, so the picture's structure decides, and relative to the highest of them: the numbers of classes
make up areas, each its own; those of soft edges and of noise differ from pixel to pixel, and a slow blur climbs by steps
of one.
"""

from __future__ import annotations

import numpy as np

BRIGHT = 128  # soft masks of few levels usually reach this
FEW = 8  # levels from which on a mask may be a slow blur
MANY_SIZES = 4  # how often a slow blur's background is as large as its usual level
EXACT = 64  # the part of the range around its ends in which compression leaves levels
NEAR = 8  # the part of the range around its ends in which levels may be noise
NOISY = 0.05  # the share of pixels that noise of few levels has at least
SIZE = 0.005  # the share of pixels from which on an area is worth a word
SMOOTH = 4  # the usual step between neighbours that differ, in a smooth mask of 8 bits
SURE = 0.9  # of a slow blur's steps


def levels_of(values: np.ndarray) -> np.ndarray:
    """The finite values that occur, sorted."""
    if values.dtype == np.uint8:
        return np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    levels = np.unique(values)
    return np.asarray(levels[np.isfinite(levels)])


def is_hard(values: np.ndarray) -> bool:
    """Whether all is zero or the highest value: what most masks are, and quicker told than all their levels."""
    return bool(((values == 0) | (values == values.max())).all())


def is_soft(values: np.ndarray) -> bool:
    """Whether numbers (H, W) are one object's, more or less, and not those of classes.

    Fractions are. So are two levels above zero of which one is bright and the other less than half (a matte on a background
    that is not black); most levels between the lowest and the highest if they make up no area and are edges or noise;
    a slow blur's.
    """
    levels = levels_of(values)
    if values.dtype.kind == "f" and (levels != np.rint(levels)).any():
        return bool(np.count_nonzero(levels) > 1)
    if values.dtype == bool or levels.size < 2 or levels[-1] <= 0:
        return False
    low, high = int(levels[0]), int(levels[-1])
    if levels.size == 2:  # a background of 1 to 4 under 64: the numbers of classes seldom lie so far apart
        return 0 < 2 * low <= high and (high >= BRIGHT or (2 * high >= BRIGHT and 16 * low <= high))
    between = (values != low) & (values != high)
    could_be_trimap = set(levels[1:-1].tolist()) <= {127, 128} and (low, high) == (0, 255)
    if could_be_trimap and lies_between(values, between, values == high):
        return True
    if is_scattered(levels, at_the_top=True):
        return True
    flat = _areas(values)
    is_loose = float(np.mean(flat[between])) < 0.5
    if is_loose or (levels.size > FEW and _usual_share(levels[1:-1], values, flat) < 0.5):
        return _are_edges_or_noise(levels, values, between & ~flat)
    return _is_slow_blur(levels, values)


def are_spaced(levels: np.ndarray) -> bool:
    """Whether sorted levels, 0 passed over, are two or more even steps to 255 (85, 170, 255): objects drawn apart.

    >>> are_spaced(np.array([0, 85, 170, 255])), are_spaced(np.array([0, 12, 255]))
    (True, False)
    """
    steps = levels[levels > 0].astype(np.float64)
    even = np.arange(1, steps.size + 1) * 255 / max(steps.size, 1)
    return bool(steps.size > 1 and (np.abs(steps - even) < 1).all())


def lies_between(values: np.ndarray, band: np.ndarray, inner: np.ndarray) -> bool:
    """Whether ``band`` (bool (H, W)) parts ``inner`` from the lowest value: these two hardly meet, and band and inner do."""
    outer = values == values.min()
    touching = _meetings(band, inner)
    return touching > 0 and _meetings(outer, band) > 0 and 4 * _meetings(outer, inner) < touching


def flat_levels(values: np.ndarray) -> list[int]:
    """The whole numbers above zero that make up areas of some size, and stand alone: the numbers beside them do not occur,
    as they do in a blur and in noise.
    """
    levels = levels_of(values)
    alone = np.diff(levels.astype(np.float64), prepend=-np.inf, append=np.inf) > 1
    counts = _counts(levels, values)
    are_flat = _counts(levels, values[_areas(values)]) > counts / 2
    chosen = alone[:-1] & alone[1:] & are_flat & (counts >= SIZE * values.size) & (levels > 0)
    return [int(level) for level in levels[chosen]]


def is_scattered(levels: np.ndarray, *, at_the_top: bool = False) -> bool:
    """Whether sorted levels are those of a black and white mask after compression: all of them all but black or white.

    ``at_the_top``: some, beside the highest, must be all but white, as the number of a class beside 255 seldom is.
    """
    low, high = float(levels[0]), float(levels[-1])
    near = (high - low) / EXACT
    middle = levels[1:-1].astype(np.float64)
    is_black, is_white = middle - low <= near, high - middle <= near
    return bool(middle.size and high >= BRIGHT and (is_black | is_white).all() and (not at_the_top or is_white.any()))


def _are_edges_or_noise(levels: np.ndarray, values: np.ndarray, loose: np.ndarray) -> bool:
    """Whether pixels outside of areas (``loose``, bool (H, W)) lie between their neighbours, or near the lowest or highest
    level; and are more than a thin line or two of some class: edges are bright or of three levels, noise covers some of the
    picture or is at both ends.
    """
    low, high = float(levels[0]), float(levels[-1])
    rows, columns = np.nonzero(loose)
    mine = values[rows, columns].astype(np.float64)
    near = np.minimum(mine - low, high - mine) <= (high - low) / NEAR
    lower, higher = np.zeros(mine.size, bool), np.zeros(mine.size, bool)
    height, width = values.shape
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            other = values[(rows + down).clip(0, height - 1), (columns + right).clip(0, width - 1)]
            lower |= other < mine
            higher |= other > mine
    edge = lower & higher
    if np.mean(edge | near) < 0.5:
        return False
    are_edges = bool(np.mean(edge) >= 0.5)
    is_noise = np.count_nonzero(near) >= NOISY * values.size
    of_both = bool(((high - levels[1:-1]) <= (high - low) / NEAR).any())  # else 255 may be void, beside thin classes
    is_many = levels.size > 4  # three between the ends
    return bool(is_noise or (are_edges and (is_many or high >= BRIGHT)) or (of_both and is_many))


def _is_slow_blur(levels: np.ndarray, values: np.ndarray) -> bool:
    """Whether levels that make up areas are a blur's: nearly all steps in both directions are small and the background is
    large. Numbers given to objects in a row have large steps in the other direction, or to the background.
    """
    if levels.size <= FEW:
        return False
    small = SMOOTH * max(1.0, float(levels[-1]) / 255) if levels[-1] >= BRIGHT else 1.0
    for one, other in ((values[1:], values[:-1]), (values[:, 1:], values[:, :-1])):
        differ = one != other
        steps = np.abs(one[differ].astype(np.float64) - other[differ])
        if steps.size == 0 or np.mean(steps <= small) < SURE:
            return False
    counts = _counts(levels, values)
    return bool(counts[0] >= MANY_SIZES * np.median(counts[1:-1]))


def _meetings(these: np.ndarray, those: np.ndarray) -> int:
    """How many pixels of the one, bool (H, W), are beside, above or below one of the other."""
    pairs = (
        (these[:, 1:], those[:, :-1]),
        (these[:, :-1], those[:, 1:]),
        (these[1:], those[:-1]),
        (these[:-1], those[1:]),
    )
    return sum(int(np.count_nonzero(one & other)) for one, other in pairs)


def _areas(values: np.ndarray) -> np.ndarray:
    """Where a pixel is one of four equal ones in a square, bool (H, W)."""
    beside = values[:, 1:] == values[:, :-1]
    square = beside[1:] & beside[:-1] & (values[1:, 1:] == values[:-1, 1:])
    found = np.zeros(values.shape, bool)
    for rows in (slice(1, None), slice(None, -1)):
        for columns in (slice(1, None), slice(None, -1)):
            found[rows, columns] |= square
    return found


def _usual_share(levels: np.ndarray, values: np.ndarray, flat: np.ndarray) -> float:
    """The mean over levels of the share of a level's pixels that lie in ``flat``, bool (H, W)."""
    return float(np.mean(1 - _counts(levels, values[~flat]) / _counts(levels, values)))


def _counts(levels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How many pixels each of the sorted levels has."""
    if values.dtype == np.uint8:
        return np.bincount(values.ravel(), minlength=256)[levels]
    found, counts = np.unique(values, return_counts=True)
    at = np.searchsorted(found, levels).clip(0, max(found.size - 1, 0))
    return np.where(found[at] == levels, counts[at], 0) if found.size else np.zeros(levels.size, int)
