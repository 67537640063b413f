"""Who is whose partner: drawn once over the whole sample, so that neither batch nor engine moves a number."""

from __future__ import annotations

import numpy as np


def derangement(count: int, seed: int) -> np.ndarray:
    """int64 (count,): a permutation without fixed points, one random cycle through all (Sattolo 1986); ``count`` >= 2.

    >>> bool((derangement(5, 0) == np.arange(5)).any())
    False
    """
    if count < 2:
        raise ValueError("one image has no partner")
    rng = np.random.default_rng([seed, count])
    partner = np.arange(count)
    for last in range(count - 1, 0, -1):
        other = int(rng.integers(0, last))
        partner[[last, other]] = partner[[other, last]]
    return partner


def image_seeds(names: list[str], seed: int) -> np.ndarray:
    """int64 (N,): one seed per image, from the run's seed and the image's name."""
    from hashlib import sha256

    digests = (sha256(f"{seed}\n{name}".encode()).digest() for name in names)
    return np.array([int.from_bytes(digest[:8], "little") >> 1 for digest in digests], dtype=np.int64)
