"""Sources of photos that make trouble where they are read; in a module of its own, which workers import."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from das_explain.data.images import ImageError
from das_explain.data.sources import Files
from das_explain.types import Sample

BLIND = "DAS_EXPLAIN_TEST_BLIND"  # set where photos cannot be read


@dataclass(frozen=True)
class Deadly(Files):
    """The first who reads a certain photo dies of it, unless it is the process that had the idea."""

    marker: Path = Path()
    driver: int = 0

    def read(self, sample: Sample) -> Image.Image:
        if sample.name == "07.png" and os.getpid() != self.driver and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(sample)


@dataclass(frozen=True)
class Blind(Files):
    """Photos that some machines cannot read; the others wait until one has tried."""

    marker: Path = Path()

    def read(self, sample: Sample) -> Image.Image:
        if BLIND in os.environ:
            self.marker.touch()
            raise ImageError(f"{sample.name}: not on this machine")
        for _ in range(600):
            if self.marker.exists():
                break
            time.sleep(0.1)
        return super().read(sample)
