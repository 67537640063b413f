"""``das-explain heatmap``: figures of single images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from das_explain.commands.regions import (
    Boxes,
    BoxMasks,
    BoxThreshold,
    Choice,
    Detector,
    DetectorSide,
    Masks,
    MinimumArea,
    Prompt,
    Prompts,
    RetryThreshold,
    Sam,
    SegmenterDevice,
    SegmenterName,
    SegmenterPrecision,
    TextThreshold,
    Tokenizer,
)
from das_explain.commands.sfd import Blocks, Box, Device, Method, Models, Precision, Scaling, Target, Threshold, Workers


def heatmap(
    images: Annotated[list[str], typer.Argument(help="Image files or folders; or one data spec, as sfd takes it.")],
    model: Models,
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("heatmaps"),
    blocks: Blocks = "",
    method: Method = "gradcam",
    target: Target = "label",
    threshold: Threshold = 0.3,
    scaling: Scaling = "antilog",
    box: Box = "rect",
    segmenter: SegmenterName = "auto",
    masks: Masks = None,
    boxes: Boxes = None,
    box_masks: BoxMasks = False,
    prompt: Prompt = None,
    prompts: Prompts = None,
    detector: Detector = None,
    sam: Sam = None,
    tokenizer: Tokenizer = None,
    box_threshold: BoxThreshold = None,
    text_threshold: TextThreshold = None,
    retry_threshold: RetryThreshold = None,
    choice: Choice = None,
    minimum_area: MinimumArea = None,
    detector_side: DetectorSide = None,
    segmenter_precision: SegmenterPrecision = None,
    segmenter_device: SegmenterDevice = None,
    precision: Precision = "fp32",
    workers: Workers = None,
    device: Device = None,
) -> None:
    """Draw what each model looks at, block by block: one figure per image, raw maps and a table."""
    from rich.console import Console
    from rich.table import Table

    from das_explain.commands.common import comma_separated, open_images_or_data, progress_bar
    from das_explain.commands.regions import find_segmenter
    from das_explain.evaluate import Options
    from das_explain.heatmaps import write_heatmaps
    from das_explain.pipeline import check_options, load_contestants

    options = Options(method, target, threshold, scaling, box, precision)
    check_options(options)
    dataset = open_images_or_data(images, masks, boxes)
    regions = find_segmenter(
        dataset, box_masks, segmenter, device=segmenter_device or device, template=prompt, overrides=prompts,
        detector=detector, sam=sam, box_threshold=box_threshold, text_threshold=text_threshold,
        retry_threshold=retry_threshold, choice=choice, minimum_area=minimum_area, side=detector_side,
        precision=segmenter_precision, tokenizer=tokenizer, optional=True,
    )  # fmt: skip
    contestants, _ = load_contestants(model, dataset.labels, comma_separated(blocks), device, options)
    with progress_bar("masks") as finding:
        rows = write_heatmaps(dataset, regions, contestants, options, out, workers=workers, finding=finding)

    table = Table("image", "model", "block", "predicted", "confidence", "sfd")
    for row in rows:
        score = row["status"] if row["sfd"] is None else f"{row['sfd']:.3f}"
        confidence = "-" if row["confidence"] is None else f"{row['confidence']:.0%}"
        table.add_row(row["image"], row["model"], row["block"], row["predicted"] or "-", confidence, score)
    Console().print(table)
    print(f"figures and maps  {out}")
