"""Data specs -> samples: opening a data set, and its fingerprint.

====================================  ===================================================================
a folder                              one sub-folder per class, or flat and unlabelled
a CSV file                            ``image[,label][,mask]`` and rectangles, see ``sources.table``
``s3://``, ``gs://``, ``hf://`` ...     either of them on another machine, see ``remote``
``collage[:train|test][:[SKIP+]N]`` the embedded photo set, 100 test images unless told otherwise
``torchvision:OxfordIIITPet`` ...     a data set of torchvision, see ``sources.vision``
``cifar:FOLDER[:train|test]``         CIFAR-10 or CIFAR-100, binary version, see ``sources.cifar``
``stanford-dogs:FOLDER[:train|test]`` Stanford Dogs with its official split, see ``sources.dogs``
====================================  ===================================================================
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from das_explain.data.boxes import attach_boxes
from das_explain.data.coco.masks import with_coco
from das_explain.data.images import EXTENSIONS, ImageError, printable
from das_explain.data.mask_options import MaskOptions, with_options
from das_explain.data.masks import attach_mask_table, attach_masks
from das_explain.data.remote import fetched, is_remote, place
from das_explain.data.sources import Listing, Source, file_listing
from das_explain.data.sources.folder import list_folder, list_found, list_images
from das_explain.data.sources.remote import find_images
from das_explain.data.sources.table import list_table
from das_explain.errors import UsageError
from das_explain.files import expanded
from das_explain.types import Region, Sample

__all__ = ["Dataset", "ImageError", "open_any", "open_dataset", "open_images"]

SOURCES = {  # what precedes the colon in a spec -> the function that lists it: (rest, *, split, root) -> Listing
    "cifar": "das_explain.data.sources.cifar:list_cifar",
    "collage": "das_explain.data.sources.collages:list_collage",
    "stanford-dogs": "das_explain.data.sources.dogs:list_dogs",
    "torchvision": "das_explain.data.sources.vision:list_torchvision",
}


@dataclass(frozen=True)
class Dataset:
    """Samples in a fixed order, and how to read them.

    ``labels`` are the sorted class names, or ``None`` if no sample has a label. ``fingerprint`` is a SHA-256 over the
    names, labels and boxes of the samples, the sizes in bytes of their photos and the contents of their masks: the same
    on every machine and after a copy (times and folders do not enter), and cheap; an edit that keeps a photo's size
    goes unnoticed. ``notes`` are lines for whoever opened it, such as what was passed over in a folder.
    """

    spec: str
    samples: tuple[Sample, ...]
    labels: tuple[str, ...] | None
    fingerprint: str
    source: Source
    has_masks: bool
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, sample: Sample) -> Image.Image:
        """The photo, decoded: upright RGB. Raises ``ImageError``."""
        return self.source.read(sample)

    def read_mask(self, sample: Sample, size: tuple[int, int]) -> Region:
        """The object's mask at ``size`` (width, height) of the upright photo, or a region whose status says why not."""
        return self.source.read_mask(sample, size)


def open_dataset(
    spec: str | Path,
    *,
    masks: Path | None = None,
    boxes: Path | None = None,
    split: str | None = None,
    root: Path | None = None,
    objects: MaskOptions = MaskOptions(),
) -> Dataset:
    """Lists the samples of a data spec without reading an image.

    ``masks``: for folders and CSVs, a folder of mask images, a CSV of them (see ``data.masks``) or a COCO file
    (``data.coco``); ``boxes``: for them, rectangles from another file (``data.boxes``); ``split``: for
    specs with a colon, ``test`` unless given; ``root``: where torchvision's data sets lie; ``objects``: which
    objects of the masks are R. Raises ``UsageError``.

    >>> data = open_dataset("collage:3")
    >>> [sample.label for sample in data.samples], data.has_masks
    (['cat', 'cup', 'photographer'], True)
    >>> photo = data.read(data.samples[0])
    >>> data.read_mask(data.samples[0], photo.size).mask.shape
    (240, 320)
    """
    spec, masks = str(spec), None if masks is None else expanded(masks)
    kind, _, rest = spec.partition(":")
    if kind in SOURCES:
        if masks is not None:
            raise UsageError(f"--masks goes with a folder or a CSV, not with {spec}")
        if boxes is not None:
            raise UsageError(f"--boxes goes with a folder or a CSV, not with {spec}")
        module, function = SOURCES[kind].split(":")
        listing = getattr(importlib.import_module(module), function)(rest, split=split, root=root)
        return _dataset(spec, with_options(listing, objects))
    if split is not None:
        raise UsageError(f"--split goes with {', '.join(SOURCES)}, not with {spec}")
    path = expanded(spec)
    if is_remote(spec):
        listing = _list_remote(spec)
    elif path.is_dir():
        if masks is not None and masks.is_dir() and masks.samefile(path):
            raise UsageError(
                f"photos and masks are both looked for in {printable(path)}: put the masks in a folder apart"
            )
        listing = list_folder(path, without=masks)
    elif not path.exists():
        close = difflib.get_close_matches(kind, SOURCES, 1)
        hint = f"did you mean {close[0]}?" if close else "a folder, a CSV, collage[:N] or torchvision:NAME"
        raise UsageError(f"no such data: {printable(spec)} ({hint})")
    elif path.suffix.lower() in EXTENSIONS:
        listing = list_images([path])
    else:
        listing = list_table(path)
    if boxes is not None:
        listing = file_listing(attach_boxes(listing.samples, boxes), notes=listing.notes)
    return _dataset(spec, _with_masks(listing, masks, objects))


def open_any(
    specs: Sequence[str],
    *,
    masks: Path | None = None,
    boxes: Path | None = None,
    split: str | None = None,
    root: Path | None = None,
    objects: MaskOptions = MaskOptions(),
) -> Dataset:
    """A data spec as ``open_dataset`` takes it, or image files and folders named one by one.

    A single folder, CSV or named data set is a data spec; the rest are images. Raises ``UsageError``.
    """
    single = specs[0]
    is_data = single.partition(":")[0] in SOURCES or Path(single).is_dir() or single.lower().endswith(".csv")
    is_data = is_data or is_remote(single)
    if len(specs) == 1 and is_data:
        return open_dataset(single, masks=masks, boxes=boxes, split=split, root=root, objects=objects)
    for flag, value in (("--boxes", boxes), ("--split", split), ("--root", root)):
        if value is not None:
            raise UsageError(f"{flag} goes with data, not with images named one by one")
    return open_images(specs, masks=masks, objects=objects)


def open_images(
    paths: Sequence[str | Path], *, masks: Path | None = None, objects: MaskOptions = MaskOptions()
) -> Dataset:
    """A data set of image files named one by one (folders give all images inside), unlabelled, in the order given."""
    listing = list_images([expanded(path) for path in paths])
    return _dataset(" ".join(map(str, paths)), _with_masks(listing, masks, objects))


def _list_remote(url: str) -> Listing:
    if os.path.splitext(url)[1].lower() == ".csv":
        return list_table(Path(fetched(place(url), again=True)))
    others: Counter[str] = Counter()
    return list_found(url, find_images(url, others), others)


def _with_masks(listing: Listing, masks: Path | None, objects: MaskOptions) -> Listing:
    if masks is not None and masks.suffix.lower() == ".json" and not masks.is_dir():
        return with_coco(listing, masks, objects)
    if masks is not None:
        attach = attach_mask_table if masks.suffix.lower() == ".csv" and not masks.is_dir() else attach_masks
        listing = file_listing(attach(listing.samples, masks), notes=listing.notes)
    return with_options(listing, objects)


def _dataset(spec: str, listing: Listing) -> Dataset:
    labels = sorted({sample.label for sample in listing.samples if sample.label is not None})
    content = hashlib.sha256()
    for sample, told in zip(listing.samples, listing.contents):
        content.update(repr((sample.name, sample.label, told)).encode("utf-8", "backslashreplace"))
    return Dataset(
        spec,
        listing.samples,
        tuple(labels) or None,
        content.hexdigest(),
        listing.source,
        listing.has_masks,
        listing.notes,
    )
