"""Images that are held out of training: which ones, and what is said when they are many."""

from __future__ import annotations

from dataclasses import replace

from das_explain.data.dataset import Dataset
from das_explain.data.draw import draw_sample
from das_explain.errors import UsageError
from das_explain.types import Sample

USUAL = 0.2
"""A larger share of the images held out is worth a warning."""


def hold_out(source: Dataset, held_out: int | float, seed: int) -> tuple[Sample, ...]:
    """The samples to test on, in the data set's order; every class of ``source`` keeps an image to train on.

    Args:
        held_out: 1 or more: that many images, the same number from every class as far as the classes reach. Below 1:
            that share of every class, rounded, at least one image of it and never all (of a class of one image: none).
        seed: with the images' names, decides which.

    Raises:
        UsageError: a class, or everything, would be held out.
    """
    if held_out >= 1:
        if held_out >= len(source.samples):
            raise UsageError(f"data.held_out={held_out} leaves nothing of {len(source.samples)} images to train on")
        drawn = draw_sample(source, int(held_out), seed, stratified=True)
        names = {sample.name for sample in drawn}
        trained = {sample.label for sample in source.samples if sample.name not in names}
        if gone := sorted({sample.label for sample in drawn if sample.label} - trained):
            raise UsageError(
                f"data.held_out={held_out} takes every image of {gone[0]!r}; "
                "data.held_out=0.15, a share, leaves some of each class to train on"
            )
        return drawn
    classes: dict[str, list[Sample]] = {}
    for sample in source.samples:
        if sample.label is not None:
            classes.setdefault(sample.label, []).append(sample)
    drawn = []
    for members in classes.values():
        if count := min(len(members) - 1, max(1, round(held_out * len(members)))):
            drawn += draw_sample(replace(source, samples=tuple(members)), count, seed)
    if not drawn:
        raise UsageError(f"{source.spec}: no class has two images, one to train on and one to hold out")
    return tuple(sorted(drawn, key=lambda sample: sample.index))


def warn_of_many(held_out: int | float, drawn: int, images: int) -> str | None:
    """One line if more than a fifth was asked for, else ``None``."""
    if (held_out if held_out < 1 else held_out / images) <= USUAL:
        return None
    return (
        f"{drawn} of {images} images ({drawn / images:.0%}) are held out and never trained on, more than a fifth; "
        "data.held_out=0.15 holds out a share of every class"
    )
