"""``--masks``: finds the mask of each photo in a folder of mask images, or in a CSV of them; the rules of matching."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from das_explain.data.images import printable
from das_explain.data.rows import one_spelling, read_rows, resolve
from das_explain.data.walk import image_files
from das_explain.errors import UsageError
from das_explain.types import Sample


def attach_masks(samples: Sequence[Sample], directory: Path) -> list[Sample]:
    """The samples with ``mask_path`` from ``directory``; without one where it holds none (in place of any they had).

    The mask of ``cats/x.jpg`` is ``cats/x.png`` or ``cats/x.jpg.png`` there, else any ``x.png`` in whatever
    sub-folder (of any image format). Raises ``UsageError`` if a match is ambiguous or not one photo has a mask.
    """
    if not directory.is_dir():
        raise UsageError(f"no such folder of masks: {printable(directory)}")
    files = sorted(image_files(directory))
    found = match_names(samples, [_without_ending(name) for name, _ in files], [path for _, path in files], directory)
    return [replace(sample, mask_path=None if i is None else files[i][1]) for sample, i in zip(samples, found)]


def attach_mask_table(samples: Sequence[Sample], path: Path) -> list[Sample]:
    """As ``attach_masks``, from a CSV with the columns ``image,mask``: by the photo's path, else by its name."""
    rows = _mask_table(path)
    by_path = {os.path.realpath(image): mask for _, image, mask in rows}
    if any(sample.path is not None and os.path.realpath(sample.path) in by_path for sample in samples):
        masks = [by_path.get(os.path.realpath(sample.path)) if sample.path is not None else None for sample in samples]
    else:
        names = [_without_ending(name) for name, _, _ in rows]
        found = match_names(samples, names, [f"{printable(path)}: {name}" for name, _, _ in rows], path)
        masks = [None if i is None else rows[i][2] for i in found]
    if not any(masks):
        raise UsageError(f"{printable(path)} has no mask for any of the {len(samples)} images")
    return [replace(sample, mask_path=mask) for sample, mask in zip(samples, masks)]


def _mask_table(path: Path) -> list[tuple[str, Path, Path | None]]:
    """(name, the photo's path, its mask's path) of each row of a CSV with the columns image and mask."""
    rows = read_rows(path)
    if not any(row.get("mask") for _, row in rows):
        raise UsageError(f"{printable(path)} names no masks: it needs a column mask")
    return [
        (*resolve(path.parent, row["image"]), resolve(path.parent, row["mask"])[1] if row.get("mask") else None)
        for _, row in rows
    ]


def match_names(
    samples: Sequence[Sample], names: Sequence[str], told: Sequence[object], where: Path
) -> list[int | None]:
    """Which of ``names`` (without endings) belongs to each sample, by the rule of ``attach_masks``; ``None``: none.

    ``told`` is how each of them is called in an error. Raises ``UsageError`` as ``attach_masks`` does.
    """
    by_name: dict[str, list[int]] = defaultdict(list)
    by_stem: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(map(one_spelling, names)):
        by_name[name].append(i)
        by_stem[name.rsplit("/", 1)[-1]].append(i)

    exact = [_by_name(one_spelling(sample.name), by_name) for sample in samples]
    claimed = {found[0] for found in exact if len(found) == 1}
    matches: list[int | None] = []
    user: dict[int, str] = {}
    for sample, found in zip(samples, exact):
        stem = _without_ending(one_spelling(sample.name)).rsplit("/", 1)[-1]
        found = found or [i for i in by_stem.get(stem, ()) if i not in claimed]
        match = found[0] if found else None
        if len(found) > 1:
            both = f"{_spell(told[found[0]])} and {_spell(told[found[1]])}"
            raise UsageError(f"two masks fit {sample.name}: {both}; remove one")
        if match is not None and user.setdefault(match, sample.name) != sample.name:
            raise UsageError(
                f"the mask {_spell(told[match])} fits both {user[match]} and {sample.name}: "
                "arrange the masks in the same sub-folders as the photos"
            )
        matches.append(match)
    if not user:
        example = _without_ending(samples[0].name) + ".png"
        raise UsageError(f"{printable(where)} has no mask for any of the {len(samples)} images, such as {example}")
    return matches


def _by_name(name: str, by_name: dict[str, list[int]]) -> list[int]:
    """Those of this name, or of the longest end of its path that has a folder (``cats/x`` of ``../photos/cats/x``)."""
    key = _without_ending(name)
    parts = key.split("/")
    ends = ["/".join(parts[start:]) for start in range(1, len(parts) - 1)]
    return next((by_name[each] for each in (name, key, *ends) if each in by_name), [])


def _spell(what: object) -> str:
    return printable(what) if isinstance(what, Path) else str(what)


def _without_ending(name: str) -> str:
    return os.path.splitext(name)[0]
