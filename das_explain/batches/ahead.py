"""Regions on the way from the decoders to the networks: a finder looks at what the cache does not know.

Works on anything that passes by with a photo whose region is still to be found; knows no finder by name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from PIL import Image

from das_explain.types import Progress, Region, Sample, no_progress

WAITING = 4  # items at most that wait for their turn, per photo of the finder's batch


class Item(Protocol):
    """What passes through ``fill_regions``: ``photo`` is there only where ``region`` is still to be found."""

    sample: Sample
    photo: Image.Image | None
    region: Region | None


Items = TypeVar("Items", bound=Item)
Anything = TypeVar("Anything")


def fill_regions(
    items: Iterable[Items], segmenter: Any, progress: Progress = no_progress, of: int = 0
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


def can_overlap(segmenter: Any, device: Any) -> bool:
    """Whether it pays to find masks in a thread of their own while the networks run on ``device``.

    Not if both run on the processor: they would wait for each other's cores.
    """
    needs = segmenter is not None and segmenter.needs_networks
    return needs and {segmenter.device.type, device.type} != {"cpu"}


def in_a_thread(items: Iterator[Anything], ahead: int) -> Iterator[Anything]:
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
