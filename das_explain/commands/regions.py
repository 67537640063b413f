"""The options that say where region R comes from, the same for every command that needs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from das_explain.commands.help import COMMON, FINDERS, REGION

if TYPE_CHECKING:
    from das_explain.data.mask_options import MaskOptions
    from das_explain.segment.choose import RegionOptions


def _region(*names: str, **options: Any) -> Any:
    return typer.Option(*names, rich_help_panel=REGION, **options)


def _finder(**options: Any) -> Any:
    return typer.Option(rich_help_panel=FINDERS, **options)


@dataclass(frozen=True)
class Regions:
    """One field per flag. What only a finder takes is ``None`` unless given."""

    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="MASKS",
            rich_help_panel=COMMON,
            help="The objects' masks: a folder of images matched by name, a CSV (image,mask), or a COCO JSON file; "
            "the data's own unless given.",
        ),
    ] = None
    segmenter: Annotated[
        str,
        _region(
            metavar="NAME",
            help="auto (the data's masks, else grounded-sam), masks, boxes, grounded-sam, grounded-sam2 (quicker), "
            "grounded-sam-original, boxes+sam.",
        ),
    ] = "auto"
    boxes: Annotated[
        Path | None,
        _region(
            metavar="BOXES",
            help="Rectangles for boxes+sam and --box-masks: a CSV, ImageNet's LOC_val_solution.csv, PASCAL XML; "
            "the data's own unless given.",
        ),
    ] = None
    box_masks: Annotated[bool, _region("--box-masks", help="R is the rectangles in the CSV, or in --boxes.")] = False
    mask_value: Annotated[
        str | None,
        _region(
            metavar="VALUE|FILE",
            help="Number, #colour or category of R, or a CSV of them; all unless given.",
        ),
    ] = None
    instances: Annotated[str, _region(metavar="all|largest", help="Of several objects in a mask.")] = "all"
    crowd: Annotated[bool, _region("--crowd", help="R takes in a COCO file's crowd regions.")] = False
    prompt: Annotated[
        str | None, _finder(metavar="TEXT", help='What the detector is asked for; "{label}" unless given.')
    ] = None
    prompts: Annotated[
        Path | None,
        _finder(metavar="CSV", help="label,prompt for labels better asked for otherwise; none unless given."),
    ] = None
    detector: Annotated[
        str | None,
        _finder(metavar="WEIGHTS", help="Grounding DINO's: hub id, folder, file; its authors' unless given."),
    ] = None
    sam: Annotated[
        str | None, _finder(metavar="WEIGHTS", help="SAM's: hub id, folder or checkpoint; its authors' unless given.")
    ] = None
    tokenizer: Annotated[
        str | None,
        _finder(metavar="FOLDER", help="BERT's tokenizer for grounded-sam-original; the hub's unless given."),
    ] = None
    box_threshold: Annotated[
        float | None, _finder(min=0, max=1, metavar="X", help="A box counts from this score on; 0.35 unless given.")
    ] = None
    text_threshold: Annotated[
        float | None, _finder(min=0, max=1, metavar="X", help="A word counts from this score on; 0.25 unless given.")
    ] = None
    retry_threshold: Annotated[
        float | None,
        _finder(min=0, max=1, metavar="X", help="Where nothing is found, look once more with this; not unless given."),
    ] = None
    choice: Annotated[
        str | None,
        _finder(metavar="best|union", help="The box of the highest score, or all of them; best unless given."),
    ] = None
    minimum_area: Annotated[
        float | None,
        _finder(min=0, max=1, metavar="X", help="Smaller objects (share of the photo) do not count; 0 unless given."),
    ] = None
    detector_side: Annotated[
        int | None, _finder(min=32, metavar="N", help="Shorter side of the detector's input; 800 unless given.")
    ] = None
    segmenter_precision: Annotated[str | None, _finder(metavar="fp32|bf16", help="fp32 unless given.")] = None
    segmenter_device: Annotated[
        str | None, _finder(metavar="NAME", help="Where these networks run; as --device unless given.")
    ] = None

    def objects(self) -> MaskOptions:
        """Which objects of the masks are R."""
        from das_explain.data.mask_options import MaskOptions

        return MaskOptions(self.mask_value, self.instances, self.crowd)

    def options(self, device: str | None = None) -> RegionOptions:
        """For ``choose_segmenter``; ``device``: where the other networks run. Masks and boxes belong to the data."""
        from das_explain.segment.choose import FINDER_OPTIONS, RegionOptions

        values = {option: getattr(self, field) for field, option in FINDER_OPTIONS.items()}
        return RegionOptions(
            segmenter=self.segmenter,
            box_masks=self.box_masks,
            device=self.segmenter_device or device,
            finder={option: value for option, value in values.items() if value is not None},
        )
