"""Arrays that grow with the images, on the disk: one is read back without the others."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from das_explain.files import naming


class Growing:
    """K arrays (N, ...) of one type, which grow together, part by part. To be closed.

    >>> growing = Growing()
    >>> for part in ([[1.0, 2.0], [5.0, 6.0]], [[3.0], [7.0]]):
    ...     growing.add(np.array(part))
    >>> growing.read(1).tolist()
    [5.0, 6.0, 7.0]
    >>> growing.close()
    """

    def __init__(self) -> None:
        self._file: Any = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this lives
        self._ends = [0]  # of each part, in images
        self._like: np.ndarray | None = None

    @property
    def count(self) -> int:
        """N so far."""
        return self._ends[-1]

    def add(self, part: np.ndarray) -> None:
        """Appends to each array: (K, n, ...). Raises OSError that names the folder, where it is full."""
        self._like = part[:, :0].copy()
        try:
            self._file.seek(0, os.SEEK_END)
            self._file.write(np.ascontiguousarray(part))
            self._file.flush()  # here, where a full disk can be named
        except OSError as error:
            raise naming(error, Path(tempfile.gettempdir())) from None
        self._ends.append(self.count + part.shape[1])

    def read(self, place: int) -> np.ndarray:
        """The array at this place among the K, (N, ...)."""
        assert self._like is not None, "nothing was added"
        arrays, _, *rest = self._like.shape
        whole = np.empty((self.count, *rest), self._like.dtype)
        image = int(np.prod(rest)) * whole.itemsize
        for start, end in zip(self._ends, self._ends[1:]):
            self._file.seek((start * arrays + (end - start) * place) * image)
            self._file.readinto(whole[start:end].reshape(-1).view(np.uint8))
        return whole

    def close(self) -> None:
        """Gives the disk back."""
        self._file.close()
