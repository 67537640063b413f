"""The options that say where region R comes from, shared by ``sfd``, ``heatmap`` and ``segment``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from das_explain.data import Dataset
    from das_explain.segment import Segmenter

PANEL = "Region R"
Masks = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        help="The object's masks: a folder of images matched by name, a CSV (image,mask), or a COCO JSON file.",
        rich_help_panel=PANEL,
    ),
]
BoxMasks = Annotated[
    bool, typer.Option("--box-masks", help="R is the rectangles in the CSV, or in --boxes.", rich_help_panel=PANEL)
]
Boxes = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        help="Rectangles for boxes+sam and --box-masks: a CSV, ImageNet's LOC_val_solution.csv, PASCAL XML or a "
        "folder of it.",
        rich_help_panel=PANEL,
    ),
]
Root = Annotated[Optional[Path], typer.Option(help="Where torchvision's data sets lie.")]  # noqa: UP045
SegmenterName = Annotated[
    str,
    typer.Option(
        "--segmenter",
        help="auto (the data's masks, else grounded-sam), masks, boxes, grounded-sam, grounded-sam2 (quicker), "
        "grounded-sam-original, boxes+sam.",
        rich_help_panel=PANEL,
    ),
]
Prompt = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help='What the detector is asked for; "{label}" unless given.', rich_help_panel=PANEL),
]
Prompts = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="CSV label,prompt for labels that are better asked for otherwise.", rich_help_panel=PANEL),
]
Detector = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Grounding DINO's weights: hub id, folder or checkpoint file.", rich_help_panel=PANEL),
]
Sam = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="SAM's weights: hub id, folder or checkpoint file.", rich_help_panel=PANEL),
]
Tokenizer = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="BERT's tokenizer for grounded-sam-original: hub id or folder.", rich_help_panel=PANEL),
]
BoxThreshold = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(min=0, max=1, help="A box counts from this score on; 0.35 unless given.", rich_help_panel=PANEL),
]
TextThreshold = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(min=0, max=1, help="A word counts from this score on; 0.25 unless given.", rich_help_panel=PANEL),
]
RetryThreshold = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(min=0, max=1, help="Where nothing is found, look once more with this.", rich_help_panel=PANEL),
]
Choice = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="best: the box of the highest score; union: all of them.", rich_help_panel=PANEL),
]
MinimumArea = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(min=0, max=1, help="Smaller objects (fraction of the photo) do not count.", rich_help_panel=PANEL),
]
DetectorSide = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=32, help="Shorter side of the detector's input; 800 unless given.", rich_help_panel=PANEL),
]
SegmenterPrecision = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="fp32, or bf16.", rich_help_panel=PANEL),
]
SegmenterDevice = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Where the segmenter runs; as --device unless given.", rich_help_panel=PANEL),
]

FLAGS = {  # option of create_finder -> its flag
    "template": "--prompt", "overrides": "--prompts", "detector": "--detector", "sam": "--sam",
    "tokenizer": "--tokenizer", "box_threshold": "--box-threshold",
    "text_threshold": "--text-threshold", "retry_threshold": "--retry-threshold",
    "choice": "--choice", "minimum_area": "--minimum-area", "side": "--detector-side",
    "precision": "--segmenter-precision",
}  # fmt: skip


def find_segmenter(
    dataset: Dataset,
    box_masks: bool = False,
    name: str = "auto",
    *,
    device: str | None = None,
    optional: bool = False,
    **options: Any,
) -> Segmenter | None:
    """Where R comes from. ``options`` are those of ``FLAGS``, ``None`` where the flag was not given.

    ``auto``: the rectangles if ``box_masks`` asks for them, else the data's masks, else grounded-sam (``None`` if
    ``optional``). Raises ``UsageError`` for flags that do not go with what that is.
    """
    from das_explain.errors import UsageError
    from das_explain.segment import FINDERS, create_segmenter

    given = {option: value for option, value in options.items() if value is not None}
    if box_masks and name not in ("auto", "boxes"):
        raise UsageError(f"--box-masks and --segmenter {name} contradict each other: give one of them")
    if name == "auto":
        if box_masks or dataset.has_masks:
            name = "boxes" if box_masks else "masks"
        elif optional and not given:
            return None
        else:
            name = "grounded-sam"
            if dataset.labels is None and "{label}" in given.get("template", "{label}"):
                raise UsageError(
                    f"{dataset.spec} has neither masks nor labels to look for: give --masks, "
                    'or what is on the photos, --prompt "a dog"'
                )
    if name in FINDERS:
        return create_segmenter(name, dataset, device=device, **given)
    if given:
        flag = FLAGS[next(iter(given))]
        raise UsageError(f"{flag} goes with --segmenter grounded-sam and its like; here R comes from {name}")
    return create_segmenter(name, dataset)
