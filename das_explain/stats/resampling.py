"""How often and from which seed values are drawn again: one opinion for every interval and test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

RESAMPLES = 9999
SEED = 20
_BATCH_ELEMENTS = 1_000_000  # of signs that are drawn at once: where blocks end decides what is drawn
_SIGNS = 2**18  # of them as numbers at once, to bound memory whatever the number of images
_DRAWN_ELEMENTS = 250_000  # of one block of resamples, which is there three times while it is made
_ABREAST = 16
_KEPT_BYTES = 12_000_000
_kept: dict[tuple[int, int], np.ndarray] = {}  # what was drawn, by resamples and n: tables ask for the same n


def batches(n: int, elements: int) -> Iterator[int]:
    """Sizes of the blocks that make up ``RESAMPLES`` resamples of n values each, bounded in memory."""
    size = max(1, elements // n)
    for start in range(0, RESAMPLES, size):
        yield min(size, RESAMPLES - start)


def draws(n: int) -> Iterator[np.ndarray]:
    """How often each of n values is drawn, float64 (resamples of a batch, n): each row sums to n."""
    start = 0
    if RESAMPLES * n > _KEPT_BYTES:
        yield from (drawn.astype(float) for drawn in _drawn(n))
        return
    key = RESAMPLES, n
    kept = _kept.pop(key) if key in _kept else _all_drawn(n)
    _kept[key] = kept  # as the last one: the first is what was not asked for longest
    while sum(each.nbytes for each in _kept.values()) > _KEPT_BYTES:
        del _kept[next(iter(_kept))]
    for size in batches(n, _DRAWN_ELEMENTS):
        yield kept[start : start + size].astype(float)
        start += size


def forget() -> None:
    """Gives back the memory of what was drawn, when no more tables are to be made."""
    _kept.clear()


def _all_drawn(n: int) -> np.ndarray:
    """The same of all resamples, uint8 (resamples, n): one value of hundreds is never drawn 256 times."""
    counts, start = np.empty((RESAMPLES, n), np.uint8), 0
    for drawn in _drawn(n):
        counts[start : start + len(drawn)] = drawn
        start += len(drawn)
    return counts


def _drawn(n: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(SEED)
    for size in batches(n, _DRAWN_ELEMENTS):
        drawn = rng.integers(0, n, (size, n))
        drawn += n * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        del drawn
        yield counts


def signs(n: int) -> Iterator[np.ndarray]:
    """Random signs, float64 (some of the resamples, n), of -1.0 and 1.0."""
    rng = np.random.default_rng(SEED)
    rows = max(1, _SIGNS // n)
    for size in batches(n, _BATCH_ELEMENTS):
        drawn = rng.integers(0, 2, (size, n), dtype=np.int8)
        for start in range(0, size, rows):
            some = drawn[start : start + rows] * 2.0
            some -= 1
            yield some


def stack(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Columns (n,) as float64 (blocks, n, 16), filled up with zeros."""
    filled = np.zeros((-(-len(columns) // _ABREAST), len(columns[0]), _ABREAST))
    for place, column in enumerate(columns):
        filled[place // _ABREAST, :, place % _ABREAST] = column
    return filled


def sums(weights: np.ndarray, stacked: np.ndarray) -> np.ndarray:
    """Weighted sums of the columns of `stack`, by the rows of weights (m, n): float64 (columns filled up, m).

    Always 16 columns at a time, so that a column has the same digits alone and in company.
    """
    return np.concatenate([(weights @ block).T for block in stacked])
