"""Photos in a folder: one sub-folder per class, or flat and unlabelled; also a handful of files named one by one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from das_explain.data.images import EXTENSIONS, printable
from das_explain.data.sources import Listing, file_listing
from das_explain.errors import DasExplainError, UsageError
from das_explain.types import Sample


def list_folder(root: Path, *, without: Path | None = None) -> Listing:
    """All images under ``root``, sorted by name; the first sub-folder is the label.

    Hidden files and folders are passed over, symbolic links are followed. ``without`` is a folder inside ``root`` that
    is no part of the data (its masks). Raises ``UsageError`` where it is not clear what the folder means.
    """
    found = sorted((name, path) for name, path in image_files(root, without=without))
    if not found:
        raise UsageError(f"{printable(root)} holds no images{_what_instead(root)}")
    _check_unique(root, [name for name, _ in found])
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
    return file_listing([Sample(name, i, label, path) for i, ((name, path), label) in enumerate(zip(found, labels))])


def list_images(paths: Sequence[Path]) -> Listing:
    """The files named, in that order, and all images in the folders named; unlabelled. Raises ``UsageError``."""
    found: list[tuple[str, Path]] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(image_files(path))
            if not inside:
                raise UsageError(f"{printable(path)} holds no images{_what_instead(path)}")
            found += [(f"{path.name}/{name}" if path.name else name, file) for name, file in inside]
        elif path.exists():
            found.append((printable(path.name), path))
        else:
            raise UsageError(f"no such image or folder: {printable(path)}")
    found = list({os.path.abspath(path): (name, path) for name, path in found}.values())
    times = Counter(name for name, _ in found)
    return file_listing(
        [
            Sample(name if times[name] == 1 else printable(path.as_posix()), i, None, path)
            for i, (name, path) in enumerate(found)
        ]
    )


def image_files(root: Path, *, without: Path | None = None) -> Iterator[tuple[str, Path]]:
    """(name, path) of every image under ``root``; the name is relative, with forward slashes, and printable."""
    skipped = os.path.realpath(without) if without is not None else None
    for folder, files in _walk(root):
        if skipped is not None and (os.path.realpath(folder) + os.sep).startswith(skipped + os.sep):
            continue
        for file in files:
            if not file.startswith(".") and os.path.splitext(file)[1].lower() in EXTENSIONS:
                path = Path(folder, file)
                yield printable(path.relative_to(root).as_posix()), path


def _walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    def refuse(error: OSError) -> None:
        raise DasExplainError(f"cannot read the folder {printable(error.filename)}: {error.strerror}")

    seen = set()  # a link may point to a folder above itself
    for folder, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith((".", "__MACOSX"))]
        if real not in seen:
            seen.add(real)
            yield folder, files


def _check_unique(root: Path, names: list[str]) -> None:
    for before, name in pairwise(names):
        if before == name:
            raise UsageError(f"two files in {printable(root)} have names that print alike ({name}): rename one")


def _what_instead(root: Path) -> str:
    kinds = Counter(
        os.path.splitext(file)[1].lower() or "no ending"
        for _, files in _walk(root)
        for file in files
        if not file.startswith(".")
    )
    others = ", ".join(f"{count} {printable(kind)}" for kind, count in kinds.most_common(4))
    return f" (other files: {others}; images end with {' '.join(sorted(EXTENSIONS))})" if others else ": it is empty"
