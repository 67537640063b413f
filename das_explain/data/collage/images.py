"""The embedded photo set `collage`: photographs from the scikit-image and scikit-learn wheels, cut out and set into scenes.

In `train` a class has its home background most of the time, so that a network can learn the context in place of the
object; in `test` background and class are independent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from das_explain.data.collage.scenes import CLASSES, HABITS, KINDS, compose
from das_explain.errors import UsageError

_SPLITS = {"train": 0, "test": 1}


@dataclass(frozen=True)
class CollageImage:
    """One image: `image` uint8 (H, W, 3) RGB, `mask` bool (H, W), exact, `label`, and the `background` kind."""

    image: np.ndarray
    mask: np.ndarray
    label: str
    background: str


class Collage:
    """A sequence of composed photographs, any number, made on demand, the same in every run and process.

    Args:
        count: number of images. Image i is the same for every count.
        split: "train", where a class has its home background with probability `context` and else any kind, or
            "test", where the background is independent of the class. The two never share a random stream.
        seed: 0 or more.
        size: (height, width) in pixels.

    Raises:
        UsageError: an unknown split, a negative count or seed, a side under 32 pixels, a context outside [0, 1].
        DasExplainError: on the first image, when scikit-image or scikit-learn is not installed.
    """

    def __init__(
        self,
        count: int,
        split: Literal["train", "test"] = "test",
        *,
        seed: int = 0,
        size: tuple[int, int] = (240, 320),
        context: float = 0.9,
    ) -> None:
        if split not in _SPLITS:
            raise UsageError(f"unknown collage split {split!r}: choose train or test")
        if count < 0 or seed < 0 or min(size) < 32 or not 0 <= context <= 1:
            given = f"{count=} {seed=} {size=} {context=}"
            raise UsageError(f"collage needs count and seed >= 0, sides >= 32 and context in [0, 1], not {given}")
        self.count, self.split, self.seed = int(count), split, int(seed)
        self.size, self.context = (int(size[0]), int(size[1])), float(context)

    def __len__(self) -> int:
        return self.count

    def _number(self, index: int) -> int:
        if not -self.count <= index < self.count:
            raise IndexError(f"the collage has {self.count} images, no number {index}")
        return int(index) % self.count

    def _stream(self, purpose: int, number: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([self.seed, _SPLITS[self.split], purpose, number]))

    def label(self, index: int) -> str:
        """The class of an image, without rendering it: each run of `len(CLASSES)` images holds each class once."""
        block, place = divmod(self._number(index), len(CLASSES))
        return CLASSES[self._stream(0, block).permutation(len(CLASSES))[place]]

    def background(self, index: int) -> str:
        """The background kind of an image, one of `KINDS`, without rendering it."""
        label, rng = self.label(index), self._stream(1, self._number(index))
        at_home = self.split == "train" and rng.random() < self.context
        return HABITS[label].home if at_home else KINDS[rng.integers(len(KINDS))]

    def name(self, index: int) -> str:
        """A file name for an image, such as `collage/test/00012.png`."""
        return f"collage/{self.split}/{self._number(index):05d}.png"

    def __getitem__(self, index: int) -> CollageImage:
        label, kind = self.label(index), self.background(index)
        image, mask, _ = compose(label, kind, *self.size, self._stream(2, self._number(index)))
        return CollageImage(image, mask, label, kind)

    def __iter__(self) -> Iterator[CollageImage]:
        return (self[index] for index in range(self.count))
