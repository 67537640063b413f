"""A finder behind the mask cache: masks are found once per photo, as photos come by, and ever after only read.

A worker that has decoded a photo asks ``region``, which knows what the cache holds. Where it knows nothing, the photo
goes on to the main process, and ``batches.ahead.fill_regions`` has the finder look at it there: each photo is decoded
once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from das_explain.segment import Finder
from das_explain.segment.cache import MaskCache
from das_explain.types import Region, Sample

if TYPE_CHECKING:
    import torch

KEPT = ("ok", "no_object", "mask_mismatch")  # what a finder says of a photo; anything else is a failure that may pass
CALL = 4  # batches of the finder per call


class CachedFinder:
    """The segmenter that a finder makes: ``region`` reads the cache, ``find`` fills it.

    ``batch`` is the number of photos per call of the finder: some of its own batches, since photos of one shape go
    together, unless those are of one photo each, which is then stored as soon as it is found.
    """

    needs_networks = True

    def __init__(self, finder: Finder, cache: MaskCache | None = None, *, batch: int | None = None) -> None:
        self.name = finder.name
        self.finder = finder
        self.batch = batch or (finder.batch * CALL if finder.batch > 1 else 1)
        self._identity = {"name": finder.name, **finder.identity()}
        self.cache = cache or MaskCache(self._identity)

    def identity(self) -> dict[str, Any]:
        """The finder's."""
        return self._identity

    @property
    def device(self) -> torch.device:
        """Where the finder's networks run."""
        from das_explain.devices import find_device

        return find_device(self.finder.device)

    def region(self, sample: Sample, image: Image.Image) -> Region | None:
        """What the cache holds for the photo, detail as the finder gave it; ``None`` if ``find`` has to look."""
        prompt = self.finder.prompt(sample)
        if not prompt:
            return Region(None, "no_mask", {"source": self.name, "message": "the data says nothing to look for here"})
        return self._known(self.cache.key(image, prompt), image)

    def find(self, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[Region]:
        """One region per photo, from the finder, which is not called for what is in the cache by now; stores them.

        A failure of the finder at one photo is passed on, not stored: it is tried again in the next run. Raises
        ``DasExplainError`` if the networks cannot be loaded or the cache cannot be written.
        """
        self.cache.prepare()  # a folder that cannot be written is told before networks are loaded
        keys = [self.cache.key(image, self.finder.prompt(sample)) for sample, image in zip(samples, images)]
        known = {key: self._known(key, image) for key, image in zip(keys, images)}
        missing = {each[0]: each for each in zip(keys, samples, images) if known[each[0]] is None}  # twins are one
        if missing:
            _, asked, shown = zip(*missing.values())
            for key, image, region in zip(missing, shown, self.finder.find(asked, shown), strict=True):
                if region.mask is not None and region.mask.shape != (image.height, image.width):
                    raise ValueError(f"{self.name}: a mask of shape {region.mask.shape} for a photo of {image.size}")
                known[key] = replace(region, detail=_finite(region.detail))
                if region.status in KEPT:
                    self.cache.store(key, known[key])
        return [known[key] for key in keys]

    def _known(self, key: str, image: Image.Image) -> Region | None:
        region = self.cache.load(key)
        fits = region is None or region.mask is None or region.mask.shape == (image.height, image.width)
        return region if fits else None


def _finite(value: Any) -> Any:
    """The same, JSON-serialisable by the letter: NaN and infinities, which networks may give, are ``None``."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
