"""The finders of the paper: boxes by Grounding DINO for a phrase made of the label, masks in them by SAM."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from PIL import Image

from das_explain.devices import find_device
from das_explain.segment.finders.boxed import Asked, SamFinder, package_of, to_full
from das_explain.segment.finders.options import FinderOptions
from das_explain.segment.finders.prompts import Prompts
from das_explain.segment.finders.weights import Weights
from das_explain.types import Region, Sample

if TYPE_CHECKING:
    from das_explain.segment.finders.detect import Detections, Detector

LISTED = 50  # boxes at most in an image's record, but all that are used
OTHERS = 4  # boxes at most that are not used, of which it is kept what R would be with them


class GroundedFinder(SamFinder):
    """Boxes by Grounding DINO, for a phrase made of the label: the same for all models that are compared."""

    def __init__(
        self,
        name: str,
        sam: Weights,
        generation: int,
        options: FinderOptions,
        weights: Weights,
        tokenizer: Weights | None,
        prompts: Prompts,
    ) -> None:
        super().__init__(name, sam, generation, options)
        self.weights, self.tokenizer, self.prompts = weights, tokenizer, prompts

    @cached_property
    def detector(self) -> Detector:
        """Grounding DINO, loaded."""
        if self.weights.is_file:
            from das_explain.segment.finders.original import OriginalDetector

            return OriginalDetector(
                self.weights,
                self.tokenizer,
                find_device(self.device),
                side=self.options.side,
                precision=self.precision,
            )
        from das_explain.segment.finders.detect import HubDetector

        return HubDetector(self.weights, find_device(self.device), side=self.options.side, precision=self.precision)

    def identity(self) -> dict[str, Any]:
        """All that decides a mask, but not the prompt."""
        detector = {
            "weights": self.weights.spec,
            "sha256": self.weights.sha256(),
            "package": package_of(self.weights, "groundingdino"),
            "side": self.options.side,
        }
        if self.tokenizer is not None:
            detector["tokenizer"] = self.tokenizer.sha256()
        return {
            **super().identity(),
            "detector": detector,
            **self.prompts.identity(),
            "box_threshold": self.options.box_threshold,
            "text_threshold": self.options.text_threshold,
            "retry_threshold": self.options.retry_threshold,
            "choice": self.options.choice,
            "minimum_area": self.options.minimum_area,
        }

    def prompt(self, sample: Sample) -> str:
        """The phrase, with its full stop."""
        return self.prompts.of(sample.label)

    def find(self, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[Region]:
        """See ``SamFinder.find``."""
        self.detector  # noqa: B018  as in SamFinder
        return super().find(samples, images)

    def _ask(self, samples: Sequence[Sample], images: Sequence[Image.Image]) -> list[Asked | Region | Exception]:
        prompts = [self.prompt(sample) for sample in samples]

        def detect(part: list[int]) -> list[tuple[Detections, float]]:
            start = time.perf_counter()
            seen = self.detector.detect([images[i] for i in part], [prompts[i] for i in part])
            return [(each, (time.perf_counter() - start) / len(part)) for each in seen]

        alike = sorted(range(len(images)), key=lambda i: images[i].width / images[i].height)
        found = dict(zip(alike, self._batches(alike, detect)))
        return [
            found[i] if isinstance(found[i], Exception) else self._choose(prompts[i], image, *found[i])
            for i, image in enumerate(images)
        ]

    def _choose(self, prompt: str, image: Image.Image, seen: Detections, seconds: float) -> Asked | Region:
        from das_explain.segment.finders.detect import choose, find_words

        threshold, kept = self.options.box_threshold, seen.above(self.options.box_threshold)
        used = choose(kept.boxes, self.options.choice, self.options.minimum_area, image.size)
        retried = not used and self.options.retry_threshold is not None
        if retried:  # the same scores, held to less
            threshold = self.options.retry_threshold
            kept = seen.above(threshold)
            used = choose(kept.boxes, self.options.choice, self.options.minimum_area, image.size)
        listed = kept.first(max([LISTED, *(i + 1 for i in used)]))
        told = self._describe(
            prompt,
            listed.boxes * to_full(image),
            scores=[round(float(score), 4) for score in listed.scores],
            labels=find_words(listed, self.options.text_threshold, self.detector),
            used=used,
            retried=retried,
            threshold=threshold,
            seconds={"detect": round(seconds, 4)},
        )
        if used:
            others = choose(kept.boxes, "union", self.options.minimum_area, image.size)[: len(used) + OTHERS]
            return kept.boxes[[*used, *(i for i in others if i not in used)]], told
        return Region(None, "no_object", {**told, "message": self._why(seen, kept, prompt)})

    def _why(self, seen: Detections, kept: Detections, prompt: str) -> str:
        if len(kept.scores):
            return f"no box for {prompt!r} covers {self.options.minimum_area:g} of the photo"
        best = f"; the best scores {seen.scores[0]:.3f}" if len(seen.scores) else ""
        return f"no box for {prompt!r} scores above {self.options.box_threshold:g}{best}"
