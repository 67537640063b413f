"""The maps of an image's partner, wherever in the sample that is, at the cost of no memory.

A pass over the evidence writes the maps of each model and block into a temporary file of equal records; a partner's map
is then one read away.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from typing import Any

import numpy as np

from das_explain.evidence.values import Evidence, Key
from das_explain.nulls.pairing import derangement


class Partners:
    """For the k-th image that was shown to the models: its partner's maps."""

    def __init__(self, evidence: Iterable[Evidence], seed: int) -> None:
        self._files: dict[Key, Any] = {}
        self._sizes: dict[Key, tuple[int, int]] = {}
        self.count = 0
        for part in evidence:
            self.count += len(part.shown)
            for key, maps in part.maps.items():
                if key not in self._files:
                    self._files[key] = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this lives
                    self._sizes[key] = maps.native.shape[1:]
                self._files[key].write(np.ascontiguousarray(maps.native, np.float32))
        self.partner = derangement(self.count, seed) if self.count > 1 else np.empty(0, np.int64)

    def __bool__(self) -> bool:
        return self.count > 1

    def maps(self, key: Key, ranks: np.ndarray) -> np.ndarray:
        """The native maps of the partners of the images with these ranks int (n,): float32 (n, h, w)."""
        height, width = self._sizes[key]
        file, values = self._files[key], np.empty((len(ranks), height, width), np.float32)
        for row, rank in enumerate(self.partner[ranks]):
            file.seek(int(rank) * height * width * 4)
            file.readinto(values[row].reshape(-1).view(np.uint8))
        return values

    def close(self) -> None:
        """Gives the files back."""
        for file in self._files.values():
            file.close()
