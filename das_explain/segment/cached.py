"""A finder behind the mask cache: masks are found once per photo, as photos come by, and ever after only read.

A worker that has decoded a photo asks ``region``, which knows what the cache holds. Where it knows nothing, the photo
goes on to the main process, and ``found`` has the finder look at it there: each photo is decoded once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from PIL import Image

from das_explain.segment import Finder, Progress
from das_explain.segment.cache import MaskCache
from das_explain.types import Region, Sample

if TYPE_CHECKING:
    import torch

KEPT = ("ok", "no_object", "mask_mismatch")  # what a finder says of a photo; anything else is a failure that may pass
CALL = 4  # batches of the finder per call
WAITING = 4  # items at most that wait for their turn, per photo of the finder's batch


class CachedFinder:
    """The segmenter that a finder makes: ``region`` reads the cache, ``find`` fills it.

    ``batch`` is the number of photos per call of the finder: some of its own batches, since photos of one shape go
    together, unless those are of one photo each, which is then stored as soon as it is found.
    """

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
                known[key] = Region(region.mask, region.status, _finite(region.detail))
                if region.status in KEPT:
                    self.cache.store(key, known[key])
        return [known[key] for key in keys]

    def _known(self, key: str, image: Image.Image) -> Region | None:
        region = self.cache.load(key)
        fits = region is None or region.mask is None or region.mask.shape == (image.height, image.width)
        return region if fits else None


class Item(Protocol):
    """What passes through ``found``: ``photo`` is there only where ``region`` is still to be found."""

    sample: Sample
    photo: Image.Image | None
    region: Region | None


Items = TypeVar("Items", bound=Item)
Anything = TypeVar("Anything")


def found(
    items: Iterable[Items], segmenter: Any, progress: Progress = lambda done, of: None, of: int = 0
) -> Iterator[Items]:
    """Passes items on, in order, with ``region`` filled in by ``segmenter.find`` where it was missing.

    ``progress`` is told of the items passed, of ``of``, from the first photo on that the finder is shown; it is never
    called if the cache has it all. At most ``WAITING`` times ``segmenter.batch`` items are held.
    """
    done, looked = 0, False
    for group in _groups(items, segmenter.batch):
        if unknown := [item for item in group if item.photo is not None]:
            if not looked:
                progress(done, of)
            looked = True
            regions = segmenter.find([item.sample for item in unknown], [item.photo for item in unknown])
            for item, region in zip(unknown, regions, strict=True):
                item.region = region
        done += len(group)
        if looked:
            progress(done, of)
        yield from group


def _groups(items: Iterable[Items], batch: int) -> Iterator[list[Items]]:
    """Items in order, cut so that each group has ``batch`` photos to look at, or none, or fewer at a cut for length."""
    group: list[Items] = []
    for item in items:
        group.append(item)
        if sum(each.photo is not None for each in group) in (0, batch) or len(group) >= WAITING * batch:
            yield group
            group = []
    if group:
        yield group


def apart(segmenter: Any, device: Any) -> bool:
    """Whether masks are found in a thread of their own, ``beside`` the networks on ``device``: not on one processor.

    There the two would wait for each other's cores.
    """
    return isinstance(segmenter, CachedFinder) and {segmenter.device.type, device.type} != {"cpu"}


def beside(items: Iterator[Anything], ahead: int) -> Iterator[Anything]:
    """The same items, worked on by a thread of their own, up to ``ahead`` of them before they are asked for."""
    end = object()
    with ThreadPoolExecutor(1, "masks") as thread:
        try:
            due = deque(thread.submit(next, items, end) for _ in range(ahead))
            while (item := due.popleft().result()) is not end:
                due.append(thread.submit(next, items, end))
                yield item
        finally:  # an error, or a consumer that stops early: what was begun is finished, the rest is not begun
            thread.shutdown(wait=False, cancel_futures=True)


def _finite(value: Any) -> Any:
    """The same, JSON-serialisable by the letter: NaN and infinities, which networks may give, are ``None``."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
