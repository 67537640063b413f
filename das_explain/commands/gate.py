"""``das-explain gate``: what attention gates show, where they look, and what they do."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from das_explain.commands.machines import Machines
from das_explain.commands.options import Data, Maps, Models, Running, Without, takes_options
from das_explain.commands.regions import Regions
from das_explain.commands.say import say
from das_explain.commands.scoring import Scoring

if TYPE_CHECKING:
    import pandas as pd


@takes_options
def gate(
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="Image files and folders of them, or DATA (das-explain help data)."),
    ],
    models: Models,
    photos: Data,
    regions: Regions,
    maps: Annotated[Maps, Without("compiled")],
    scoring: Annotated[Scoring, Without("measure", "nulls")],
    running: Annotated[Running, Without("overwrite")],
    machines: Machines,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for figures, arrays and tables.")] = Path("gates"),
    at: Annotated[
        list[str],
        typer.Option(
            metavar="X,Y",
            help="Where to show what the deformable kernels look at, in pixels of the photo; may be repeated. Unless "
            "given, the place deepest inside the object, or the map's maximum where no mask is known.",
        ),
    ] = (),
    drawn: Annotated[
        int | None,
        typer.Option(
            "--figures",
            min=0,
            metavar="N",
            help="Figures and arrays of the first N images only; of all unless given. Tables are of all.",
        ),
    ] = None,
) -> None:
    """Look inside attention gates: their maps, where deformable kernels look, and the network without them.

    Example: das-explain gate photos/ -m das=das.pth@resnet50:das --figures 20
    """
    from das_explain.commands.common import load_explainer, open_photos, progress_bars
    from das_explain.commands.readable import check_readable, records
    from das_explain.folders import check_folder

    # Before torch is imported: a wrong path is told at once.
    check_folder(out)
    cluster = machines.cluster()
    points = [_point(text) for text in at]
    dataset = open_photos(images, photos, regions)

    from das_explain.gates import study_gates

    score_options = scoring.options()
    explainer, plan = load_explainer(dataset, models, photos, regions, maps, running)
    spread = None
    if cluster is not None:
        from das_explain.gates.spread import spread_gates

        spread = partial(spread_gates, cluster, plan, score_options, points)
    with progress_bars("masks", "images") as (finding, progress):
        summary = study_gates(
            dataset,
            plan.segmenter,
            explainer,
            score_options,
            out,
            at=points,
            drawn=drawn,
            batch=plan.batch,
            workers=plan.workers,
            finding=finding,
            progress=progress,
            spread=spread,
        )
    _print(summary)
    check_readable(records(out / "regions.jsonl"))
    say(f"figures, arrays and tables  {out}")


def _point(text: str) -> tuple[float, float]:
    from das_explain.errors import UsageError

    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--at {text!r} is no place: write X,Y in pixels of the photo, as in --at 120,80") from None
    if not (0 <= x < 1e6 and 0 <= y < 1e6):  # NaN is not, either
        raise UsageError(f"--at {text!r} lies outside of any photo")
    return x, y


def _print(summary: pd.DataFrame) -> None:
    """The variants' means, and how far they are from the trained network's."""
    from das_explain.commands.tables import number, print_table, span

    rows = []
    for row in summary[summary["n"] > 0].itertuples():
        share = row.quantity in ("top1", "kept", "probability")
        style, scale = ("+.1f", 100) if share else ("+.3f", 1)
        rows.append(
            (
                row.model,
                f"{row.quantity} {row.block}".strip(),
                row.variant,
                str(row.n),
                number(row.mean, ".1%" if share else ".3f"),
                number(row.change, style, scale=scale),  # none: of the trained network itself
                span(row.change_low, row.change_high, style, scale=scale),
                number(row.p_adjusted, ".2g"),
            )
        )
    columns = ("model", "quantity", "gates", "n", "mean", "change", "95 % interval", "p, adjusted")
    print_table(columns, rows, title="gates")
