"""What is assumed of the masks that come with the data, where nothing tells and it changes numbers."""

from __future__ import annotations

from collections.abc import Sequence

from das_explain.data.sources import find_unconfirmed_turns
from das_explain.text import plural
from das_explain.types import Sample

LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif")


def assume_of_masks(samples: Sequence[Sample]) -> list[str]:
    """One sentence for each assumption about the samples' masks; none where there is nothing to assume."""
    told = []
    if lossy := [each for each in samples if each.mask_path is not None and each.mask_path.suffix.lower() in LOSSY]:
        told.append(
            f"{plural(len(lossy), 'mask')}, first that of {lossy[0].name}, stored as JPEG, which scatters small values: an "
            "object's pixel is one above half the file's maximum"
        )
    if guessed := find_unconfirmed_turns(samples):
        told.append(
            f"{plural(len(guessed), 'photo')}, first {guessed[0].name}, with an EXIF orientation that the "
            "mask's size cannot confirm: masks are taken as drawn on the upright photo; if they are not, store the "
            "photos upright, or give each mask the orientation tag of its photo"
        )
    return told
