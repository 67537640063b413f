"""The finders: a detector's boxes, or the data's own, and SAM's masks in them.

Networks are loaded at the first photo and left behind when a finder is pickled; identity and prompts cost none.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from das_explain.errors import DasExplainError, UsageError
from das_explain.imageio import full_size
from das_explain.segment.prompts import Prompts
from das_explain.segment.weights import Weights
from das_explain.types import Region, Sample

if TYPE_CHECKING:
    import torch

    from das_explain.segment.detect import Detections, Detector
    from das_explain.segment.sam import Masker

LISTED = 50  # boxes at most in an image's record, but all that are used
FAILURES = (RuntimeError, ValueError, IndexError, MemoryError)  # of one photo; the others go on


class SamFinder:
    """Boxes from ``boxes_of``, masks from SAM. The two kinds below differ in where the boxes come from."""

    name: str

    def __init__(self, name: str, sam: Weights, *, generation: int, device: Any, precision: str) -> None:
        self.name = name
        self.sam = sam
        self.generation = generation
        self.device = device
        self.precision = precision

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("masker", "detector")}

    @cached_property
    def masker(self) -> Masker:
        """SAM, loaded."""
        if self.sam.is_file:
            from das_explain.segment.original import OriginalSam

            return OriginalSam(self.sam, torch_device(self.device), precision=self.precision)
        from das_explain.segment.sam import HubSam

        return HubSam(self.sam, torch_device(self.device), generation=self.generation, precision=self.precision)

    def identity(self) -> dict[str, Any]:
        """All that decides a mask, but not the prompt."""
        return {
            "name": self.name,
            "sam": {
                "weights": self.sam.spec,
                "sha256": self.sam.sha256(),
                "package": _package(self.sam, "segment-anything"),
            },
            "mask": "single",
            "precision": self.precision,
        }  # fmt: skip

    def prompt(self, sample: Sample) -> str:
        """What is asked for this sample."""
        raise NotImplementedError

    def find(self, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[Region]:
        """One region per photo; boxes in pixels of the upright photo, the mask of the size of ``image``.

        Photos go through the networks one by one, so that a mask does not depend on its neighbours in a batch. What
        fails on one photo gives it the status ``no_mask`` and a message; weights that cannot be used are an error.
        """
        self.masker  # noqa: B018  networks that cannot be loaded are nobody's photo
        regions = []
        for sample, image in zip(samples, images):
            try:
                regions.append(self._region(sample, image))
            except FAILURES as error:
                message = f"{self.name} failed on this photo ({type(error).__name__}: {_first_line(error)})"
                regions.append(Region(None, "no_mask", self._told(self.prompt(sample), [], message=message)))
        return regions

    def _region(self, sample: Sample, image: Image.Image) -> Region:
        raise NotImplementedError

    def _segment(self, image: Image.Image, boxes: np.ndarray, told: dict[str, Any]) -> Region:
        """The region of the boxes (N, 4), in pixels of ``image``. No box is a normal outcome, and none for SAM."""
        if not len(boxes):
            return Region(None, "no_object", told)
        found = self.masker.segment(image.convert("RGB"), boxes)
        told = {
            **told,
            "iou": [round(value, 4) for value in found.iou],
            "alternatives": [
                [{key: round(value, 4) for key, value in each.items()} for each in three]
                for three in found.alternatives
            ],
            "seconds": {**told["seconds"], **{key: round(value, 4) for key, value in found.seconds.items()}},
        }  # fmt: skip
        if not found.mask.any():
            return Region(None, "no_object", {**told, "message": "SAM gave an empty mask"})
        return Region(found.mask, "ok", told)

    def _told(self, prompt: str, boxes: Sequence[Sequence[float]], **more: Any) -> dict[str, Any]:
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


class GroundedFinder(SamFinder):
    """Boxes by Grounding DINO, for a phrase made of the label: the same for all models that are compared."""

    def __init__(
        self,
        name: str,
        sam: Weights,
        weights: Weights,
        prompts: Prompts,
        *,
        tokenizer: Weights | None,
        box_threshold: float,
        text_threshold: float,
        retry_threshold: float | None,
        choice: str,
        minimum_area: float,
        side: int,
        **network: Any,
    ) -> None:
        super().__init__(name, sam, **network)
        self.weights, self.tokenizer, self.prompts = weights, tokenizer, prompts
        self.box_threshold, self.text_threshold, self.retry_threshold = box_threshold, text_threshold, retry_threshold
        self.choice, self.minimum_area, self.side = choice, minimum_area, side

    @cached_property
    def detector(self) -> Detector:
        """Grounding DINO, loaded."""
        if self.weights.is_file:
            from das_explain.segment.original import OriginalDetector

            return OriginalDetector(
                self.weights, self.tokenizer, torch_device(self.device), side=self.side, precision=self.precision
            )
        from das_explain.segment.detect import HubDetector

        return HubDetector(self.weights, torch_device(self.device), side=self.side, precision=self.precision)

    def identity(self) -> dict[str, Any]:
        """All that decides a mask, but not the prompt."""
        detector = {
            "weights": self.weights.spec,
            "sha256": self.weights.sha256(),
            "package": _package(self.weights, "groundingdino"),
            "side": self.side,
        }
        if self.tokenizer is not None:
            detector["tokenizer"] = self.tokenizer.sha256()
        return {
            **super().identity(),
            "detector": detector,
            **self.prompts.identity(),
            "box_threshold": self.box_threshold,
            "text_threshold": self.text_threshold,
            "retry_threshold": self.retry_threshold,
            "choice": self.choice,
            "minimum_area": self.minimum_area,
        }

    def prompt(self, sample: Sample) -> str:
        """The phrase, with its full stop."""
        return self.prompts.of(sample.label)

    def find(self, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[Region]:
        """See ``SamFinder.find``."""
        self.detector  # noqa: B018  as above
        return super().find(samples, images)

    def _region(self, sample: Sample, image: Image.Image) -> Region:
        from das_explain.segment.detect import choose, found_words

        prompt = self.prompt(sample)
        start = time.perf_counter()
        seen = self.detector.detect(image.convert("RGB"), prompt)
        seconds = {"detect": round(time.perf_counter() - start, 4)}
        threshold, kept = self.box_threshold, seen.above(self.box_threshold)
        used = choose(kept.boxes, self.choice, self.minimum_area, image.size)
        retried = not used and self.retry_threshold is not None
        if retried:  # the same scores, held to less
            threshold = self.retry_threshold
            kept = seen.above(threshold)
            used = choose(kept.boxes, self.choice, self.minimum_area, image.size)
        listed = kept.first(max([LISTED, *(i + 1 for i in used)]))
        told = self._told(
            prompt,
            listed.boxes * _to_full(image),
            scores=[round(float(score), 4) for score in listed.scores],
            labels=found_words(listed, self.text_threshold, self.detector),
            used=used,
            retried=retried,
            threshold=threshold,
            seconds=seconds,
        )
        if not used:
            told["message"] = self._why(seen, kept, prompt)
        return self._segment(image, kept.boxes[used], told)

    def _why(self, seen: Detections, kept: Detections, prompt: str) -> str:
        if len(kept.scores):
            return f"no box for {prompt!r} covers {self.minimum_area:g} of the photo"
        best = f"; the best scores {seen.scores[0]:.3f}" if len(seen.scores) else ""
        return f"no box for {prompt!r} scores above {self.box_threshold:g}{best}"


class BoxesFinder(SamFinder):
    """Boxes that the data brings (``sample.boxes``); R is the union of what SAM finds in them."""

    def prompt(self, sample: Sample) -> str:
        """The boxes, as text."""
        return ";".join(" ".join(f"{end:g}" for end in box) for box in sample.boxes)

    def _region(self, sample: Sample, image: Image.Image) -> Region:
        told = self._told(self.prompt(sample), sample.boxes, used=list(range(len(sample.boxes))))
        if not sample.boxes:
            return Region(None, "no_mask", {**told, "message": "the data has no box for this photo"})
        boxes = np.array(sample.boxes, dtype=np.float64) / _to_full(image)
        boxes = boxes.clip(0, np.tile(image.size, 2))
        inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
        if not inside.any():
            width, height = full_size(image)
            message = f"no box meets the photo of {width} x {height}"
            return Region(None, "mask_mismatch", {**told, "used": [], "message": message})
        return self._segment(image, boxes[inside], {**told, "used": [int(i) for i in np.flatnonzero(inside)]})


def torch_device(device: Any) -> torch.device:
    """The device, CUDA or else the CPU if ``None``. Raises ``UsageError``."""
    import torch

    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(device)
    except RuntimeError:
        raise UsageError(f"unknown device {device!r}; write cpu, cuda, cuda:1 or mps") from None


def _package(weights: Weights, original: str) -> str:
    """What runs the weights; transformers 4 and 5 shrink photos in different ways, which shows in masks."""
    from importlib.metadata import version

    return original if weights.is_file else f"transformers {version('transformers').partition('.')[0]}"


def _to_full(image: Image.Image) -> np.ndarray:
    """What turns boxes in the pixels of ``image`` into the photo's own, where a gigantic photo was decoded smaller."""
    width, height = full_size(image)
    return np.array([width / image.width, height / image.height] * 2)


def _first_line(error: BaseException) -> str:
    if isinstance(error, DasExplainError):
        return str(error)
    return (str(error).strip().splitlines() or [""])[0][:200]
