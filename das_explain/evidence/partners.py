"""The maps of an image's partner, wherever in the sample that is, at the cost of no memory.

A pass over the evidence writes the maps of each model and block into a file of equal records; a partner's map is then one
read away.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from das_explain.evidence.values import Evidence, Key
from das_explain.nulls.pairing import derangement


class Partners:
    """For the k-th image that was shown to the models: its partner's maps. Pickles; the copy reads the same files.

    ``firsts``: of each part of the evidence, the k of its first shown image. ``folder`` is made, and gone with ``close``.
    """

    def __init__(self, evidence: Iterable[Evidence], seed: int, folder: Path) -> None:
        self._folder, self._mine = folder, True
        self._files: dict[Key, Any] = {}
        self._sizes: dict[Key, tuple[int, int]] = {}
        self.firsts: list[int] = []
        self.count = 0
        folder.mkdir()
        try:
            for part in evidence:
                self._add(part)
            for file in self._files.values():
                file.flush()
        except BaseException:
            self.close()
            raise
        self.partner = derangement(self.count, seed) if self.count > 1 else np.empty(0, np.int64)

    def _add(self, part: Evidence) -> None:
        self.firsts.append(self.count)
        self.count += len(part.shown)
        for key, maps in part.maps.items():
            if key not in self._files:
                self._files[key] = (self._folder / str(len(self._files))).open("w+b")
                self._sizes[key] = maps.native.shape[1:]
            self._files[key].write(np.ascontiguousarray(maps.native, np.float32))

    def __bool__(self) -> bool:
        return self.count > 1

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_mine": False, "_files": {key: file.name for key, file in self._files.items()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = {key: Path(name).open("rb") for key, name in state["_files"].items()}  # noqa: SIM115
        vars(self).update(state, _files=files)

    def maps(self, key: Key, ranks: np.ndarray) -> np.ndarray:
        """The native maps of the partners of the images with these ranks int (n,): float32 (n, h, w)."""
        height, width = self._sizes[key]
        file, values = self._files[key], np.empty((len(ranks), height, width), np.float32)
        for row, rank in enumerate(self.partner[ranks]):
            file.seek(int(rank) * height * width * 4)
            file.readinto(values[row].reshape(-1).view(np.uint8))
        return values

    def close(self) -> None:
        """Removes the files; a copy only lets them go."""
        for file in self._files.values():
            file.close()
        if self._mine:
            shutil.rmtree(self._folder, ignore_errors=True)
