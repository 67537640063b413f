"""The image files in a folder, and what else lies there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from das_explain.data.images import EXTENSIONS, how_to_open, printable
from das_explain.errors import DasExplainError
from das_explain.text import plural, spelled

LITTER = frozenset(["thumbs.db", "desktop.ini"])  # what an operating system leaves behind


def image_files(
    root: Path, *, without: Path | None = None, others: Counter[str] | None = None
) -> Iterator[tuple[str, Path]]:
    """(name, path) of every image under ``root``; the name is relative, with forward slashes, and printable.

    Hidden files and folders are passed over, symbolic links are followed. ``without`` is a folder inside ``root`` that
    is no part of the data. ``others`` is given the endings of the files that are no images, as they come by.
    """
    skipped = os.path.realpath(without) if without is not None else None
    for folder, files in _walk(root):
        if skipped is not None and (os.path.realpath(folder) + os.sep).startswith(skipped + os.sep):
            continue
        for file in files:
            if is_passed_over(file):
                continue
            if is_image(file):
                path = Path(folder, file)
                yield spelled(path.relative_to(root).as_posix()), path
            elif others is not None:
                others[os.path.splitext(file)[1].lower() or "no ending"] += 1


def is_image(name: str) -> bool:
    """Whether a file is taken for an image, by its ending."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def is_passed_over(name: str) -> bool:
    """Whether a file, or a folder on the way to it, is hidden or litter."""
    parts = name.split("/")
    return any(part.startswith((".", "__MACOSX")) for part in parts[:-1]) or (
        parts[-1].startswith(".") or parts[-1].lower() in LITTER
    )


def describe_passed_over(root: str | Path, others: Counter[str]) -> tuple[str, ...]:
    """A line on the files under ``root`` that are no images, counted by their endings; none if there are none."""
    if not others:
        return ()
    count = others.total()
    return (f"{plural(count, 'file')} passed over in {printable(root)}: {_list_kinds(others)}",)


def what_instead(others: Counter[str]) -> str:
    """What a folder without images holds, to end a message with."""
    if not others:
        return ": it is empty"
    return f" (other files: {_list_kinds(others)}; images end with {' '.join(sorted(EXTENSIONS))})"


def _list_kinds(others: Counter[str]) -> str:
    """The four most frequent endings, the rest as a number, and what would open those that a package could."""
    ordered = sorted(others.items(), key=lambda kind: (-kind[1], kind[0]))
    parts = [f"{count} {printable(kind)}" for kind, count in ordered[:4]]
    if rest := sum(count for _, count in ordered[4:]):
        parts.append(f"{rest} more")
    advice = dict.fromkeys(filter(None, (how_to_open(kind) for kind, _ in ordered)))
    return ", ".join(parts) + "".join(f"; {each}" for each in advice)


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
