"""``--masks FILE.json``: masks from a COCO file, as annotation tools write and read it: polygons or RLE.

An image's region R is the union of its annotations; of those in the category of the sample's label only, if the file
knows such a category. An image that the file lists without annotations has no object, says the file: ``no_object``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from das_explain.data.coco import rle
from das_explain.data.images import ImageError, printable
from das_explain.data.masks import match_names
from das_explain.data.rows import one_spelling
from das_explain.data.sources import Listing, Source, region_from_mask, turn_along
from das_explain.errors import DasExplainError, UsageError, one_line
from das_explain.files import read_regular
from das_explain.types import Region, Sample


@dataclass(frozen=True)
class CocoMasks:
    """Photos of another source, masks of a COCO file, which each process reads once."""

    photos: Source
    file: str

    def read(self, sample: Sample) -> Image.Image:
        """The photo, as the other source reads it."""
        return self.photos.read(sample)

    def read_mask(self, sample: Sample, size: tuple[int, int]) -> Region:
        """The union of the annotations of the image that ``sample.mask_path`` numbers."""
        if sample.mask_path is None:
            return Region(None, "no_mask")
        file = read_coco(self.file)
        image = file.images[int(sample.mask_path.name)]
        chosen = file.annotations_of(image, sample.label)
        if not chosen:
            return Region(None, "no_object", {"message": f"{printable(self.file)} lists no object for it"})
        try:
            own = (int(image.get("width") or size[0]), int(image.get("height") or size[1]))
            masks = [_shape(annotation, own) for annotation in chosen]
            if any(mask.shape != masks[0].shape for mask in masks):
                raise ValueError("its annotations have different sizes")
            return region_from_mask(turn_along(np.logical_or.reduce(masks), sample, size), size)
        except (ValueError, TypeError, OverflowError, ImageError) as error:
            number = printable(str(chosen[0].get("image_id")))
            message = f"{printable(self.file)}, image {number}: {' '.join(str(error).split())}"
            return Region(None, "mask_unreadable", {"message": message})


@dataclass(frozen=True)
class CocoFile:
    """A COCO file, read: its images, the annotations by image id, category id -> name."""

    images: list[dict[str, Any]]
    annotations: dict[Any, list[dict[str, Any]]]
    categories: dict[Any, str]

    def annotations_of(self, image: dict[str, Any], label: str | None) -> list[dict[str, Any]]:
        """The annotations that make R for an image with this label."""
        mine = self.annotations.get(image["id"], [])
        known = {number for number, name in self.categories.items() if name == label}
        return [each for each in mine if each.get("category_id") in known] if known else mine


def with_coco(listing: Listing, path: Path) -> Listing:
    """A listing with the masks of a COCO file in place of any it had, matched as ``attach_masks`` does.

    Raises:
        UsageError: the file is no COCO file, a match is ambiguous, or not one photo is in it.
        DasExplainError: the file cannot be read.
    """
    path = Path(os.path.abspath(path))
    file = read_coco(str(path))
    names = [str(image.get("file_name", "")).replace("\\", "/") for image in file.images]
    told = [f"of {printable(name)} in {printable(path)}" for name in names]
    exact = {one_spelling(sample.name) for sample in listing.samples}
    found = match_names(
        listing.samples,
        [name if one_spelling(name) in exact else os.path.splitext(name)[0] for name in names],
        told,
        path,
    )
    samples, contents = [], []
    for sample, content, i in zip(listing.samples, listing.contents, found):
        # The position in the file stands for a path: a source may add what only it understands.
        samples.append(replace(sample, mask_path=None if i is None else Path(str(i))))
        mine = None if i is None else [file.images[i], file.annotations_of(file.images[i], sample.label)]
        contents.append(f"{content} {hashlib.sha256(json.dumps(mine, sort_keys=True).encode()).hexdigest()}")
    source = CocoMasks(listing.source, str(path))
    return Listing(source, tuple(samples), tuple(contents), has_masks=True, notes=listing.notes)


def _shape(annotation: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """One annotation as bool (H, W)."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        return rle.decode(segmentation)
    if isinstance(segmentation, list) and segmentation:
        return rle.fill(segmentation, size)
    raise ValueError("an annotation has no segmentation (only a box?); draw its outline")


def read_coco(file: str) -> CocoFile:
    """A COCO file, checked as far as its lists and their links go; read once as long as it stays the same.

    Raises:
        UsageError: it is no COCO file.
        DasExplainError: it cannot be read.
    """
    try:
        told = os.stat(file)
        return _read_version(file, told.st_mtime_ns, told.st_size)
    except OSError as error:
        raise DasExplainError(f"cannot read {printable(file)}: {error.strerror}") from None


@lru_cache(maxsize=2)
def _read_version(file: str, *version: int) -> CocoFile:
    where = printable(file)
    try:
        content = json.loads(read_regular(Path(file), "COCO file"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is no JSON: {one_line(error)[:100]}") from None
    parts: list[Any] = [content.get(name) if isinstance(content, dict) else None for name in ("images", "annotations")]
    if not all(isinstance(part, list) and all(isinstance(each, dict) for each in part) for part in parts):
        raise UsageError(f"{where} is no COCO file: it needs the lists images and annotations")
    images, annotations = parts
    try:
        by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for annotation in annotations:
            by_image[annotation["image_id"]].append(annotation)
        numbers = {image["id"] for image in images}
        if len(numbers) < len(images):
            raise UsageError(f"{where}: two images have the same id")
        categories = {
            each["id"]: str(each["name"]) for each in content.get("categories") or [] if isinstance(each, dict)
        }
    except (KeyError, TypeError) as error:
        raise UsageError(f"{where} is no COCO file: an image, annotation or category lacks a usable {error}") from None
    if lost := set(by_image) - numbers:
        raise UsageError(f"{where}: an annotation belongs to image {printable(str(lost.pop()))}, which is not listed")
    return CocoFile(images, dict(by_image), categories)
