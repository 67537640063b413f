"""Finders by name: which weights a name stands for, and whether settings, weights and data go together."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from das_explain.devices import find_device
from das_explain.errors import DasExplainError, UsageError
from das_explain.segment.finders.boxed import BoxesFinder, SamFinder
from das_explain.segment.finders.grounded import GroundedFinder
from das_explain.segment.finders.prompts import FIELD, Prompts, read_overrides
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
TOKENIZER = "google-bert/bert-base-uncased"
NAMES = {  # name -> the network that makes its masks unless another is asked for
    "grounded-sam": "base",
    "grounded-sam2": "2.1-tiny",
    "grounded-sam-original": "base",
    "boxes+sam": "base",
}


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
    batch: int | None = None,
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
        batch: photos that go through a network together, at most; unless given 4 on a GPU and 1 on a CPU.
        dataset: is checked for the labels or boxes that will be needed.

    Raises:
        UsageError, DasExplainError: one line that says what is wrong, or which files to put where.
    """
    if name not in NAMES:
        raise UsageError(f"no finder is called {name!r}; there are {', '.join(NAMES)}")
    _check(choice, minimum_area, precision, side, box_threshold, text_threshold, retry_threshold)
    if batch is not None and batch < 1:
        raise UsageError(f"a batch has at least one photo, not {batch}")
    prompts = Prompts(template, read_overrides(Path(overrides)) if overrides is not None else {})
    if dataset is not None:
        _check_data(name, dataset, prompts)
    find_device(device)
    grounded = name != "boxes+sam"
    if not grounded and detector is not None:
        raise UsageError("boxes+sam takes its boxes from the data: --detector goes with the grounded-sam segmenters")
    if name == "grounded-sam-original":
        from das_explain.segment.finders.build import check_installed

        check_installed()
    found, generation = _find_sam(name, sam or NAMES[name])
    network = {"generation": generation, "device": device, "precision": precision, "batch": batch}
    if not grounded:
        return BoxesFinder(name, found, **network)
    words = None
    if name == "grounded-sam-original":
        weights = find_file(detector or ORIGINAL_DETECTOR, "--detector")
        words = find_tokenizer(tokenizer or TOKENIZER, "--tokenizer")
    elif tokenizer is not None:
        raise UsageError(
            f"{name} has the tokenizer in the detector's folder: --tokenizer goes with grounded-sam-original"
        )
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


def _check_sam2() -> None:
    found = version("transformers")
    if tuple(int(part) for part in found.split(".")[:2]) < SAM2_SINCE:
        raise DasExplainError(
            f"SAM 2 needs transformers >= {'.'.join(map(str, SAM2_SINCE))} (here is {found}): "
            "pip install -U transformers, or take SAM with --segmenter grounded-sam"
        )


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
        raise UsageError(
            f"{dataset.spec} has no rectangles for boxes+sam: it needs columns x0,y0,x1,y1 or boxes in the CSV"
        )
    if max(ends) <= 1:
        raise UsageError(f"the rectangles in {dataset.spec} are fractions of the photo; they are needed in pixels")
