"""``das-explain gate``: what attention gates show, where they look, and what they do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from das_explain.commands.regions import Regions, takes_regions
from das_explain.commands.sfd import Batch, Blocks, Box, Device, Method, Models, Scaling, Target, Threshold, Workers

if TYPE_CHECKING:
    import pandas as pd


@takes_regions
def gate(
    images: Annotated[list[str], typer.Argument(help="Image files or folders; or one data spec, as sfd takes it.")],
    model: Models,
    out: Annotated[Path, typer.Option(help="Folder for figures, arrays and tables.")] = Path("gates"),
    at: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="X,Y",
            help="Where to show what the deformable kernels look at, in pixels of the photo; may be repeated. Unless "
            "given, the place deepest inside the object, or the map's maximum where no mask is known.",
        ),
    ] = None,
    drawn: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--figures", min=0, help="Figures and arrays of the first N images only; tables are of all."),
    ] = None,
    blocks: Blocks = "",
    method: Method = "gradcam",
    target: Target = "label",
    threshold: Threshold = 0.3,
    scaling: Scaling = "antilog",
    box: Box = "rect",
    regions: Regions = Regions(),  # noqa: B008 - frozen
    batch: Batch = 16,
    workers: Workers = None,
    device: Device = None,
) -> None:
    """Look inside attention gates: their maps, where deformable kernels look, and the network without them."""
    from das_explain.commands.common import comma_separated, open_images_or_data, print_guessed, progress_bars
    from das_explain.files import check_folder

    # Before torch is imported: a wrong path is told at once.
    check_folder(out)
    points = [_point(text) for text in at or ()]
    dataset = open_images_or_data(images, regions.masks, regions.boxes)

    from das_explain.explain.evaluate import Options
    from das_explain.explain.pipeline import check_options, load_contestants
    from das_explain.gates import study_gates

    options = Options(method, target, threshold, scaling, box)
    check_options(options)
    segmenter = regions.find(dataset, device, optional=True)
    print_guessed(segmenter, dataset.samples)
    contestants, _ = load_contestants(model, dataset.labels, comma_separated(blocks), device, options)
    with progress_bars("masks", "images") as (finding, progress):
        summary = study_gates(
            dataset,
            segmenter,
            contestants,
            options,
            out,
            at=points,
            drawn=drawn,
            batch=batch,
            workers=workers,
            finding=finding,
            progress=progress,
        )
    _print(summary)
    print(f"figures, arrays and tables  {out}")


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
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "quantity", "gates", "n", "mean", "change [95 % interval]", "p, adjusted", title="gates")
    for row in summary[summary["n"] > 0].itertuples():
        share = row.quantity in ("top1", "kept", "probability")
        change, low, high = (
            f"{100 * value:+.1f}" if share else f"{value:+.3f}"
            for value in (row.change, row.change_low, row.change_high)
        )
        interval = f" [{low}, {high}]" if row.n > 1 else ""
        table.add_row(
            row.model,
            f"{row.quantity} {row.block}".strip(),
            row.variant,
            str(row.n),
            f"{row.mean:.1%}" if share else f"{row.mean:.3f}",
            f"{change}{interval}" if row.change == row.change else "",  # NaN: of the trained network itself
            f"{row.p_adjusted:.2g}" if row.p_adjusted == row.p_adjusted else "",
        )
    Console().print(table)
