"""``das-explain heatmap``: figures of single images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from das_explain.commands.options import Data, Maps, Models, Running, Without, takes_options
from das_explain.commands.regions import Regions
from das_explain.commands.say import say
from das_explain.commands.scoring import Scoring


@takes_options
def heatmap(
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="Image files and folders of them, or DATA (das-explain help data)."),
    ],
    models: Models,
    photos: Data,
    regions: Regions,
    maps: Maps,
    scoring: Annotated[Scoring, Without("measure", "nulls")],
    running: Annotated[Running, Without("overwrite")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the figures.")] = Path("heatmaps"),
) -> None:
    """Draw what each model looks at, block by block: one figure per image, raw maps and a table.

    Example: das-explain heatmap dog.jpg cat.jpg -m plain=plain.pth@resnet50 -m das=das.pth@resnet50:das
    """
    from das_explain.commands.common import load_explainer, open_photos, progress_bar
    from das_explain.commands.readable import check_readable, records
    from das_explain.commands.tables import print_heatmaps
    from das_explain.folders import check_folder

    # Before torch is imported: a wrong path is told at once.
    check_folder(out)
    dataset = open_photos(images, photos, regions)

    from das_explain.figures.heatmaps import write_heatmaps

    score_options = scoring.options()
    explainer, plan = load_explainer(dataset, models, photos, regions, maps, running)
    with progress_bar("masks") as finding:
        rows = write_heatmaps(
            dataset,
            plan.segmenter,
            explainer,
            score_options,
            out,
            batch=plan.batch,
            workers=plan.workers,
            finding=finding,
        )
    print_heatmaps(rows)
    check_readable(records(out / "regions.jsonl"))
    say(f"figures and maps  {out}")
