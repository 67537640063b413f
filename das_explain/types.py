"""The values that flow from room to room: a sample and its region.

Nothing here computes; the rooms that fill these in are ``data`` and ``segment``.
This file imports neither torch nor pandas, so that the command line may import it at no cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""


def no_progress(done: int, of: int) -> None:
    """A ``Progress`` that tells nobody."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a data set, not yet read.

    ``name`` is unique in its data set and stable between runs (a relative path with forward slashes, or an index made
    into one); it is the ``image`` column of every table. ``boxes`` are xyxy in pixels of the upright image.
    ``mask_values``: what stands for the object in its mask, where that was said (``--mask-value``).

    >>> Sample("cats/one.jpg", 0, label="cats", boxes=((10.0, 20.0, 110.0, 90.0),)).label
    'cats'
    """

    name: str
    index: int
    label: str | None = None
    path: Path | None = None
    mask_path: Path | None = None
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    mask_values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Region:
    """Region R of one image: where the classified object is, and how that was found.

    ``mask`` is bool (H, W) at the upright image's size, or ``None`` with a ``status`` that says why there is none:
    ``no_object`` (looked for, not found), ``no_mask`` (the data has none for this image), ``mask_unreadable``,
    ``mask_mismatch`` (another size than the image). ``detail`` is JSON-serialisable: prompt, boxes, scores, seconds.
    ``alternatives``: other masks that a finder offers for the same object, name -> bool (H, W), none of them empty.

    >>> Region(None, "no_object", {"prompt": "a cat."}).status
    'no_object'
    """

    mask: np.ndarray | None
    status: str = "ok"
    detail: dict[str, Any] = field(default_factory=dict)
    alternatives: dict[str, np.ndarray] = field(default_factory=dict)
