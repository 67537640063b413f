"""``das-explain sfd``: score models on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from das_explain.commands.help import SCORING
from das_explain.commands.machines import Machines
from das_explain.commands.options import Data, Maps, Models, Running, takes_options
from das_explain.commands.regions import Regions
from das_explain.commands.scoring import ScoreOn, Scoring


@takes_options
def sfd(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Photos; das-explain help data says what it may be.")],
    models: Models,
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="The run's folder. The same command continues a run that was cut off."),
    ],
    photos: Data,
    regions: Regions,
    maps: Maps,
    scoring: Scoring,
    running: Running,
    machines: Machines,
    hide_with: Annotated[
        str | None,
        typer.Option(
            metavar="blur|mean",
            rich_help_panel=SCORING,
            help="What hides pixels in insertion and deletion; by measure unless given.",
        ),
    ] = None,
    score_on: ScoreOn = "cpu",
    report: Annotated[bool, typer.Option(help="Draw the figures and write the HTML report.")] = True,
) -> None:
    """Score models on a data set: heatmaps against the object's masks, into CSV, figures and a report.

    Example: das-explain sfd photos/ -m plain=plain.pth@resnet50 -m das=das.pth@resnet50:das --out runs/mine
    """
    from das_explain.commands.common import run_and_publish
    from das_explain.data.dataset import open_dataset
    from das_explain.folders import check_folder

    # Before torch is imported: a wrong path is told at once.
    check_folder(out)
    cluster = machines.cluster()
    dataset = open_dataset(
        data, masks=regions.masks, boxes=regions.boxes, split=photos.split, root=photos.root, objects=regions.objects()
    )

    from das_explain.explain.plan import Plan
    from das_explain.segment.choose import choose_segmenter

    score_options = scoring.options()
    plan = Plan(
        models=models.model,
        samples=photos.draw(dataset),
        source=dataset.source,
        segmenter=choose_segmenter(dataset, regions.options(running.first_device)),
        labels=dataset.labels,
        label_files=models.label_files(),
        label_map=photos.read_label_map(),
        options=maps.options(models.precision, measures=score_options.network_measures, baseline=hide_with),
        blocks=models.block_names,
        layouts=models.layouts(),
        nulls=score_options.nulls,
        batch=running.photos_at_once,
        workers=running.workers,
        device=running.device,
        compiled=maps.compiled,
    )
    run_and_publish(
        plan,
        dataset,
        out,
        score_options,
        report=report,
        score_on=score_on,
        seed=photos.seed,
        stratified=photos.stratified,
        engine=machines.engine,
        cluster=cluster,
        overwrite=running.overwrite,
    )
