"""``das-explain segment``: the object's masks alone, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from das_explain.commands.regions import Regions, Root, takes_regions
from das_explain.commands.sfd import Device, Workers


@takes_regions
def segment(
    data: Annotated[str, typer.Argument(help="A folder, a CSV (image[,label][,mask]), collage[:N], torchvision:NAME.")],
    out: Annotated[Path, typer.Option(help="Folder for masks, masks.csv, coco.json and overlays.")],
    sample: Annotated[Optional[int], typer.Option(min=1, help="Number of images to draw; all unless given.")] = None,  # noqa: UP045
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    stratified: Annotated[bool, typer.Option("--stratified", help="Draw equally from the classes.")] = False,
    split: Annotated[Optional[str], typer.Option(help="Of collage and torchvision data sets.")] = None,  # noqa: UP045
    root: Root = None,
    regions: Regions = Regions(),  # noqa: B008 - frozen
    against: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Human masks, as --masks takes them: score the masks against these (IoU, boundary F)."),
    ] = None,
    against_data: Annotated[
        bool, typer.Option("--against-data", help="Score against the masks that the data itself brings.")
    ] = False,
    coco: Annotated[
        str, typer.Option(help="Shapes in coco.json: polygons (RLE where a mask has holes), or rle.")
    ] = "polygons",
    overlays: Annotated[bool, typer.Option(help="Draw each mask on its photo.")] = True,
    workers: Workers = None,
    device: Device = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace masks that are in --out.")] = False,
) -> None:
    """Find the object on each photo: masks to look at, correct and bring back with --masks; no models involved."""
    from das_explain.commands.common import print_agreement, progress_bars
    from das_explain.data.dataset import open_dataset
    from das_explain.data.draw import draw_sample
    from das_explain.errors import UsageError
    from das_explain.segment.export import export_masks

    dataset = open_dataset(data, masks=regions.masks, boxes=regions.boxes, split=split, root=root)
    human = None
    if against is not None and against_data:
        raise UsageError("--against and --against-data contradict each other: give one of them")
    if against is not None:
        human = open_dataset(data, masks=against, boxes=regions.boxes, split=split, root=root)
    elif against_data:
        if regions.segmenter in ("auto", "masks") and not regions.box_masks:
            raise UsageError("--against-data needs another source of masks than the data: give --segmenter")
        human = dataset
    segmenter = regions.find(dataset, device)
    samples = draw_sample(dataset, sample, seed, stratified)
    with progress_bars("masks", "files") as (finding, writing):
        exported = export_masks(
            dataset,
            samples,
            segmenter,
            out,
            against=human,
            shapes=coco,
            overlays=overlays,
            overwrite=overwrite,
            workers=workers,
            finding=finding,
            writing=writing,
        )
    print("masks       " + ", ".join(f"{count} {status}" for status, count in exported.counts.items()))
    if exported.agreement is not None:
        print_agreement(exported)
    print(f"written     {out / 'masks.csv'} and beside it")
