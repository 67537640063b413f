"""A finder behind the mask cache: masks are made once per photo, ahead of the models, and then only read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from das_explain.segment import Finder, Progress
from das_explain.segment.cache import MaskCache
from das_explain.types import Region, Sample

if TYPE_CHECKING:
    from das_explain.data import Dataset
    from das_explain.sources import Source

KEPT = ("ok", "no_object", "mask_mismatch")  # what a finder says of a photo; anything else is a failure that may pass


class CachedFinder:
    """The segmenter that a finder makes: ``prepare`` finds what the cache lacks, ``region`` reads the cache.

    ``batch`` is the number of photos per call of the finder.
    """

    def __init__(self, finder: Finder, cache: MaskCache | None = None, *, batch: int = 4) -> None:
        self.name = finder.name
        self.finder = finder
        self.batch = batch
        self._identity = {"name": finder.name, **finder.identity()}
        self.cache = cache or MaskCache(self._identity)
        self._failed: dict[str, Region] = {}

    def identity(self) -> dict[str, Any]:
        """The finder's."""
        return self._identity

    def region(self, sample: Sample, image: Image.Image) -> Region:
        """What the cache holds for the photo; detail as the finder gave it."""
        prompt = self.finder.prompt(sample)
        if not prompt:
            return Region(None, "no_mask", {"source": self.name, "message": "the data says nothing to look for here"})
        key = self.cache.key(image, prompt)
        region = self._failed.get(key) or self.cache.load(key)
        if region is None:
            message = "its mask is not in the mask cache (cleared meanwhile?); run the same command again"
            return Region(None, "mask_unreadable", {"message": message})
        return region

    def prepare(
        self,
        dataset: Dataset,
        samples: Sequence[Sample],
        progress: Progress = lambda done, of: None,
        *,
        workers: int | None = None,
    ) -> int:
        """Makes the missing masks of ``samples``: photos are decoded ahead by ``workers``, found in batches, stored.

        Photos that cannot be read are passed over. Returns how many masks were made; 0 means that the finder, and so
        its networks, was not called. Raises what the finder raises for a sample that it cannot ask for.
        """
        for sample in samples:  # a sample that cannot be asked for stops the run here, not in a worker half-way
            self.finder.prompt(sample)
        self.cache.sweep()
        made = 0
        waiting: dict[str, tuple[Sample, Image.Image]] = {}
        progress(0, len(samples))
        for done, (sample, key, image) in enumerate(self._missing(dataset.source, samples, workers), 1):
            if image is not None and key not in waiting:
                waiting[key] = (sample, image)
            if len(waiting) >= self.batch:
                made += self._find(waiting)
            progress(done - len(waiting), len(samples))
        made += self._find(waiting)
        progress(len(samples), len(samples))
        return made

    def _find(self, waiting: dict[str, tuple[Sample, Image.Image]]) -> int:
        """Finds and stores what waits, except what another process has stored in the meantime."""
        todo = [(key, *each) for key, each in waiting.items() if self.cache.load(key) is None]
        waiting.clear()
        if not todo:
            return 0
        keys, samples, images = zip(*todo)
        regions = self.finder.find(samples, images)
        for key, image, region in zip(keys, images, regions, strict=True):
            if region.mask is not None and region.mask.shape != (image.height, image.width):
                raise ValueError(f"{self.name}: a mask of shape {region.mask.shape} for a photo of {image.size}")
            if region.status in KEPT:
                self.cache.store(key, region)
            else:
                self._failed[key] = region
        return len(todo)

    def _missing(
        self, source: Source, samples: Sequence[Sample], workers: int | None
    ) -> Iterator[tuple[Sample, str, Image.Image | None]]:
        """(sample, key, photo) in order; no photo where its mask is cached or it cannot be read."""
        from das_explain.loader import read_ahead

        found = read_ahead(_Reader(source, self), samples, workers)
        for sample, (key, pixels, info) in zip(samples, found):
            image = None
            if pixels is not None:
                image = Image.fromarray(pixels)
                image.info = info
            yield sample, key, image


class _Reader:
    """sample -> (key, pixels or None, the photo's info), in a worker."""

    def __init__(self, source: Source, finder: CachedFinder) -> None:
        self.source, self.finder = source, finder

    def __getitem__(self, sample: Sample) -> tuple[str, np.ndarray | None, dict[str, Any]]:
        prompt = self.finder.finder.prompt(sample)
        if not prompt:
            return "", None, {}
        try:
            image = self.source.read(sample)
        except Exception:  # the run's own decoding says what is wrong with it
            return "", None, {}
        cache = self.finder.cache
        key = cache.key(image, prompt)
        return (key, None, {}) if cache.load(key) is not None else (key, np.asarray(image), image.info)
