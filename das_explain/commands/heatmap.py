"""``das-explain heatmap``: figures of single images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from das_explain.commands.regions import Regions, takes_regions
from das_explain.commands.sfd import Blocks, Box, Device, Method, Models, Precision, Scaling, Target, Threshold, Workers


@takes_regions
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
    regions: Regions = Regions(),  # noqa: B008 - frozen
    precision: Precision = "fp32",
    workers: Workers = None,
    device: Device = None,
) -> None:
    """Draw what each model looks at, block by block: one figure per image, raw maps and a table."""
    from rich.console import Console
    from rich.table import Table

    from das_explain.commands.common import comma_separated, open_images_or_data, print_guessed, progress_bar
    from das_explain.files import check_folder

    # Before torch is imported: a wrong path is told at once.
    check_folder(out)
    dataset = open_images_or_data(images, regions.masks, regions.boxes)

    from das_explain.explain.evaluate import Options
    from das_explain.explain.pipeline import check_options, load_contestants
    from das_explain.figures.heatmaps import write_heatmaps

    options = Options(method, target, threshold, scaling, box, precision)
    check_options(options)
    segmenter = regions.find(dataset, device, optional=True)
    print_guessed(segmenter, dataset.samples)
    contestants, _ = load_contestants(model, dataset.labels, comma_separated(blocks), device, options)
    with progress_bar("masks") as finding:
        rows = write_heatmaps(dataset, segmenter, contestants, options, out, workers=workers, finding=finding)

    table = Table("image", "model", "block", "predicted", "confidence", "sfd")
    for row in rows:
        score = row["status"] if row["sfd"] is None else f"{row['sfd']:.3f}"
        confidence = "-" if row["confidence"] is None else f"{row['confidence']:.0%}"
        table.add_row(row["image"], row["model"], row["block"], row["predicted"] or "-", confidence, score)
    Console().print(table)
    print(f"figures and maps  {out}")
