"""Where region R comes from: the protocols, and the registry of its kinds (one file and one line each).

A ``Segmenter`` answers at once, in the decoding workers. A ``Finder`` needs networks and runs in the main process, in
batches; ``CachedFinder`` makes a segmenter of it, which answers for what is in the mask cache and finds the rest.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image

from das_explain.errors import UsageError
from das_explain.types import Region, Sample

if TYPE_CHECKING:
    from das_explain.data.dataset import Dataset

SEGMENTERS = {  # name -> class, called as Class(dataset, **options); imported when asked for
    "masks": "das_explain.segment.masks:DataMasks",
    "boxes": "das_explain.segment.boxes:BoxMasks",
}
FINDERS = dict.fromkeys(  # name -> a dataclass of options, which makes a Finder by ``options.create(name, dataset)``
    ("grounded-sam", "grounded-sam2", "grounded-sam-original", "boxes+sam"),
    "das_explain.segment.finders.options:FinderOptions",
)


class Segmenter(Protocol):
    """Finds the object of a photo. Runs in the decoding workers, so it is picklable and holds no list of samples."""

    name: str
    needs_networks: bool
    """Whether ``region`` may answer ``None``; the segmenter is then a ``NetworkSegmenter``."""

    def identity(self) -> dict[str, Any]:
        """JSON-serialisable: what makes the masks, with its settings; goes into ``run.json``."""
        ...

    def region(self, sample: Sample, image: Image.Image) -> Region | None:
        """The region of ``sample``, whose decoded upright photo is ``image``; its mask has the image's size.

        ``None``: it takes networks. Such a segmenter is a ``CachedFinder``, whose ``find`` is then asked for it.
        """
        ...


class NetworkSegmenter(Segmenter, Protocol):
    """A segmenter that looks with networks where it has no answer at once, in the main process."""

    batch: int
    """How many photos are found at a time."""

    @property
    def device(self) -> Any:
        """Where its networks run, a torch.device."""
        ...

    def find(self, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[Region]:
        """One region per photo, in order."""
        ...


class Finder(Protocol):
    """Finds objects with networks, which it loads at the first ``find``. Pickled, it leaves them behind."""

    name: str
    device: Any
    """Where the networks run, as torch names it; ``None``: the best there is."""
    batch: int
    """How many photos go through the networks at a time."""

    def identity(self) -> dict[str, Any]:
        """JSON-serialisable: all that decides a mask (hashes of the weights, settings); loads no network."""
        ...

    def prompt(self, sample: Sample) -> str:
        """What is asked for this sample: a phrase, or its boxes; empty if there is nothing to ask. Loads no network."""
        ...

    def find(self, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[Region]:
        """One region per image, its mask of the image's size; never raises for one image's sake."""
        ...


def create_segmenter(name: str, dataset: Dataset, **options: Any) -> Segmenter:
    """The segmenter called ``name`` for a data set. Raises ``UsageError`` if name, option or data set do not fit.

    >>> from das_explain import create_segmenter, open_dataset
    >>> data = open_dataset("collage:1")
    >>> sample = data.samples[0]
    >>> region = create_segmenter("masks", data).region(sample, data.read(sample))
    >>> region.status, region.mask.dtype
    ('ok', dtype('bool'))
    """
    if name not in SEGMENTERS and name not in FINDERS:
        known = ", ".join(sorted([*SEGMENTERS, *FINDERS]))
        raise UsageError(f"no segmenter is called {name!r}; there are {known}")
    module, kind = (FINDERS.get(name) or SEGMENTERS[name]).split(":")
    create = getattr(importlib.import_module(module), kind)
    known = [option for option in inspect.signature(create).parameters if option != "dataset"]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UsageError(f"the segmenter {name} has no option {unknown[0]}; it has {', '.join(known) or 'none'}")
    if name not in FINDERS:
        return create(dataset, **options)
    from das_explain.segment.cached import CachedFinder

    return CachedFinder(create(**options).create(name, dataset))
