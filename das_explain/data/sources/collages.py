"""The embedded photo set as a data source: ``collage[:train|test][:[SKIP+]N]``, exact masks included."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image

from das_explain.data.sources import Listing, region_from_mask
from das_explain.errors import UsageError
from das_explain.types import Region, Sample

if TYPE_CHECKING:
    from das_explain.data.collage.images import Collage, CollageImage

DEFAULT_COUNT = 100
MOST = 1_000_000  # of the last one; a list of so many takes half a gigabyte
_NUMBER = re.compile("[0-9]{1,9}")
SPLITS = ("train", "test")


@dataclass
class Collages:
    """Renders ``count`` collage images from number ``first`` on; the photo and its mask come from one rendering."""

    count: int
    split: str
    first: int = 0
    _last: tuple[int, CollageImage] | None = field(default=None, repr=False, compare=False)

    def read(self, sample: Sample) -> Image.Image:
        """Renders image ``sample.index``."""
        return Image.fromarray(self._render(sample.index).image)

    def read_mask(self, sample: Sample, size: tuple[int, int]) -> Region:
        """The mask the image was made with."""
        return region_from_mask(self._render(sample.index).mask, size)

    def _render(self, index: int) -> CollageImage:
        if self._last is None or self._last[0] != index:
            self._last = (index, _collage(self.first + self.count, self.split)[self.first + index])
        return self._last[1]

    def __getstate__(self) -> dict[str, object]:
        return {"count": self.count, "split": self.split, "first": self.first, "_last": None}


@lru_cache(maxsize=2)
def _collage(count: int, split: str) -> Collage:
    from das_explain.data.collage.images import Collage

    return Collage(count, "train" if split == "train" else "test")


def list_collage(rest: str, *, split: str | None = None, root: object = None) -> Listing:
    """``rest`` is what follows ``collage:`` in the spec: a split, a number of images, both, or nothing. ``SKIP+N``: N
    images after the first SKIP, which a network that was trained on those has never seen.

    Raises ``UsageError`` where it is something else, ``DasExplainError`` where the photographs are not installed.
    """
    from das_explain.data.collage.cutouts import check_photographs

    first, count = 0, DEFAULT_COUNT
    for part in filter(None, rest.split(":")):
        skipped, plus, number = part.rpartition("+")
        if part in SPLITS and split in (None, part):
            split = part
        elif _NUMBER.fullmatch(number) and int(number) and bool(_NUMBER.fullmatch(skipped)) == bool(plus):
            first, count = int(skipped or 0), int(number)
        else:
            raise UsageError(f"no such collage: collage:{rest} (collage[:train|test][:[SKIP+]N] with N images, N > 0)")
    if first + count > MOST:
        raise UsageError(f"collage:{rest} is too many: there are {MOST:,} images")
    split = split or "test"
    if split not in SPLITS:
        raise UsageError(f"collage has no split {split!r}: {' or '.join(SPLITS)}")
    check_photographs()
    collage = _collage(first + count, split)
    samples = tuple(Sample(collage.name(first + i), i, collage.label(first + i)) for i in range(count))
    made = f"seed {getattr(collage, 'seed', 0)} size {getattr(collage, 'size', None)}"
    return Listing(Collages(count, split, first), samples, (made,) * count, has_masks=True)
