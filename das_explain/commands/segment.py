"""``das-explain segment``: the object's masks alone, as files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from das_explain.commands.machines import Machines
from das_explain.commands.options import Data, Running, Without, takes_options
from das_explain.commands.regions import Regions
from das_explain.commands.say import say


@takes_options
def segment(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Photos; das-explain help data says what it may be.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for masks, masks.csv, coco.json and overlays.")],
    photos: Annotated[Data, Without("label_map")],
    regions: Regions,
    running: Annotated[Running, Without("batch")],
    machines: Machines,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="MASKS",
            help="Human masks, as --masks takes them: score the masks against these (IoU, boundary F); not unless given.",
        ),
    ] = None,
    against_data: Annotated[
        bool, typer.Option("--against-data", help="Score against the masks that the data itself brings.")
    ] = False,
    coco: Annotated[
        str,
        typer.Option(metavar="polygons|rle", help="Shapes in coco.json; polygons are RLE where a mask has holes."),
    ] = "polygons",
    overlays: Annotated[bool, typer.Option(help="Draw each mask on its photo.")] = True,
) -> None:
    """Find the object on each photo: masks to look at, correct and bring back with --masks; no models involved.

    Example: das-explain segment photos/ --out masks/
    """
    from das_explain.segment.writers import check_claim

    # Before photos are listed and torch is imported: a wrong path is told at once.
    check_claim(out, running.overwrite)
    cluster = machines.cluster()

    from das_explain.batches.export import export_masks
    from das_explain.commands.common import print_notes, progress_bars
    from das_explain.commands.readable import check_readable, records
    from das_explain.commands.tables import print_agreement
    from das_explain.data.dataset import open_dataset
    from das_explain.data.mask_options import MaskOptions
    from das_explain.errors import UsageError
    from das_explain.segment.choose import choose_segmenter

    # What is said of masks is said of the human ones, if only they are there.
    mine = regions.objects() if against is None or regions.masks is not None else MaskOptions()
    dataset = open_dataset(
        data, masks=regions.masks, boxes=regions.boxes, split=photos.split, root=photos.root, objects=mine
    )
    human = None
    if against is not None and against_data:
        raise UsageError("--against and --against-data contradict each other: give one of them")
    if against is not None:
        human = open_dataset(
            data, masks=against, boxes=regions.boxes, split=photos.split, root=photos.root, objects=regions.objects()
        )
    elif against_data:
        if regions.segmenter in ("auto", "masks") and not regions.box_masks:
            raise UsageError("--against-data needs another source of masks than the data: give --segmenter")
        human = dataset
    print_notes(dataset)
    segmenter = choose_segmenter(dataset, regions.options(running.device))
    make = None
    if cluster is not None:
        from das_explain.engines.masks import spread_masks

        make = partial(spread_masks, cluster)
    with progress_bars("masks", "files") as (finding, writing):
        exported = export_masks(
            dataset,
            photos.draw(dataset),
            segmenter,
            out,
            against=human,
            shapes=coco,
            overlays=overlays,
            overwrite=running.overwrite,
            workers=running.workers,
            finding=finding,
            writing=writing,
            make=make,
        )
    for sentence in exported.assumptions:
        say(f"assumed     {sentence}")
    say("masks       " + ", ".join(f"{count} {status}" for status, count in exported.counts.items()))
    check_readable(records(out / "regions.jsonl"))
    if exported.agreement is not None:
        print_agreement(exported)
    say(f"written     {out / 'masks.csv'} and beside it")
