"""What every null is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

CONTEXT = {
    "native": "(h, w), the block's own resolution",
    "seeds": "int64 (N,), one per image, from the run's seed and the image's name",
    "mean_mask": "float32 (H, W), the mean of all masks of the sample in this geometry",
}
"""What a null may ask for besides maps, masks and partners, as keyword arguments of its ``make``."""


@dataclass(frozen=True)
class Null:
    """One null.

    ``make(maps, masks, partner)``: masks bool (N, H, W) of N images; maps float32 (M, H, W), M >= N, of which the first
    N are the images' own; ``partner`` int64 (N,): which of the M maps is that of an image's partner, another image of
    the sample (a derangement drawn once from the seed) -> maps float32 (N, H, W) in [0, 1],
    which may be one map, expanded.
    ``blind``: its maps depend on the frame's size and the masks alone, so they are scored once for all models.
    ``needs``: names of keyword arguments that ``make`` takes besides, of ``CONTEXT``.
    ``title``: what tables and figures for people call it; default: the name.

    >>> import torch
    >>> from das_explain.nulls import Null
    >>> mirrored = Null("mirrored", lambda maps, masks, partner: maps[: len(masks)].flip(2))
    >>> mirrored.make(torch.tensor([[[1.0, 0.5]]]), torch.tensor([[[True, False]]]), torch.tensor([0]))
    tensor([[[0.5000, 1.0000]]])
    >>> mirrored.title, mirrored.blind
    ('mirrored', False)
    """

    name: str
    make: Callable[..., Tensor]
    blind: bool = False
    needs: tuple[str, ...] = ()
    title: str = ""

    def __post_init__(self) -> None:
        if not self.title:
            object.__setattr__(self, "title", self.name)
