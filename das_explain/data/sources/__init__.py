"""Where samples come from. A data source is one file here and one line in ``data.dataset.SOURCES``; none
of them knows another.

A source reads; which samples there are was settled when the data set was opened. It is picklable and small: the
decoding workers get the source and the samples of one batch at a time, never the whole list.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from das_explain.data.images import (
    ImageError,
    decode_image,
    has_turn,
    printable,
    stored_turn,
    turned_unseen,
)
from das_explain.data.mask_pixels import MaskPixels, read_mask_file
from das_explain.data.remote import told_content
from das_explain.errors import UsageError
from das_explain.files import expanded, sha256_of
from das_explain.types import Region, Sample

SPLITS = ("train", "test")


class Source(Protocol):
    """Reads the samples of one kind of data set."""

    def read(self, sample: Sample) -> Image.Image:
        """The upright photo, RGB. Raises ``ImageError``."""
        ...

    def read_mask(self, sample: Sample, size: tuple[int, int]) -> Region:
        """The object's mask for a photo of ``size`` (width, height), or a region whose status says why not."""
        ...


@dataclass(frozen=True)
class Listing:
    """What opening a data spec found: a source and its samples in order, and what identifies their content.

    ``contents`` has one entry per sample (a photo's size, its mask's hash, a seed ...) that goes into the fingerprint
    with name and label. ``notes`` are lines that whoever opened the data should read.
    """

    source: Source
    samples: tuple[Sample, ...]
    contents: tuple[str, ...]
    has_masks: bool
    notes: tuple[str, ...] = ()


def path_of(sample: Sample) -> Path:
    """The file of a sample that is one."""
    if sample.path is None:
        raise ImageError(f"{sample.name} is no file of its own")
    return sample.path


@dataclass(frozen=True)
class Files:
    """Photos and masks in files (``sample.path``, ``sample.mask_path``); ``background`` and ``largest`` as in ``read_mask_file``."""

    background: int = 0
    largest: bool = False

    def read(self, sample: Sample) -> Image.Image:
        """Decodes ``sample.path``."""
        return decode_image(path_of(sample))

    def read_mask(self, sample: Sample, size: tuple[int, int]) -> Region:
        """Decodes ``sample.mask_path``; a mask drawn on the unturned pixels of an EXIF-turned photo is turned along."""
        if sample.mask_path is None:
            return Region(None, "no_mask")
        try:
            pixels = self.read_pixels(sample, sample.mask_path)
            region = region_from_mask(turn_along(pixels.mask, sample, size), size)
        except ImageError as error:
            return Region(None, "mask_unreadable", {"message": str(error)})
        told = {"message": pixels.missing} if pixels.missing else {}
        return replace(region, detail={**region.detail, **told, **assuming(pixels.notes)})

    def read_pixels(self, sample: Sample, path: Path) -> MaskPixels:
        """The file as it is, with what is assumed of it. Raises ``ImageError``."""
        return read_mask_file(
            path, background=self.background, wanted=sample.mask_values, label=sample.label, largest=self.largest
        )


def assuming(notes: Sequence[str]) -> dict[str, list[str]]:
    """What a region's ``detail`` says of what had to be assumed of its mask: words of ``assumptions``."""
    return {"assumed": list(notes)} if notes else {}


def turn_along(mask: np.ndarray, sample: Sample, size: tuple[int, int]) -> np.ndarray:
    """The mask, bool (H, W); turned upright if it was drawn on the unturned pixels of an EXIF-turned photo.

    Only the size tells, so a mask that fits either way (a square photo, or one turned over or mirrored only) is taken
    as upright; ``find_unconfirmed_turns`` finds those. ``size`` is the (width, height) of the upright photo. Raises
    ``ImageError`` if the photo cannot be read.
    """
    if (mask.shape[1], mask.shape[0]) != size and mask.shape == size and sample.path is not None:
        turn = stored_turn(sample.path)
        if turn is not None:
            return np.asarray(Image.fromarray(mask).transpose(turn))
    return mask


def find_unconfirmed_turns(samples: Sequence[Sample]) -> list[Sample]:
    """Those with a mask for which ``turn_along`` has to guess: turned by EXIF, and of the same size either way.

    A mask with an orientation of its own is no guess: it is turned by that.
    """
    return [
        sample
        for sample in samples
        if sample.mask_path is not None and sample.path is not None and _answer(turned_unseen, sample.path)
        if lacks_own_turn(sample)
    ]


def lacks_own_turn(sample: Sample) -> bool:
    """Whether the sample has a mask, and that no orientation of its own, by which it would be turned."""
    return sample.mask_path is not None and not _answer(has_turn, sample.mask_path)


def _answer(question: Callable[[Path], bool], path: Path) -> bool:
    try:
        return question(path)
    except ImageError:  # the run will tell
        return False


def region_from_mask(mask: np.ndarray, size: tuple[int, int]) -> Region:
    """A region from a bool mask (H, W), checked against the photo's ``size`` (width, height)."""
    height, width = mask.shape
    if (width, height) != size:
        message = f"the mask has {width} x {height} pixels, its photo {size[0]} x {size[1]}"
        return Region(None, "mask_mismatch", {"message": message})
    if not mask.any():
        return Region(None, "no_object", {"message": "the mask is empty"})
    return Region(mask)


def folder_and_split(kind: str, rest: str, split: str | None) -> tuple[Path, str]:
    """The parts of a spec ``kind:FOLDER[:train|test]``, and ``test`` unless one is given. Raises ``UsageError``."""
    folder, _, last = rest.rpartition(":")
    if folder and last in SPLITS and split in (None, last):
        rest, split = folder, last
    split = split or "test"
    if split not in SPLITS or not rest:
        raise UsageError(f"no such data: {kind}:{printable(rest)} ({kind}:FOLDER[:train|test])")
    path = expanded(rest)
    if not path.is_dir():
        raise UsageError(f"no such folder: {printable(rest)} ({kind}:FOLDER[:train|test])")
    return path, split


def file_size(path: Path | None) -> int:
    """Bytes, or -1 for a file that is not there (or not wanted)."""
    if path is not None and (told := told_content(path)) is not None:
        return int(told.split()[0]) if told[:1].isdigit() else 0
    try:
        return os.stat(path).st_size if path is not None else -1
    except (OSError, ValueError):
        return -1


def mask_content(path: Path | None) -> str:
    """SHA-256 of a mask's file, or what ``file_size`` tells of one that is no plain file or cannot be read, or what a
    store tells of one that is remote."""
    if path is not None and (told := told_content(path)) is not None:
        return told
    try:
        if path is not None and path.is_file():  # a device may never end
            return sha256_of(path)
    except (OSError, ValueError):
        pass
    return str(file_size(path))


def file_listing(samples: Sequence[Sample], source: Files | None = None, *, notes: tuple[str, ...] = ()) -> Listing:
    """The listing of samples that are files; a photo's size in bytes stands for its content, masks are read.

    Masks are small, and one that is corrected often keeps its size: always, in formats without compression.
    """
    contents = tuple(f"{file_size(sample.path)} {mask_content(sample.mask_path)} {sample.boxes}" for sample in samples)
    has_masks = any(sample.mask_path is not None for sample in samples)
    return Listing(source or Files(), tuple(samples), contents, has_masks, notes)
