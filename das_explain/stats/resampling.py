"""How often and from which seed values are drawn again: one opinion for every interval and test."""

from __future__ import annotations

from collections.abc import Iterator

RESAMPLES = 9999
SEED = 20
_BATCH_ELEMENTS = 1_000_000  # of one block of resamples, to bound memory (8 MB) whatever the number of images


def batches(n: int) -> Iterator[int]:
    """Sizes of the blocks that make up ``RESAMPLES`` resamples of n values each, bounded in memory."""
    size = max(1, _BATCH_ELEMENTS // n)
    for start in range(0, RESAMPLES, size):
        yield min(size, RESAMPLES - start)
