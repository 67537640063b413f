"""The options that say where region R comes from, the same for every command that needs it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from das_explain.data.dataset import Dataset
    from das_explain.segment import Segmenter

Root = Annotated[Path | None, typer.Option(help="Where torchvision's data sets lie.")]


def _flag(*names: str, **options: Any) -> Any:
    return typer.Option(*names, rich_help_panel="Region R", **options)


@dataclass(frozen=True)
class Regions:
    """One field per flag. What only a finder takes is ``None`` unless given."""

    segmenter: Annotated[
        str,
        _flag(
            help="auto (the data's masks, else grounded-sam), masks, boxes, grounded-sam, grounded-sam2 (quicker), "
            "grounded-sam-original, boxes+sam.",
        ),
    ] = "auto"
    masks: Annotated[
        Path | None,
        _flag(
            help="The object's masks: a folder of images matched by name, a CSV (image,mask), or a COCO JSON file.",
        ),
    ] = None
    boxes: Annotated[
        Path | None,
        _flag(
            help="Rectangles for boxes+sam and --box-masks: a CSV, ImageNet's LOC_val_solution.csv, PASCAL XML or a "
            "folder of it.",
        ),
    ] = None
    box_masks: Annotated[bool, _flag("--box-masks", help="R is the rectangles in the CSV, or in --boxes.")] = False
    prompt: Annotated[str | None, _flag(help='What the detector is asked for; "{label}" unless given.')] = None
    prompts: Annotated[Path | None, _flag(help="CSV label,prompt for labels that are better asked for otherwise.")] = (
        None
    )
    detector: Annotated[str | None, _flag(help="Grounding DINO's weights: hub id, folder or checkpoint file.")] = None
    sam: Annotated[str | None, _flag(help="SAM's weights: hub id, folder or checkpoint file.")] = None
    tokenizer: Annotated[str | None, _flag(help="BERT's tokenizer for grounded-sam-original: hub id or folder.")] = None
    box_threshold: Annotated[
        float | None, _flag(min=0, max=1, help="A box counts from this score on; 0.35 unless given.")
    ] = None
    text_threshold: Annotated[
        float | None, _flag(min=0, max=1, help="A word counts from this score on; 0.25 unless given.")
    ] = None
    retry_threshold: Annotated[
        float | None, _flag(min=0, max=1, help="Where nothing is found, look once more with this.")
    ] = None
    choice: Annotated[str | None, _flag(help="best: the box of the highest score; union: all of them.")] = None
    minimum_area: Annotated[
        float | None, _flag(min=0, max=1, help="Smaller objects (fraction of the photo) do not count.")
    ] = None
    detector_side: Annotated[
        int | None, _flag(min=32, help="Shorter side of the detector's input; 800 unless given.")
    ] = None
    segmenter_precision: Annotated[str | None, _flag(help="fp32, or bf16.")] = None
    segmenter_device: Annotated[str | None, _flag(help="Where the segmenter runs; as --device unless given.")] = None

    def find(self, dataset: Dataset, device: str | None = None, *, optional: bool = False) -> Segmenter | None:
        """What makes the regions of a data set that was opened with these ``masks`` and ``boxes``.

        ``auto``: the rectangles if ``box_masks`` asks for them, else the data's masks, else grounded-sam (``None`` if
        ``optional``). Raises ``UsageError`` for flags that do not go with what that is.
        """
        from das_explain.errors import UsageError
        from das_explain.segment import FINDERS, create_segmenter

        name = self.segmenter
        values = {field: getattr(self, field) for field in FINDER_OPTIONS}
        given = {field: value for field, value in values.items() if value is not None}
        if self.box_masks and name not in ("auto", "boxes"):
            raise UsageError(f"--box-masks and --segmenter {name} contradict each other: give one of them")
        if name == "auto":
            if self.box_masks or dataset.has_masks:
                name = "boxes" if self.box_masks else "masks"
            elif optional and not given:
                return None
            else:
                name = "grounded-sam"
                if dataset.labels is None and "{label}" in given.get("prompt", "{label}"):
                    raise UsageError(
                        f"{dataset.spec} has neither masks nor labels to look for: give --masks, "
                        'or what is on the photos, --prompt "a dog"'
                    )
        if name in FINDERS:
            options = {FINDER_OPTIONS[field]: value for field, value in given.items()}
            return create_segmenter(name, dataset, device=self.segmenter_device or device, **options)
        if given:
            raise UsageError(
                f"{flag(next(iter(given)))} goes with --segmenter grounded-sam and its like; here R comes from {name}"
            )
        return create_segmenter(name, dataset)


FINDER_OPTIONS = {  # field -> option of create_finder
    "prompt": "template", "prompts": "overrides", "detector": "detector", "sam": "sam", "tokenizer": "tokenizer",
    "box_threshold": "box_threshold", "text_threshold": "text_threshold", "retry_threshold": "retry_threshold",
    "choice": "choice", "minimum_area": "minimum_area", "detector_side": "side", "segmenter_precision": "precision",
}  # fmt: skip


def flag(field: str) -> str:
    """``box_threshold`` -> ``--box-threshold``."""
    return f"--{field.replace('_', '-')}"


def takes_regions(command: Callable[..., None]) -> Callable[..., None]:
    """Puts the flags in the place of the command's parameter ``regions``: Typer reads them off the signature."""
    hints = get_type_hints(Regions, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    flags = [inspect.Parameter(f.name, keyword, default=f.default, annotation=hints[f.name]) for f in fields(Regions)]
    own = inspect.signature(command, eval_str=True)
    parameters = []
    for parameter in own.parameters.values():
        parameters += flags if parameter.name == "regions" else [parameter.replace(kind=keyword)]

    @functools.wraps(command)
    def expanded(**arguments: Any) -> None:
        regions = Regions(**{each.name: arguments.pop(each.name) for each in flags})
        command(**arguments, regions=regions)

    expanded.__signature__ = own.replace(parameters=parameters)
    return expanded
