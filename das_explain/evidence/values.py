"""What photos and models leave behind: plain arrays of a number of images, between the networks and the tables.

Evidence is made by ``explain`` and read by ``scoring``, ``figures`` and ``report``; ``codec`` writes it as Parquet and
reads it back. It knows neither networks nor measures.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

MOST_CLASSES = 1000  # up to so many all logits are kept
KEPT_CLASSES = 100  # of more, the highest, and the target's


@dataclass(frozen=True)
class Photo:
    """One image before any model: what it is called, whether it could be read, and how its region R was found.

    ``status`` as in ``batches.Batch``; ``message`` says in one line what was wrong, else is empty; ``width`` and
    ``height`` are the upright photo's, 0 if it was unreadable; ``region`` is JSON-serialisable.
    """

    index: int
    image: str
    label: str | None
    status: str
    message: str = ""
    width: int = 0
    height: int = 0
    region: dict[str, Any] = field(default_factory=dict)


class Key(NamedTuple):
    """A model and one of its blocks."""

    model: str
    block: str


@dataclass(frozen=True)
class BlockMaps:
    """One block's maps of n images: ``native`` float32 (n, h, w) in [0, 1], NaN where the map is not finite, and
    ``raw_max`` float32 (n,), the maximum before normalisation, in units of the target's logit."""

    native: np.ndarray
    raw_max: np.ndarray


@dataclass(frozen=True)
class Logits:
    """One model's answers for n images.

    ``values`` float32 (n, K) are the logits of the classes ``classes`` int32 (n, K): all of them, in order, up to
    ``MOST_CLASSES``, else the ``KEPT_CLASSES`` highest and the target's. ``log_sum`` float64 (n,) is the logarithm of
    the sum of the exponentials of all (``keep_logits``). ``target`` int32 (n,) is the class whose map was made.
    """

    values: np.ndarray
    classes: np.ndarray
    log_sum: np.ndarray
    target: np.ndarray

    @property
    def highest(self) -> np.ndarray:
        """int32 (n,): the predicted class, the first of equals; without meaning where ``confidence`` is NaN."""
        best = np.nan_to_num(self.values, nan=-np.inf).argmax(1)[:, None]
        return np.take_along_axis(self.classes, best, 1)[:, 0]

    @property
    def confidence(self) -> np.ndarray:
        """float64 (n,): softmax of the highest logit; NaN where the logits give no probabilities."""
        with np.errstate(invalid="ignore", over="ignore"):
            return np.exp(self.values.max(1, initial=-np.inf).astype(np.float64) - self.log_sum)


def keep_logits(logits: np.ndarray, target: np.ndarray, activation: str = "softmax") -> Logits:
    """Logits float32 (n, K) of all classes and the explained class int (n,) -> what the evidence keeps of them.

    With the activation ``sigmoid``, or ``none`` (they are probabilities), ``log_sum`` is such that ``confidence`` is the
    highest logit's probability by it.
    """
    count = logits.shape[1]
    target = target.astype(np.int32)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        top = logits.max(1, keepdims=True, initial=-np.inf).astype(np.float64)
        if activation == "softmax":
            log_sum = np.log(np.exp(logits.astype(np.float64) - top).sum(1)) + top[:, 0]
        else:
            probability = top[:, 0] if activation == "none" else 1 / (1 + np.exp(-top[:, 0]))
            log_sum = top[:, 0] - np.log(probability)
    classes = np.broadcast_to(np.arange(count, dtype=np.int32), logits.shape)
    if count > MOST_CLASSES:
        kept = np.sort(np.argsort(-logits, axis=1, kind="stable")[:, :KEPT_CLASSES], axis=1)
        missing = ~(kept == target[:, None]).any(1)
        # One column more for all: the target's, or, where that is among them, the next highest.
        following = np.argsort(-logits, axis=1, kind="stable")[:, KEPT_CLASSES]
        kept = np.concatenate([kept, np.where(missing, target, following)[:, None]], axis=1)
        classes, logits = kept.astype(np.int32), np.take_along_axis(logits, kept, 1)
    return Logits(np.ascontiguousarray(logits, np.float32), np.ascontiguousarray(classes), log_sum, target)


@dataclass
class Evidence:
    """N images, of which n were shown to the models.

    ``shown`` int64 (n,): which of ``photos``. All arrays have n rows, in that order. ``frames`` and ``masks`` have one
    entry per geometry key: frames are JPEG files, ``masks`` bool (n, H, W), all false where there is no region; without
    a segmenter there are none. ``alternatives``: (geometry key, name) -> other masks that were offered for the object, as
    ``masks``. ``geometries``: model -> its key. ``measured``: (key, measure) -> value float64 (n,) and
    status words, of measures that need the network. ``nulls``: (key, measure, null) -> the same of maps that know nothing
    of the photo; they come last, when the whole sample is known.
    """

    photos: list[Photo]
    shown: np.ndarray
    geometries: dict[str, str]
    sizes: dict[str, tuple[int, int]]
    frames: dict[str, list[bytes]]
    masks: dict[str, np.ndarray]
    maps: dict[Key, BlockMaps]
    logits: dict[str, Logits]
    measured: dict[tuple[Key, str], tuple[np.ndarray, list[str]]] = field(default_factory=dict)
    alternatives: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    nulls: dict[tuple[Key, str, str], tuple[np.ndarray, list[str]]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.photos)

    def one(self, row: int) -> Evidence:
        """The evidence of one image alone, the ``row``-th of those that were shown."""
        only = slice(row, row + 1)
        return replace(
            self,
            photos=[self.photos[self.shown[row]]],
            shown=np.zeros(1, np.int64),
            frames={key: files[only] for key, files in self.frames.items()},
            masks={key: masks[only] for key, masks in self.masks.items()},
            maps={key: BlockMaps(maps.native[only], maps.raw_max[only]) for key, maps in self.maps.items()},
            logits={
                model: Logits(each.values[only], each.classes[only], each.log_sum[only], each.target[only])
                for model, each in self.logits.items()
            },
            measured={at: (values[only], status[only]) for at, (values, status) in self.measured.items()},
            alternatives={at: masks[only] for at, masks in self.alternatives.items()},
            nulls={at: (values[only], status[only]) for at, (values, status) in self.nulls.items()},
        )
