"""Region R from the data's own masks: a CSV's ``mask`` column, ``--masks DIR``, the collage, the pets' trimaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from das_explain.data.assumptions import assume_of_masks, assume_unread
from das_explain.data.images import full_size, was_turned_unseen
from das_explain.data.sources import assuming, lacks_own_turn
from das_explain.errors import UsageError
from das_explain.types import Region, Sample

if TYPE_CHECKING:
    from das_explain.data.dataset import Dataset
    from das_explain.segment import Segmenter


class DataMasks:
    """Reads the mask that belongs to each sample."""

    name = "masks"
    needs_networks = False

    def __init__(self, dataset: Dataset) -> None:
        if not dataset.has_masks:
            raise UsageError(
                f"{dataset.spec} has no masks: give a folder of them (--masks DIR), a column mask in the CSV, "
                "or rectangles (columns x0,y0,x1,y1 and --box-masks)"
            )
        self.source = dataset.source
        self._data = dataset.spec

    def identity(self) -> dict[str, Any]:
        """The data set is the source; its fingerprint covers the masks."""
        return {"name": self.name, "data": self._data}

    def region(self, sample: Sample, image: Image.Image) -> Region:
        """The sample's mask; shrunk with a photo that was decoded below its full size."""
        region = self.source.read_mask(sample, full_size(image))
        if region.mask is not None and was_turned_unseen(image) and lacks_own_turn(sample):
            region = replace(
                region, detail={**region.detail, **assuming([*region.detail.get("assumed", ()), "turned"])}
            )
        if region.mask is None or region.mask.shape == (image.height, image.width):
            return region
        small = Image.fromarray(region.mask).resize(image.size, Image.Resampling.NEAREST)
        return replace(region, mask=np.asarray(small))


def assume_of_regions(segmenter: Segmenter | None, samples: Sequence[Sample], *, unread: bool = False) -> list[str]:
    """One sentence for each assumption about the masks of the data, if R comes from them; ``unread``: without reading them."""
    assume = assume_unread if unread else assume_of_masks
    return assume(samples, segmenter.source) if isinstance(segmenter, DataMasks) else []
