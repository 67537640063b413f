"""``das-explain evaluate``: how often a classifier is right, how precise a detector is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from das_explain.commands.help import COMMON, RUNNING
from das_explain.commands.options import Data, Models, Running, Without, label_files, takes_options
from das_explain.commands.say import say

if TYPE_CHECKING:
    from das_explain.accuracy.evaluate import Measured


@dataclass(frozen=True)
class _MoreModels(Models):
    model: Annotated[
        tuple[str, ...],
        typer.Option(
            "--model",
            "-m",
            metavar="NAME=SPEC",
            rich_help_panel=COMMON,
            help="A model, as before the data. Repeat it to compare; none unless given.",
        ),
    ] = ()


@takes_options
def evaluate(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL...] DATA",
            help="Models (das-explain help models), then labelled photos (das-explain help data); for detectors "
            "FILE.json in COCO's format, or FILE.json@FOLDER where the photos lie.",
        ),
    ],
    models: Annotated[_MoreModels, Without("blocks", "precision")],
    photos: Data,
    running: Annotated[Running, Without("batch")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder of the tables; runs/evaluate/NAMES unless given."),
    ] = None,
    draws: Annotated[
        int, typer.Option(min=0, metavar="N", help="Bootstrap draws for the intervals of AP; 0: no intervals.")
    ] = 200,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel=RUNNING,
            help="Photos per forward pass of classifiers; 16 unless given.",
        ),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, hidden=True)] = None,
) -> None:
    """Measure models on labelled photos: top-1, top-5, by class, paired; of detectors COCO's AP. All with intervals.

    Example: das-explain evaluate plain=plain.pth@resnet50 das=das.pth@resnet50:das photos/
    """
    from das_explain.accuracy.evaluate import measure_classifiers, measure_detectors
    from das_explain.accuracy.folder import Request, check_out
    from das_explain.checkpoint.spec import parse_spec
    from das_explain.commands.common import progress_bars
    from das_explain.commands.readable import print_unread
    from das_explain.data.coco.objects import is_object_spec
    from das_explain.errors import UsageError

    *specs, data = arguments
    specs += models.model
    if not specs:
        raise UsageError(f"evaluate what on {data}? das-explain evaluate MODEL {data}, or --model NAME=SPEC")
    folder = out or Path("runs") / "evaluate" / "-".join(_plain(parse_spec(each).name) for each in specs)
    check_out(folder)  # before models are loaded
    request = Request(
        models=tuple(specs),
        data=data,
        out=folder,
        label_files=label_files(tuple(specs), models.labels),
        label_map=photos.read_label_map(),
        sample=photos.sample,
        stratified=photos.stratified,
        seed=photos.seed,
        split=photos.split,
        root=photos.root,
        batch=batch or batch_size,
        workers=running.workers,
        device=running.device,
        draws=draws,
        overwrite=running.overwrite,
    )
    if is_object_spec(data):
        with progress_bars("images", "draws") as (progress, drawing):
            measured = measure_detectors(request, progress, drawing)
        _print_ap(measured)
    else:
        with progress_bars("images") as (progress,):
            measured = measure_classifiers(request, progress)
        _print_accuracy(measured)
    for note in measured.notes:
        say(f"note        {note}")
    print_unread(measured.unread)
    if others := {status: count for status, count in measured.counts.items() if status != "ok"}:
        say("not scored  " + ", ".join(f"{count} {status}" for status, count in others.items()))
    say(f"tables      {folder}")


def _print_accuracy(measured: Measured) -> None:
    from das_explain.commands.tables import number, pair, print_table

    rows = [
        (
            row.model,
            str(row.n),
            *_percent(row.top1, row.top1_low, row.top1_high),
            *_percent(row.top5, row.top5_low, row.top5_high),
        )
        for row in measured.tables["accuracy"].itertuples()
    ]
    columns = ("model", "images", "top-1", "95 % interval", "top-5", "95 % interval")
    print_table(columns, rows, title="accuracy")
    rows = [
        (
            pair(row.model_b, row.model_a),
            str(row.n),
            *_difference(row),
            f"{row.model_b} {row.only_b}, {row.model_a} {row.only_a}",
            number(row.p_adjusted, ".2g"),
        )
        for row in measured.tables["comparison"].itertuples()
    ]
    columns = ("comparison", "images", "difference", "95 % interval", "right alone", "p, adjusted")
    print_table(columns, rows, title="top-1")


def _print_ap(measured: Measured) -> None:
    from das_explain.accuracy.average_precision import METRICS
    from das_explain.commands.tables import pair, print_table

    ap = measured.tables["ap"]
    rows = []
    for metric in METRICS:
        values = zip(*(ap[column] for column in (metric, f"{metric}_low", f"{metric}_high")))
        rows.append((metric, *(_bracketed(*_percent(*each)) for each in values)))
    title = f"COCO average precision, % (95 % interval), {ap['n'].iloc[0]} images"
    print_table(("metric", *ap["model"]), rows, title=title)
    comparison = measured.tables["comparison"]
    rows = [(row.metric, pair(row.model_b, row.model_a), *_difference(row)) for row in comparison.itertuples()]
    print_table(("metric", "comparison", "difference", "95 % interval"), rows, title="paired")


def _difference(row) -> tuple[str, str]:
    from das_explain.commands.tables import number, span

    return number(row.difference, "+.1f", scale=100), span(row.ci_low, row.ci_high, "+.1f", scale=100)


def _percent(value: float, low: float, high: float) -> tuple[str, str]:
    from das_explain.commands.tables import number, span

    return number(value, ".1f", scale=100), span(low, high, ".1f", scale=100)


def _bracketed(value: str, interval: str) -> str:
    return value if interval == "-" else f"{value} ({interval})"


def _plain(name: str) -> str:
    """A model's name as part of a folder's."""
    return "".join(c if c.isalnum() or c in "._+" else "_" for c in name).lstrip(".") or "model"
