"""``das-explain evaluate``: how often a classifier is right, how precise a detector is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from das_explain.commands.sfd import Device, Workers

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from das_explain.accuracy.evaluate import Measured


def evaluate(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL...] DATA",
            help="Models (SPEC or NAME=SPEC), then the data: a folder, a CSV (image,label), collage:N, "
            "torchvision:NAME; for detectors FILE.json in COCO's format, or FILE.json@FOLDER where the photos lie.",
        ),
    ],
    model: Annotated[
        Optional[list[str]],  # noqa: UP045 - Typer on Python 3.10
        typer.Option("--model", "-m", metavar="NAME=SPEC", help="A model, as before the data. Repeat it to compare."),
    ] = None,
    out: Annotated[Optional[Path], typer.Option(help="Folder of the tables; runs/evaluate/NAMES unless given.")] = None,  # noqa: UP045
    sample: Annotated[Optional[int], typer.Option(min=1, help="Number of images to draw; all unless given.")] = None,  # noqa: UP045
    seed: Annotated[int, typer.Option(help="Of the draw, and of the bootstrap.")] = 0,
    stratified: Annotated[bool, typer.Option("--stratified", help="Draw equally from the classes.")] = False,
    split: Annotated[Optional[str], typer.Option(help="Of collage and torchvision data sets.")] = None,  # noqa: UP045
    root: Annotated[Optional[Path], typer.Option(help="Where torchvision's data sets lie.")] = None,  # noqa: UP045
    batch_size: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Photos per forward pass of classifiers; 16 unless given."),
    ] = None,
    workers: Workers = None,
    device: Device = None,
    draws: Annotated[int, typer.Option(min=0, help="Bootstrap draws for the intervals of AP; 0: no intervals.")] = 200,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another evaluation in --out.")] = False,
) -> None:
    """Measure models on labelled photos: top-1, top-5, by class, paired; of detectors COCO's AP. All with intervals.

    Example: das-explain evaluate plain=models/collage-resnet18 das=models/collage-das-resnet18 collage:1000
    """
    from das_explain.accuracy.evaluate import Request, measure_classifiers, measure_detectors
    from das_explain.checkpoint.spec import parse_spec
    from das_explain.commands.common import progress_bars
    from das_explain.data.coco.objects import is_object_spec
    from das_explain.errors import UsageError

    *models, data = arguments
    models += model or []
    if not models:
        raise UsageError(f"evaluate what on {data}? das-explain evaluate MODEL {data}, or --model NAME=SPEC")
    detectors = is_object_spec(data)
    folder = out or Path("runs") / "evaluate" / "-".join(_plain(parse_spec(each).name) for each in models)
    request = Request(
        tuple(models),
        data,
        folder,
        sample=sample,
        stratified=stratified,
        seed=seed,
        split=split,
        root=root,
        batch=batch_size,
        workers=workers,
        device=device,
        draws=draws,
        overwrite=overwrite,
    )
    if detectors:
        with progress_bars("images", "draws") as (progress, drawing):
            measured = measure_detectors(request, progress, drawing)
        _print_ap(measured)
    else:
        with progress_bars("images") as (progress,):
            measured = measure_classifiers(request, progress)
        _print_accuracy(measured)
    for note in measured.notes:
        print(f"note        {note}")
    if others := {status: count for status, count in measured.counts.items() if status != "ok"}:
        print("not scored  " + ", ".join(f"{count} {status}" for status, count in others.items()))
    print(f"tables      {folder}")


def _print_accuracy(measured: Measured) -> None:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("model", "images", "top-1", "95 % interval", "top-5", "95 % interval", title="accuracy")
    for row in measured.tables["accuracy"].itertuples():
        top1, top5 = (row.top1, row.top1_low, row.top1_high), (row.top5, row.top5_low, row.top5_high)
        table.add_row(row.model, str(row.n), *_percent(*top1), *_percent(*top5))
    console.print(table)
    comparison = measured.tables["comparison"]
    if len(comparison):
        table = Table(
            "comparison", "images", "difference", "95 % interval", "right alone", "p, adjusted", title="top-1"
        )
        for row in comparison.itertuples():
            alone = f"{row.model_b} {row.only_b}, {row.model_a} {row.only_a}"
            p = "-" if pd.isna(row.p_adjusted) else f"{row.p_adjusted:.2g}"
            _add_difference(table, row, (f"{row.model_b} - {row.model_a}", str(row.n)), (alone, p))
        console.print(table)


def _print_ap(measured: Measured) -> None:
    from rich.console import Console
    from rich.table import Table

    from das_explain.accuracy.average_precision import METRICS

    console, ap = Console(), measured.tables["ap"]
    table = Table("metric", *ap["model"], title=f"COCO average precision, % (95 % interval), {ap['n'].iloc[0]} images")
    for metric in METRICS:
        cells = zip(*(ap[column] for column in (metric, f"{metric}_low", f"{metric}_high")))
        table.add_row(metric, *(" ".join(_percent(*cell, brackets=True)) for cell in cells))
    console.print(table)
    comparison: pd.DataFrame = measured.tables["comparison"]
    if len(comparison):
        table = Table("metric", "comparison", "difference", "95 % interval", title="paired")
        for row in comparison.itertuples():
            _add_difference(table, row, (row.metric, f"{row.model_b} - {row.model_a}"), ())
        console.print(table)


def _add_difference(table: Table, row, before: tuple[str, ...], after: tuple[str, ...]) -> None:
    import pandas as pd

    difference = "-" if pd.isna(row.difference) else f"{100 * row.difference:+.1f}"
    interval = "-" if pd.isna(row.ci_low) else f"{100 * row.ci_low:+.1f} to {100 * row.ci_high:+.1f}"
    table.add_row(*before, difference, interval, *after)


def _percent(value: float | None, low: float | None, high: float | None, *, brackets: bool = False) -> tuple[str, str]:
    import pandas as pd

    if pd.isna(value):
        return "-", ""
    interval = "" if pd.isna(low) else f"{100 * low:.1f} to {100 * high:.1f}"
    return f"{100 * value:.1f}", f"({interval})" if brackets and interval else interval


def _plain(name: str) -> str:
    """A model's name as part of a folder's."""
    return "".join(c if c.isalnum() or c in "._+" else "_" for c in name).lstrip(".") or "model"
