"""Masks by SAM in boxes: what all finders have in common, and the finder for boxes that the data brings.

Networks are loaded at the first photo and left behind when a finder is pickled; identity and prompts cost none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from das_explain.data.images import full_size
from das_explain.devices import find_device
from das_explain.errors import first_line
from das_explain.segment.finders.options import FinderOptions
from das_explain.segment.finders.weights import Weights
from das_explain.types import Region, Sample

if TYPE_CHECKING:
    from das_explain.segment.finders.sam import Masker, Segmented

FAILURES = (RuntimeError, ValueError, IndexError, MemoryError)  # of one photo; the others go on
GPU_BATCH = 4  # photos that go through a network together; a CPU is no quicker for it, and its memory grows with them
Asked = tuple[np.ndarray, dict[str, Any]]
"""Boxes (N, 4) in pixels of a photo, for SAM, those that are used first; and what is known of the photo by then."""


class SamFinder:
    """Masks by SAM in boxes; where these come from is what its kinds differ in."""

    name: str

    def __init__(self, name: str, sam: Weights, generation: int, options: FinderOptions) -> None:
        self.name = name
        self.sam = sam
        self.generation = generation
        self.options = options
        self.device = options.device
        self.precision = options.precision
        self.batch = options.batch or (GPU_BATCH if find_device(options.device).type == "cuda" else 1)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("masker", "detector")}

    @cached_property
    def masker(self) -> Masker:
        """SAM, loaded."""
        if self.sam.is_file:
            from das_explain.segment.finders.original import OriginalSam

            return OriginalSam(self.sam, find_device(self.device), precision=self.precision)
        from das_explain.segment.finders.sam import HubSam

        return HubSam(self.sam, find_device(self.device), generation=self.generation, precision=self.precision)

    def identity(self) -> dict[str, Any]:
        """All that decides a mask, but not the prompt."""
        return {
            "name": self.name,
            "sam": {
                "weights": self.sam.spec,
                "sha256": self.sam.sha256(),
                "package": package_of(self.sam, "segment-anything"),
            },
            "mask": "single",
            "precision": self.precision,
        }

    def prompt(self, sample: Sample) -> str:
        """What is asked for this sample."""
        raise NotImplementedError

    def find(self, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[Region]:
        """One region per photo; boxes in pixels of the upright photo, the mask of the size of ``image``.

        At most ``batch`` photos are in a network at a time, and each gets the mask that it gets alone. What fails on
        one photo gives it the status ``no_mask`` and a message; weights that cannot be used are an error.
        """
        self.masker  # noqa: B018  networks that cannot be loaded are nobody's photo
        images = [image.convert("RGB") for image in images]
        asked = self._ask(samples, images)
        todo = [i for i, each in enumerate(asked) if isinstance(each, tuple)]

        def segment(part: list[int]) -> list[Segmented]:
            boxes, known = zip(*(asked[i] for i in part))
            return self.masker.segment([images[i] for i in part], boxes, [len(each["used"]) for each in known])

        found = dict(zip(todo, self._batches(todo, segment)))
        regions = []
        for i, (sample, each) in enumerate(zip(samples, asked)):
            result = found.get(i, each)
            if isinstance(result, Exception):
                message = f"{self.name} failed on this photo ({first_line(result)[:200]})"
                result = Region(None, "no_mask", self._describe(self.prompt(sample), [], message=message))
            regions.append(result if isinstance(result, Region) else _region(result, each[1]))
        return regions

    def _ask(self, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[Asked | Region | Exception]:
        """For each photo what SAM is asked, the region where it need not be asked, or what went wrong."""
        raise NotImplementedError

    def _batches(self, items: Sequence[int], call: Callable[[list[int]], list[Any]]) -> list[Any]:
        """``call`` on at most ``batch`` items at a time, results in order; the exception in place of what fails.

        A batch that fails is tried again with half of it, so that neither memory that is too small for a batch nor one
        bad photo costs the others; what lacked memory stays at that size.
        """
        import torch

        done: list[Any] = []
        size = self.batch
        while len(done) < len(items):
            part = list(items[len(done) : len(done) + size])
            try:
                done += call(part)
                size = self.batch
            except FAILURES as error:
                size = max(1, len(part) // 2)
                if len(part) == 1:
                    done.append(error.with_traceback(None))  # which holds the networks' tensors
                if isinstance(error, torch.OutOfMemoryError):
                    self.batch = size
        return done

    def _describe(self, prompt: str, boxes: Sequence[Sequence[float]], **more: Any) -> dict[str, Any]:
        return {
            "source": self.name,
            "prompt": prompt,
            "boxes": [[round(float(end), 2) for end in box] for box in boxes],
            "scores": [],
            "labels": [],
            "used": [],
            "retried": False,
            "iou": [],
            "alternatives": [],
            "seconds": {},
            **more,
        }


class BoxesFinder(SamFinder):
    """Boxes that the data brings (``sample.boxes``); R is the union of what SAM finds in them."""

    def prompt(self, sample: Sample) -> str:
        """The boxes, as text."""
        return ";".join(" ".join(f"{end:g}" for end in box) for box in sample.boxes)

    def _ask(self, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[Asked | Region | Exception]:
        return [self._inside(sample, image) for sample, image in zip(samples, images)]

    def _inside(self, sample: Sample, image: Image.Image) -> Asked | Region:
        told = self._describe(self.prompt(sample), sample.boxes, used=list(range(len(sample.boxes))))
        if not sample.boxes:
            return Region(None, "no_mask", {**told, "message": "the data has no box for this photo"})
        boxes = np.array(sample.boxes, dtype=np.float64) / to_full(image)
        boxes = boxes.clip(0, np.tile(image.size, 2))
        inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
        if not inside.any():
            width, height = full_size(image)
            message = f"no box meets the photo of {width} x {height}"
            return Region(None, "mask_mismatch", {**told, "used": [], "message": message})
        return boxes[inside], {**told, "used": [int(i) for i in np.flatnonzero(inside)]}


def _region(found: Segmented, told: dict[str, Any]) -> Region:
    told = {
        **told,
        "iou": [round(value, 4) for value in found.iou],
        "alternatives": [
            [{key: round(value, 4) for key, value in each.items()} for each in three] for three in found.alternatives
        ],
        "seconds": {**told["seconds"], **{key: round(value, 4) for key, value in found.seconds.items()}},
    }
    if not found.mask.any():
        return Region(None, "no_object", {**told, "message": "SAM gave an empty mask"})
    others = {name: mask for name, mask in found.others.items() if mask.any() and (mask != found.mask).any()}
    return Region(found.mask, "ok", told, others)


def package_of(weights: Weights, original: str) -> str:
    """What runs the weights; transformers 4 and 5 shrink photos in different ways, which shows in masks."""
    from importlib.metadata import version

    return original if weights.is_file else f"transformers {version('transformers').partition('.')[0]}"


def to_full(image: Image.Image) -> np.ndarray:
    """What turns boxes in the pixels of ``image`` into the photo's own, where a gigantic photo was decoded smaller."""
    width, height = full_size(image)
    return np.array([width / image.width, height / image.height] * 2)
