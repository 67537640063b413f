"""Drawing a part of a data set: who is drawn depends on seed and names alone."""

from __future__ import annotations

import hashlib

from das_explain.data.dataset import Dataset
from das_explain.errors import UsageError
from das_explain.types import Sample


def draw_sample(dataset: Dataset, count: int | None, seed: int, stratified: bool = False) -> tuple[Sample, ...]:
    """``count`` samples without replacement, in the data set's order; all if ``count`` is ``None`` or large enough.

    A sample's luck depends on ``seed`` and its name only, not on the order of the data set, the machine, or ``count``:
    a larger draw contains the smaller one. ``stratified`` draws the same number from every class; a class that is too
    small gives all it has and the others more; a remainder goes to classes picked by the seed.
    """
    if count is not None and count < 1:
        raise UsageError(f"cannot draw {count} images: the sample needs at least 1")
    if stratified and dataset.labels is None:
        raise UsageError(f"{dataset.spec} has no labels to stratify by")
    if count is None or count >= len(dataset.samples):
        return dataset.samples
    strata: dict[str, list[Sample]] = {}
    for sample in dataset.samples:
        strata.setdefault((sample.label or "") if stratified else "", []).append(sample)
    shares = _shares({label: len(members) for label, members in strata.items()}, count, seed)
    drawn = [
        sample
        for label, members in strata.items()
        for sample in sorted(members, key=lambda each: _luck(seed, each.name))[: shares[label]]
    ]
    return tuple(sorted(drawn, key=lambda sample: sample.index))


def _shares(sizes: dict[str, int], count: int, seed: int) -> dict[str, int]:
    """How many to draw from each class: equal as far as their sizes allow, ``count`` in total."""
    shares = dict.fromkeys(sizes, 0)
    order = sorted(sizes, key=lambda label: _luck(seed, label))
    while count > 0:
        open_classes = [label for label in order if shares[label] < sizes[label]]
        each, rest = divmod(count, len(open_classes))
        for place, label in enumerate(open_classes):
            more = min(each + (each == 0 and place < rest), sizes[label] - shares[label])
            shares[label] += more
            count -= more
    return shares


def _luck(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{name}".encode()).digest()
