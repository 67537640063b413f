"""Where region R comes from: the protocol, and the registry of its kinds (one file and one line each)."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image

from das_explain.errors import UsageError
from das_explain.types import Region, Sample

if TYPE_CHECKING:
    from das_explain.data import Dataset

SEGMENTERS = {  # name -> class, called as Class(dataset, **options); imported when asked for
    "masks": "das_explain.segment.masks:DataMasks",
    "boxes": "das_explain.segment.boxes:BoxMasks",
}


class Segmenter(Protocol):
    """Finds the object of a photo. Runs in the decoding workers, so it is picklable and holds no list of samples."""

    name: str

    def identity(self) -> dict[str, Any]:
        """JSON-serialisable: what makes the masks, with its settings; goes into ``run.json``."""
        ...

    def region(self, sample: Sample, image: Image.Image) -> Region:
        """The region of ``sample``, whose decoded upright photo is ``image``; its mask has the image's size."""
        ...


def create_segmenter(name: str, dataset: Dataset, **options: Any) -> Segmenter:
    """The segmenter called ``name`` for a data set. Raises ``UsageError`` if name, option or data set do not fit."""
    if name not in SEGMENTERS:
        raise UsageError(f"no segmenter is called {name!r}; there are {', '.join(sorted(SEGMENTERS))}")
    module, kind = SEGMENTERS[name].split(":")
    create = getattr(importlib.import_module(module), kind)
    known = list(inspect.signature(create).parameters)[1:]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UsageError(f"the segmenter {name} has no option {unknown[0]}; it has {', '.join(known) or 'none'}")
    return create(dataset, **options)
