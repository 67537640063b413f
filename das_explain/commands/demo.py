"""``das-explain demo``: the main job on what the project ships."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The run's folder.")] = Path("runs/demo"),
    models: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where other models of these names are; the shipped ones unless given."),
    ] = None,
    count: Annotated[int, typer.Option(min=2, metavar="N", help="Number of images.")] = 100,
) -> None:
    """Compare the two shipped networks on the embedded photo set: tables, figures, report.

    Example: das-explain demo --count 20
    """
    from das_explain.commands.common import run_and_publish
    from das_explain.data.dataset import open_dataset
    from das_explain.explain.plan import Plan
    from das_explain.scoring.options import ScoreOptions
    from das_explain.segment.choose import choose_segmenter

    specs = {name: folder if models is None else models / folder for name, folder in SHIPPED.items()}
    dataset = open_dataset(f"collage:{count}")
    plan = Plan(
        models=tuple(f"{name}={spec}" for name, spec in specs.items()),
        samples=dataset.samples,
        source=dataset.source,
        segmenter=choose_segmenter(dataset),
        labels=dataset.labels,
    )
    run_and_publish(plan, dataset, out, ScoreOptions(), report=True, overwrite=True)


SHIPPED = {"plain": "collage-resnet18", "das": "collage-das-resnet18"}
