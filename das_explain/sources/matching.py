"""``--masks DIR``: finds the mask of each photo in a folder of mask images."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from das_explain.errors import UsageError
from das_explain.imageio import printable
from das_explain.sources.folder import image_files
from das_explain.types import Sample


def attach_masks(samples: Sequence[Sample], directory: Path) -> list[Sample]:
    """The samples with ``mask_path`` from ``directory``; without one where it holds none (in place of any they had).

    The mask of ``cats/x.jpg`` is ``cats/x.png`` or ``cats/x.jpg.png`` there, else any ``x.png`` in whatever
    sub-folder (of any image format). Raises ``UsageError`` if a match is ambiguous or not one photo has a mask.
    """
    if not directory.is_dir():
        raise UsageError(f"no such folder of masks: {printable(directory)}")
    by_name: dict[str, list[Path]] = defaultdict(list)  # without the ending
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for name, path in sorted(image_files(directory)):
        by_name[_without_ending(name)].append(path)
        by_stem[_without_ending(name).rsplit("/", 1)[-1]].append(path)

    masks: list[Path | None] = []
    user: dict[Path, str] = {}
    for sample in samples:
        key = _without_ending(sample.name)
        stem = key.rsplit("/", 1)[-1]
        found = by_name.get(sample.name) or by_name.get(key) or by_stem.get(stem) or [None]
        mask = found[0]
        if len(found) > 1:
            raise UsageError(
                f"two masks fit {sample.name}: {printable(found[0])} and {printable(found[1])}; remove one"
            )
        if mask is not None and user.setdefault(mask, sample.name) != sample.name:
            raise UsageError(
                f"the mask {printable(mask)} fits both {user[mask]} and {sample.name}: "
                "arrange the masks in the same sub-folders as the photos"
            )
        masks.append(mask)
    if not user:
        example = _without_ending(samples[0].name) + ".png"
        raise UsageError(f"{printable(directory)} has no mask for any of the {len(samples)} images, such as {example}")
    return [replace(sample, mask_path=mask) for sample, mask in zip(samples, masks)]


def _without_ending(name: str) -> str:
    return os.path.splitext(name)[0]
