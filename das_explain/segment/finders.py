"""The finders: a detector's boxes, or the data's own, and SAM's masks in them. One line here per kind.

Networks are loaded at the first photo and left behind when a finder is pickled; identity and prompts cost none.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from das_explain.errors import DasExplainError, UsageError
from das_explain.imageio import full_size
from das_explain.segment.prompts import FIELD, Prompts, read_overrides
from das_explain.segment.weights import CHECKPOINTS, Weights, find_file, find_folder, find_tokenizer
from das_explain.types import Region, Sample

if TYPE_CHECKING:
    import torch

    from das_explain.data import Dataset
    from das_explain.segment.detect import Detections, Detector
    from das_explain.segment.sam import Masker

DETECTOR = "IDEA-Research/grounding-dino-tiny"
SAM = {
    "base": "facebook/sam-vit-base",
    "large": "facebook/sam-vit-large",
    "huge": "facebook/sam-vit-huge",
    "2.1-tiny": "facebook/sam2.1-hiera-tiny",
    "2.1-small": "facebook/sam2.1-hiera-small",
    "2.1-base-plus": "facebook/sam2.1-hiera-base-plus",
    "2.1-large": "facebook/sam2.1-hiera-large",
}
ALIASES = {"b": "base", "l": "large", "h": "huge", "tiny": "2.1-tiny", "vit-b": "base", "vit-l": "large", "vit-h": "huge"}
ORIGINAL_DETECTOR = "ShilongLiu/GroundingDINO/groundingdino_swint_ogc.pth"
ORIGINAL_SAM = {
    "base": "ybelkada/segment-anything/checkpoints/sam_vit_b_01ec64.pth",
    "large": "ybelkada/segment-anything/checkpoints/sam_vit_l_0b3195.pth",
    "huge": "ybelkada/segment-anything/checkpoints/sam_vit_h_4b8939.pth",
}
TOKENIZER = "google-bert/bert-base-uncased"
LISTED = 50  # boxes at most in an image's record, but all that are used
NAMES = {  # name -> the network that makes its masks unless another is asked for
    "grounded-sam": "base",
    "grounded-sam2": "2.1-tiny",
    "grounded-sam-original": "base",
    "boxes+sam": "base",
}
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

            return OriginalSam(self.sam, _device(self.device), precision=self.precision)
        from das_explain.segment.sam import HubSam

        return HubSam(self.sam, _device(self.device), generation=self.generation, precision=self.precision)

    def identity(self) -> dict[str, Any]:
        """All that decides a mask, but not the prompt."""
        return {
            "name": self.name,
            "sam": {"weights": self.sam.spec, "sha256": self.sam.sha256(), "package": _package(self.sam, "segment-anything")},
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
        """The region of the boxes (N, 4), in pixels of ``image``; none of them is a normal outcome, not a case for SAM."""
        if not len(boxes):
            return Region(None, "no_object", told)
        found = self.masker.segment(image.convert("RGB"), boxes)
        told = {
            **told,
            "iou": [round(value, 4) for value in found.iou],
            "alternatives": [[{k: round(v, 4) for k, v in each.items()} for each in three] for three in found.alternatives],
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
                self.weights, self.tokenizer, _device(self.device), side=self.side, precision=self.precision
            )
        from das_explain.segment.detect import HubDetector

        return HubDetector(self.weights, _device(self.device), side=self.side, precision=self.precision)

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


def create_finder(
    name: str,
    *,
    detector: str | None = None,
    sam: str | None = None,
    tokenizer: str | None = None,
    device: str | None = None,
    template: str = FIELD,
    overrides: Path | None = None,
    box_threshold: float = 0.35,
    text_threshold: float = 0.25,
    retry_threshold: float | None = None,
    choice: str = "best",
    minimum_area: float = 0.0,
    precision: str = "fp32",
    side: int = 800,
    dataset: Dataset | None = None,
) -> SamFinder:
    """A finder by name. Weights are found (and downloaded where they are not here), networks not yet loaded.

    Args:
        name: one of ``NAMES``.
        detector: Grounding DINO: a folder or hub id; for ``grounded-sam-original`` a checkpoint file.
        sam: a folder, hub id, checkpoint file of segment-anything, or a name: ``base``, ``large``, ``huge``;
            ``2.1-tiny`` and its like for SAM 2.
        tokenizer: folder or hub id of BERT's tokenizer, for ``grounded-sam-original``.
        template: the prompt, with ``{label}`` where the class label's first synonym belongs.
        overrides: CSV ``label,prompt``.
        box_threshold: what a box must score; ``text_threshold`` what a word must, to be named with the box.
        retry_threshold: where no box does, what it must score at the second try; recorded.
        choice: ``best`` or ``union`` of the boxes above the threshold.
        minimum_area: share of the photo below which a box is passed over.
        precision: ``fp32``, or ``bf16`` (autocast).
        side: the detector's shorter side in pixels, 800 as its authors'.
        dataset: is checked for the labels or boxes that will be needed.

    Raises:
        UsageError, DasExplainError: one line that says what is wrong, or which files to put where.
    """
    if name not in NAMES:
        raise UsageError(f"no finder is called {name!r}; there are {', '.join(NAMES)}")
    _check(choice, minimum_area, precision, side, box_threshold, text_threshold, retry_threshold)
    prompts = Prompts(template, read_overrides(Path(overrides)) if overrides is not None else {})
    if dataset is not None:
        _check_data(name, dataset, prompts)
    _device(device)
    grounded = name != "boxes+sam"
    if not grounded and detector is not None:
        raise UsageError("boxes+sam takes its boxes from the data: --detector goes with the grounded-sam segmenters")
    if name == "grounded-sam-original":
        from das_explain.segment.original import check_installed

        check_installed()
    found, generation = _find_sam(name, sam or NAMES[name])
    network = {"generation": generation, "device": device, "precision": precision}
    if not grounded:
        return BoxesFinder(name, found, **network)
    words = None
    if name == "grounded-sam-original":
        weights = find_file(detector or ORIGINAL_DETECTOR, "--detector")
        words = find_tokenizer(tokenizer or TOKENIZER, "--tokenizer")
    elif tokenizer is not None:
        raise UsageError(f"{name} has the tokenizer in the detector's folder: --tokenizer goes with grounded-sam-original")
    elif detector is not None and Path(detector).is_file():
        raise UsageError(
            f"{detector} is a checkpoint file: {name} takes a folder of transformers or a hub id; "
            "--segmenter grounded-sam-original takes checkpoint files"
        )
    else:
        weights = find_folder(detector or DETECTOR, "--detector", tokenizer=True)
    return GroundedFinder(
        name,
        found,
        weights,
        prompts,
        tokenizer=words,
        box_threshold=box_threshold,
        text_threshold=text_threshold,
        retry_threshold=retry_threshold,
        choice=choice,
        minimum_area=minimum_area,
        side=side,
        **network,
    )


def _find_sam(name: str, sam: str) -> tuple[Weights, int]:
    """The weights, and 1 for SAM or 2 for SAM 2."""
    short = ALIASES.get(sam.lower(), sam.lower())
    second = short.startswith("2.1-") and short in SAM
    if short in SAM and second != (name == "grounded-sam2") and name != "boxes+sam":
        fits = ", ".join(key for key in SAM if key.startswith("2.1-") == (name == "grounded-sam2"))
        raise UsageError(f"--sam {sam} does not go with {name}; it takes {fits}, a folder or a hub id")
    if name == "grounded-sam-original":
        return find_file(ORIGINAL_SAM.get(short, sam), "--sam"), 1
    if Path(sam).expanduser().is_file() or sam.endswith(CHECKPOINTS):
        if name == "grounded-sam2":
            raise UsageError(f"{sam} is a checkpoint file; grounded-sam2 takes a folder of transformers or a hub id")
        return find_file(sam, "--sam"), 1
    weights = find_folder(SAM.get(short, sam), "--sam")
    second = str(weights.config().get("model_type", "")).startswith("sam2")
    if second != (name == "grounded-sam2") and name != "boxes+sam":
        other = "grounded-sam2" if second else "grounded-sam"
        raise UsageError(f"{sam} holds {'SAM 2' if second else 'SAM'}: use it with --segmenter {other}")
    return weights, 2 if second else 1


def _check(choice: str, minimum_area: float, precision: str, side: int, *thresholds: float | None) -> None:
    if choice not in ("best", "union"):
        raise UsageError(f"the choice among boxes is best or union, not {choice!r}")
    if precision not in ("fp32", "bf16"):
        raise UsageError(f"the precision is fp32 or bf16, not {precision!r}")
    if not 0 <= minimum_area < 1:
        raise UsageError(f"the minimum area is a share of the photo, 0 to 1, not {minimum_area:g}")
    if side < 32:
        raise UsageError(f"the detector's side must be at least 32 pixels, not {side}")
    for threshold in thresholds:
        if threshold is not None and not 0 <= threshold < 1:
            raise UsageError(f"a threshold lies between 0 and 1, not at {threshold:g}")
    box, _, retry = thresholds
    if retry is not None and retry >= box:
        raise UsageError(f"the retry threshold ({retry:g}) must lie below the box threshold ({box:g})")


def _check_data(name: str, dataset: Dataset, prompts: Prompts) -> None:
    """Every sample can be asked for, before any network is loaded or fetched."""
    if name != "boxes+sam":
        for label in {sample.label for sample in dataset.samples}:
            prompts.of(label)
        return
    ends = [end for sample in dataset.samples for box in sample.boxes for end in box[2:]]
    if not ends:
        raise UsageError(f"{dataset.spec} has no rectangles for boxes+sam: it needs the columns x0,y0,x1,y1 or boxes in "
                         "the CSV")  # fmt: skip
    if max(ends) <= 1:
        raise UsageError(f"the rectangles in {dataset.spec} are fractions of the photo; they are needed in pixels")


def _device(device: Any) -> torch.device:
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
