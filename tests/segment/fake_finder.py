"""A finder without networks: R is what is brighter than the photo's middle grey. Counts its calls in a file."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from das_explain.types import Region, Sample


class BrightFinder:
    """``log``: a file that gets one line per photo found; ``seconds``: how long each takes; ``shown``: how many it saw."""

    def __init__(
        self,
        name: str = "grounded-sam",
        *,
        log: Path | None = None,
        seconds: float = 0.0,
        threshold: int = 150,
        template: str = "{label}",
        fail: str = "",
        alternatives: bool = False,
    ) -> None:
        self.name, self.log, self.seconds = name, log, seconds
        self.threshold, self.template, self.fail = threshold, template, fail
        self.alternatives = alternatives  # whether the rectangle's left and its right half are offered, too
        self.network: Any = None
        self.device: Any = "cpu"
        self.batch = 1
        self.shown = 0

    def identity(self) -> dict[str, Any]:
        return {"weights": "sha256:0123", "threshold": self.threshold, "template": self.template}

    def prompt(self, sample: Sample) -> str:
        return self.template.replace("{label}", sample.label or "thing").lower() + "."

    def find(self, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[Region]:
        self.shown += len(samples)
        self.network = lambda image: np.asarray(image).max(axis=2) > self.threshold  # cannot be pickled
        return [self._find(sample, image) for sample, image in zip(samples, images, strict=True)]

    def _find(self, sample: Sample, image: Image.Image) -> Region:
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{os.getpid()} {sample.name}\n")
        time.sleep(self.seconds)
        detail = {
            "source": self.name,
            "prompt": self.prompt(sample),
            "retried": False,
            "seconds": {"detect": self.seconds},
        }
        empty = {"boxes": [], "scores": [], "labels": [], "used": [], "iou": []}
        if self.fail and self.fail in sample.name:
            return Region(None, "mask_unreadable", {**detail, **empty, "message": "out of memory"})
        mask = self.network(image)
        if not mask.any():
            return Region(None, "no_object", {**detail, **empty})
        y, x = np.nonzero(mask)
        box = [float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1)]
        found = {
            "boxes": [[0.0, 0.0, 2.0, 2.0], box],
            "scores": [0.41, 0.875],
            "labels": ["a", "b"],
            "used": [1],
            "iou": [0.93],
        }
        halves = {
            "left": mask & (np.arange(mask.shape[1]) < x.mean()),
            "right": mask & (np.arange(mask.shape[1]) > x.mean()),
        }
        return Region(mask, "ok", {**detail, **found}, halves if self.alternatives else {})

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "network": None}


@dataclass(frozen=True)
class BrightOptions:
    """What the registry names in place of ``FinderOptions``; the log is named by the environment."""

    device: str | None = None
    template: str = "{label}"
    threshold: int = 150

    def create(self, name: str, dataset: Any = None) -> BrightFinder:
        log = os.environ.get("BRIGHT_LOG")
        return BrightFinder(name, log=Path(log) if log else None, template=self.template, threshold=self.threshold)


def bright_photo(seed: int, width: int = 48, height: int = 32) -> Image.Image:
    """A dim noisy photo with a bright rectangle, off the middle and not square."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
    x, y = 3 + seed % 20, 2 + seed % 9
    pixels[y : y + 9, x : x + 15, seed % 3] = 240
    return Image.fromarray(pixels)
