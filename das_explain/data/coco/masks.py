"""``--masks FILE.json``: masks from a COCO file, as annotation tools write and read it: polygons or RLE.

An image's region R is the union of its annotations, crowd regions left out; of those in the category of the sample's
label only, if the file knows such a category. An image that the file lists without annotations has no object, says the file: ``no_object``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from das_explain.data.coco import shapes
from das_explain.data.coco.file import Choice, choose_annotations, read_coco
from das_explain.data.images import ImageError, printable
from das_explain.data.mask_options import MaskOptions
from das_explain.data.masks import match_names
from das_explain.data.rows import one_spelling
from das_explain.data.sources import Listing, Source, assuming, region_from_mask, turn_along
from das_explain.errors import one_line
from das_explain.types import Region, Sample

_UPLOADED = re.compile(r"[0-9a-f]{8}-")


@dataclass(frozen=True)
class CocoMasks:
    """Photos of another source, masks of a COCO file, which each process reads once."""

    photos: Source
    file: str
    objects: MaskOptions = field(default_factory=MaskOptions)

    def read(self, sample: Sample) -> Image.Image:
        """The photo, as the other source reads it."""
        return self.photos.read(sample)

    def read_mask(self, sample: Sample, size: tuple[int, int]) -> Region:
        """The union of the annotations of the image that ``sample.mask_path`` numbers, or the largest of them."""
        if sample.mask_path is None:
            return Region(None, "no_mask")
        choice = self.choose(sample)
        if not choice.annotations:
            what = "nothing but crowd regions (--crowd takes them in)" if "crowd" in choice.notes else "no object"
            return Region(
                None, "no_object", {"message": f"{printable(self.file)} lists {what} for it", **assuming(choice.notes)}
            )
        try:
            masks, drawing = self._draw(choice, size)
            mask = max(masks, key=np.count_nonzero) if self.objects.largest else np.logical_or.reduce(masks)
            region = region_from_mask(turn_along(mask, sample, size), size)
            return replace(region, detail={**region.detail, **assuming((*choice.notes, *drawing))})
        except (ValueError, ImageError) as error:
            number = printable(str(choice.image.get("id")))
            return Region(
                None, "mask_unreadable", {"message": f"{printable(self.file)}, image {number}: {one_line(error)}"}
            )

    def choose(self, sample: Sample) -> Choice:
        """The annotations that make the sample's R."""
        file = read_coco(self.file)
        image = file.images[int(str(sample.mask_path))]
        return choose_annotations(file, image, sample.label, sample.mask_values, crowd=self.objects.crowd)

    def notes(self, sample: Sample) -> tuple[str, ...]:
        """Words of ``assumptions.OF_COCO``: what is assumed of this sample's annotations."""
        choice = self.choose(sample)
        try:
            _, drawing = self._draw(choice, shapes.extent(choice.annotations))
        except ValueError:  # the run will tell
            drawing = ()
        return (*choice.notes, *drawing)

    def _draw(self, choice: Choice, size: tuple[int, int]) -> tuple[list[np.ndarray], tuple[str, ...]]:
        """The masks, bool (H, W), of those annotations that have a usable shape, in the size that the file tells
        (else ``size``), and notes. Raises ``ValueError`` if none has one."""
        drawn, problem, notes = [], None, set()
        try:
            own = (int(choice.image.get("width") or size[0]), int(choice.image.get("height") or size[1]))
        except (TypeError, ValueError, OverflowError):
            own = size
        for annotation in choice.annotations:
            try:
                mask, mine = shapes.draw(annotation, own)
            except (ValueError, TypeError, OverflowError) as error:
                problem = problem or error
                notes.add("broken")
                continue
            drawn.append(mask)
            notes |= {*mine, *(("broken",) if not mask.any() else ())}
        if not drawn:
            raise ValueError(str(problem or "no annotation"))
        fitting = [mask for mask in drawn if mask.shape == own[::-1]] or drawn
        if any(mask.shape != fitting[0].shape for mask in fitting):
            raise ValueError("its annotations have different sizes")
        return fitting, tuple(sorted(notes | {"broken"} if len(fitting) < len(drawn) else notes))


def with_coco(listing: Listing, path: Path, objects: MaskOptions = MaskOptions()) -> Listing:
    """A listing with the masks of a COCO file in place of any it had, matched as ``attach_masks`` does.

    Raises:
        UsageError: the file is no COCO file, a match is ambiguous, or not one photo is in it.
        DasExplainError: the file cannot be read.
    """
    path = Path(os.path.abspath(path))
    file = read_coco(str(path))
    names = [str(image.get("file_name", "")).replace("\\", "/") for image in file.images]
    told = [f"of {printable(name)} in {printable(path)}" for name in names]
    found = match_names(listing.samples, _as_photos(names, listing.samples), told, path)
    # The position in the file stands for a path: a source may add what only it understands.
    samples = objects.attach(
        [replace(sample, mask_path=None if i is None else Path(str(i))) for sample, i in zip(listing.samples, found)]
    )
    source = CocoMasks(listing.source, str(path), objects)
    contents = []
    for sample, content in zip(samples, listing.contents):
        choice = source.choose(sample) if sample.mask_path is not None else None
        mine = None if choice is None else [choice.image, choice.annotations]
        digest = hashlib.sha256(json.dumps(mine, sort_keys=True).encode()).hexdigest()
        contents.append(f"{content} {digest}{' largest' * objects.largest}")
    return Listing(source, samples, tuple(contents), has_masks=True, notes=listing.notes)


def _as_photos(names: Sequence[str], samples: Sequence[Sample]) -> list[str]:
    """The file's names of its images as ``match_names`` takes them: without endings, unless they are photos' as they are.

    Label Studio puts eight hexadecimal digits and a hyphen before the names of uploaded photos: taken away where only
    that makes it a photo's.
    """
    exact = {one_spelling(sample.name) for sample in samples}
    stems = {os.path.splitext(name)[0].rsplit("/", 1)[-1] for name in exact}
    found = []
    for name in names:
        stem = name if one_spelling(name) in exact else os.path.splitext(name)[0]
        last = stem.rpartition("/")[2]
        if one_spelling(last) not in stems and one_spelling(last[9:]) in stems and _UPLOADED.match(last):
            stem = last[9:]
        found.append(stem)
    return found
