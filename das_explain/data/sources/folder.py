"""Photos in a folder: one sub-folder per class, or flat and unlabelled; also a handful of files named one by one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from das_explain.data.images import printable
from das_explain.data.sources import Listing, file_listing
from das_explain.data.walk import describe_passed_over, image_files, what_instead
from das_explain.errors import UsageError
from das_explain.text import spelled
from das_explain.types import Sample


def list_folder(root: Path, *, without: Path | None = None) -> Listing:
    """All images under ``root``, sorted by name; the first sub-folder is the label.

    Hidden files and folders are passed over, symbolic links are followed. Other files are counted in the listing's
    notes. ``without`` is a folder inside ``root`` that is no part of the data (its masks). Raises ``UsageError`` where
    it is not clear what the folder means.
    """
    others: Counter[str] = Counter()
    return list_found(root, sorted(image_files(root, without=without, others=others)), others)


def list_found(root: str | Path, found: Sequence[tuple[str, Path]], others: Counter[str]) -> Listing:
    """``list_folder`` of the (name, path) of images that were found in ``root``, and the endings of other files."""
    if not found:
        raise UsageError(f"{printable(root)} holds no images{what_instead(others)}")
    flat = [name for name, _ in found if "/" not in name]
    if flat and len(flat) < len(found):
        nested = next(name for name, _ in found if "/" in name)
        raise UsageError(
            f"{printable(root)} mixes images ({flat[0]}) and sub-folders with images ({nested}): "
            "move one kind away, or list the images in a CSV"
        )
    labels = [None if flat else name.split("/")[0] for name, _ in found]
    if {str(label).lower() for label in labels} == {"images", "masks"}:
        here = printable(root)
        raise UsageError(f"{here} holds images and masks, not classes: give {here}/images with --masks {here}/masks")
    samples = [Sample(name, i, label, path) for i, ((name, path), label) in enumerate(zip(found, labels))]
    return file_listing(samples, notes=describe_passed_over(root, others))


def list_images(paths: Sequence[Path]) -> Listing:
    """The files named, in that order, and all images in the folders named; unlabelled. Raises ``UsageError``."""
    found: list[tuple[str, Path]] = []
    notes: tuple[str, ...] = ()
    for path in paths:
        if path.is_dir():
            others: Counter[str] = Counter()
            inside = sorted(image_files(path, others=others))
            if not inside:
                raise UsageError(f"{printable(path)} holds no images{what_instead(others)}")
            notes += describe_passed_over(path, others)
            found += [(f"{spelled(path.name)}/{name}" if path.name else name, file) for name, file in inside]
        elif path.exists():
            found.append((spelled(path.name), path))
        else:
            raise UsageError(f"no such image or folder: {printable(path)}")
    found = list({os.path.abspath(path): (name, path) for name, path in found}.values())
    times = Counter(name for name, _ in found)
    samples = [
        Sample(name if times[name] == 1 else spelled(path.as_posix()), i, None, path)
        for i, (name, path) in enumerate(found)
    ]
    return file_listing(samples, notes=notes)
