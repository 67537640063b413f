"""Which segmenter makes the regions of a data set: the rule of ``auto``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, overload

from das_explain.errors import UsageError
from das_explain.segment import FINDERS, Segmenter, create_segmenter

if TYPE_CHECKING:
    from das_explain.data.dataset import Dataset

FINDER_OPTIONS = {  # the flag's name on the command line -> option of FinderOptions
    "prompt": "template",
    "prompts": "overrides",
    "detector": "detector",
    "sam": "sam",
    "tokenizer": "tokenizer",
    "box_threshold": "box_threshold",
    "text_threshold": "text_threshold",
    "retry_threshold": "retry_threshold",
    "choice": "choice",
    "minimum_area": "minimum_area",
    "detector_side": "side",
    "segmenter_precision": "precision",
}


@dataclass(frozen=True)
class RegionOptions:
    """Where region R comes from; plain values that pickle.

    ``segmenter``: ``auto`` or a name that ``create_segmenter`` knows. ``box_masks``: R is the data's rectangles.
    ``finder``: those of ``FinderOptions`` that were given, by their names; ``device``: where its networks run.
    """

    segmenter: str = "auto"
    box_masks: bool = False
    device: str | None = None
    finder: Mapping[str, Any] = field(default_factory=dict)


@overload
def choose_segmenter(
    dataset: Dataset, options: RegionOptions = ..., *, optional: Literal[False] = False
) -> Segmenter: ...


@overload
def choose_segmenter(dataset: Dataset, options: RegionOptions = ..., *, optional: bool) -> Segmenter | None: ...


def choose_segmenter(
    dataset: Dataset,
    options: RegionOptions = RegionOptions(),
    *,
    optional: bool = False,
) -> Segmenter | None:
    """What makes the regions of a data set that was opened with its masks and boxes.

    ``auto`` is the rectangles if ``box_masks`` asks for them, else the data's masks, else grounded-sam; ``None`` in its
    place if ``optional`` and nothing was said of a finder. Raises ``UsageError`` for options that do not go with it.
    """
    name = options.segmenter
    if options.box_masks and name not in ("auto", "boxes"):
        raise UsageError(f"--box-masks and --segmenter {name} contradict each other: give one of them")
    if name == "auto":
        if options.box_masks or dataset.has_masks:
            name = "boxes" if options.box_masks else "masks"
        elif optional and not options.finder:
            return None
        else:
            name = "grounded-sam"
            if dataset.labels is None and "{label}" in options.finder.get("template", "{label}"):
                raise UsageError(
                    f"{dataset.spec} has neither masks nor labels to look for: give --masks, "
                    'or what is on the photos, --prompt "a dog"'
                )
    if name in FINDERS:
        return create_segmenter(name, dataset, device=options.device, **options.finder)
    if options.finder:
        flags = {option: f"--{flag.replace('_', '-')}" for flag, option in FINDER_OPTIONS.items()}
        first = next(iter(options.finder))
        raise UsageError(
            f"{flags.get(first, first)} goes with --segmenter grounded-sam and its like; here R comes from {name}"
        )
    return create_segmenter(name, dataset)
