"""The embedded photo set as a data source: ``collage[:train|test][:N]``, exact masks included."""

from __future__ import annotations

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
SPLITS = ("train", "test")


@dataclass
class Collages:
    """Renders collage images; the photo and its mask come from one rendering."""

    count: int
    split: str
    _last: tuple[int, CollageImage] | None = field(default=None, repr=False, compare=False)

    def read(self, sample: Sample) -> Image.Image:
        """Renders image ``sample.index``."""
        return Image.fromarray(self._render(sample.index).image)

    def read_mask(self, sample: Sample, size: tuple[int, int]) -> Region:
        """The mask the image was made with."""
        return region_from_mask(self._render(sample.index).mask, size)

    def _render(self, index: int) -> CollageImage:
        if self._last is None or self._last[0] != index:
            self._last = (index, _collage(self.count, self.split)[index])
        return self._last[1]

    def __getstate__(self) -> dict[str, object]:
        return {"count": self.count, "split": self.split, "_last": None}


@lru_cache(maxsize=2)
def _collage(count: int, split: str) -> Collage:
    from das_explain.data.collage.images import Collage

    return Collage(count, "train" if split == "train" else "test")


def list_collage(rest: str, *, split: str | None = None, root: object = None) -> Listing:
    """``rest`` is what follows ``collage:`` in the spec: a split, a number of images, both, or nothing.

    Raises ``UsageError`` where it is something else, ``DasExplainError`` where the photographs are not installed.
    """
    from das_explain.data.collage.cutouts import check_photographs

    count = DEFAULT_COUNT
    for part in filter(None, rest.split(":")):
        if part in SPLITS and split in (None, part):
            split = part
        elif part.isdecimal() and int(part) > 0:
            count = int(part)
        else:
            raise UsageError(f"no such collage: collage:{rest} (collage[:train|test][:N] with N images, N > 0)")
    split = split or "test"
    if split not in SPLITS:
        raise UsageError(f"collage has no split {split!r}: {' or '.join(SPLITS)}")
    check_photographs()
    collage = _collage(count, split)
    samples = tuple(Sample(collage.name(i), i, collage.label(i)) for i in range(count))
    made = f"seed {getattr(collage, 'seed', 0)} size {getattr(collage, 'size', None)}"
    return Listing(Collages(count, split), samples, (made,) * count, has_masks=True)
