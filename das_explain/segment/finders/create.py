"""Finders by name: which weights a name stands for, and whether settings, weights and data go together."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from das_explain.devices import find_device
from das_explain.errors import DasExplainError, UsageError, check_package
from das_explain.files import expanded
from das_explain.segment.finders.boxed import BoxesFinder, SamFinder
from das_explain.segment.finders.grounded import GroundedFinder
from das_explain.segment.finders.options import FinderOptions
from das_explain.segment.finders.prompts import Prompts, read_overrides
from das_explain.segment.finders.weights import CHECKPOINTS, Weights, find_file, find_folder, find_tokenizer

if TYPE_CHECKING:
    from das_explain.data.dataset import Dataset

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
ALIASES = {
    "b": "base",
    "l": "large",
    "h": "huge",
    "tiny": "2.1-tiny",
    "vit-b": "base",
    "vit-l": "large",
    "vit-h": "huge",
}
ORIGINAL_DETECTOR = "ShilongLiu/GroundingDINO/groundingdino_swint_ogc.pth"
ORIGINAL_SAM = {
    "base": "ybelkada/segment-anything/checkpoints/sam_vit_b_01ec64.pth",
    "large": "ybelkada/segment-anything/checkpoints/sam_vit_l_0b3195.pth",
    "huge": "ybelkada/segment-anything/checkpoints/sam_vit_h_4b8939.pth",
}
SAM2_SINCE = (4, 56)  # of transformers
OTHER_BOXES = (5, 0), (5, 23)
"""From the one to before the other, transformers finds other boxes than the authors' code does with the same weights; 4.57
and 5.23 agree with it (``tests/segment/test_original.py``)."""
TOKENIZER = "google-bert/bert-base-uncased"
NAMES = {  # name -> the network that makes its masks unless another is asked for
    "grounded-sam": "base",
    "grounded-sam2": "2.1-tiny",
    "grounded-sam-original": "base",
    "boxes+sam": "base",
}


def create_finder(name: str, options: FinderOptions, dataset: Dataset | None = None) -> SamFinder:
    """A finder by name. Weights are found (and downloaded where they are not here), networks not yet loaded.

    Args:
        name: one of ``NAMES``.
        dataset: is checked for the labels or boxes that will be needed.

    Raises:
        UsageError, DasExplainError: one line that says what is wrong, which files to put where, or what to install.
    """
    if name not in NAMES:
        raise UsageError(f"no finder is called {name!r}; there are {', '.join(NAMES)}")
    prompts = Prompts(
        options.template, read_overrides(Path(options.overrides)) if options.overrides is not None else {}
    )
    if dataset is not None:
        _check_data(name, dataset, prompts)
    find_device(options.device)
    if name == "boxes+sam":
        if options.detector is not None:
            raise UsageError(
                "boxes+sam takes its boxes from the data: --detector goes with the grounded-sam segmenters"
            )
        return BoxesFinder(name, *_find_sam(name, options), options)
    _check_installed(name)
    sam, generation = _find_sam(name, options)
    return GroundedFinder(name, sam, generation, options, *_find_detector(name, options), prompts)


def _check_installed(name: str) -> None:
    check_package("transformers", "transformers", "segment", name)  # of which the original stack has BERT
    if name == "grounded-sam-original":
        check_package("segment_anything", "segment-anything", "segment", name)
        check_package("groundingdino", "groundingdino-py", "groundingdino", name)


def _find_detector(name: str, options: FinderOptions) -> tuple[Weights, Weights | None]:
    """Grounding DINO's weights, and the tokenizer that the original stack wants beside them."""
    detector, tokenizer = options.detector, options.tokenizer
    if name == "grounded-sam-original":
        weights = find_file(detector or ORIGINAL_DETECTOR, "--detector")
        return weights, find_tokenizer(tokenizer or TOKENIZER, "--tokenizer")
    if tokenizer is not None:
        raise UsageError(
            f"{name} has the tokenizer in the detector's folder: --tokenizer goes with grounded-sam-original"
        )
    if detector is not None and Path(detector).is_file():
        raise UsageError(
            f"{detector} is a checkpoint file: {name} takes a folder of transformers or a hub id; "
            "--segmenter grounded-sam-original takes checkpoint files"
        )
    _check_grounding()
    return find_folder(detector or DETECTOR, "--detector", tokenizer=True), None


def _find_sam(name: str, options: FinderOptions) -> tuple[Weights, int]:
    """The weights, and 1 for SAM or 2 for SAM 2."""
    sam = options.sam or NAMES[name]
    short = ALIASES.get(sam.lower(), sam.lower())
    second = short.startswith("2.1-") and short in SAM
    if short in SAM and second != (name == "grounded-sam2") and name != "boxes+sam":
        fits = ", ".join(key for key in SAM if key.startswith("2.1-") == (name == "grounded-sam2"))
        raise UsageError(f"--sam {sam} does not go with {name}; it takes {fits}, a folder or a hub id")
    if name == "grounded-sam-original":
        return find_file(ORIGINAL_SAM.get(short, sam), "--sam"), 1
    if expanded(sam).is_file() or sam.endswith(CHECKPOINTS):
        if name == "grounded-sam2":
            raise UsageError(f"{sam} is a checkpoint file; grounded-sam2 takes a folder of transformers or a hub id")
        check_package("segment_anything", "segment-anything", "segment", f"{name} with a checkpoint file of SAM")
        return find_file(sam, "--sam"), 1
    check_package("transformers", "transformers", "segment", name)
    if name == "grounded-sam2":
        _check_sam2()
    weights = find_folder(SAM.get(short, sam), "--sam")
    second = str(weights.config().get("model_type", "")).startswith("sam2")
    if second != (name == "grounded-sam2") and name != "boxes+sam":
        other = "grounded-sam2" if second else "grounded-sam"
        raise UsageError(f"{sam} holds {'SAM 2' if second else 'SAM'}: use it with --segmenter {other}")
    if second:
        _check_sam2()
    return weights, 2 if second else 1


def _transformers() -> tuple[int, ...]:
    """Its version, two numbers of it."""
    return tuple(int(part) for part in version("transformers").split(".")[:2])


def _check_grounding() -> None:
    since, until = OTHER_BOXES
    if since <= _transformers() < until:
        raise DasExplainError(
            f"transformers {version('transformers')} finds other boxes than Grounding-DINO's authors do with the same "
            "weights (5.0 to 5.22 do): pip install 'transformers>=5.23', or 'transformers<5' for Python 3.10"
        )


def _check_sam2() -> None:
    if _transformers() < SAM2_SINCE:
        raise DasExplainError(
            f"SAM 2 needs transformers >= {'.'.join(map(str, SAM2_SINCE))} (here is {version('transformers')}): "
            "pip install -U transformers, or take SAM with --segmenter grounded-sam"
        )


def _check_data(name: str, dataset: Dataset, prompts: Prompts) -> None:
    """Every sample can be asked for, before any network is loaded or fetched."""
    if name != "boxes+sam":
        for label in {sample.label for sample in dataset.samples}:
            prompts.of(label)
        return
    ends = [end for sample in dataset.samples for box in sample.boxes for end in box[2:]]
    if not ends:
        raise UsageError(
            f"{dataset.spec} has no rectangles for boxes+sam: it needs columns x0,y0,x1,y1 or boxes in the CSV"
        )
    if max(ends) <= 1:
        raise UsageError(f"the rectangles in {dataset.spec} are fractions of the photo; they are needed in pixels")
