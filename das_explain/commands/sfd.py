"""``das-explain sfd``: score models on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from das_explain.commands.regions import Regions, Root, takes_regions

Models = Annotated[
    list[str],
    typer.Option(
        "--model",
        "-m",
        metavar="NAME=SPEC",
        # A bracket before @ would be markup to rich, and vanish.
        help="A model, named. Repeat it to compare; several with one NAME are copies of one design. SPEC: a model "
        "directory, FILE@ARCH[:ATTENTION], torchvision:NAME[:WEIGHTS], timm:NAME, hf:USER/REPO, python:MODULE:FACTORY\\[@FILE]. "
        "+gates=ones, mean or shuffled after a SPEC replaces the attention of its gates.",
    ),
]
Blocks = Annotated[str, typer.Option(help="Blocks to explain, separated by commas; the last two unless given.")]
Method = Annotated[str, typer.Option(help="gradcam, gradcam++, layercam, hirescam, xgradcam, eigencam, scorecam ...")]
Target = Annotated[
    str,
    typer.Option(
        help="Class to explain: the image's label, each model's own prediction (predicted), or a class by name."
    ),
]
Threshold = Annotated[float, typer.Option(help="tau: pixels with a weight of at least this belong to B.")]
Scaling = Annotated[str, typer.Option(help="antilog (10^w - 1), antilog-literal (10^w), exp, linear.")]
Box = Annotated[str, typer.Option(help="B: rect, region, or shared (one rectangle for all models).")]
Device = Annotated[Optional[str], typer.Option(help="cpu, cuda, cuda:1, mps; the best there is unless given.")]  # noqa: UP045
Precision = Annotated[str, typer.Option(help="fp32, or bf16 where the processor is quick at it.")]
Batch = Annotated[int, typer.Option(min=1, help="Images per forward pass.")]
Workers = Annotated[Optional[int], typer.Option(min=0, help="Decoding processes.")]  # noqa: UP045


@takes_regions
def sfd(
    data: Annotated[str, typer.Argument(help="A folder, a CSV (image[,label][,mask]), collage[:N], torchvision:NAME.")],
    model: Models,
    out: Annotated[Path, typer.Option(help="The run's folder. The same command continues a run that was cut off.")],
    sample: Annotated[Optional[int], typer.Option(min=1, help="Number of images to draw; all unless given.")] = None,  # noqa: UP045
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    stratified: Annotated[bool, typer.Option("--stratified", help="Draw equally from the classes.")] = False,
    split: Annotated[Optional[str], typer.Option(help="Of collage and torchvision data sets.")] = None,  # noqa: UP045
    root: Root = None,
    blocks: Blocks = "",
    method: Method = "gradcam",
    target: Target = "label",
    threshold: Threshold = 0.3,
    scaling: Scaling = "antilog",
    box: Box = "rect",
    regions: Regions = Regions(),  # noqa: B008 - frozen
    precision: Precision = "fp32",
    batch: Batch = 16,
    workers: Workers = None,
    device: Device = None,
    engine: Annotated[str, typer.Option(help="local, or ray: who makes the evidence.")] = "local",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another run's results in --out.")] = False,
    report: Annotated[bool, typer.Option(help="Draw the figures and write the HTML report.")] = True,
) -> None:
    """Score models on a data set: heatmaps against the object's masks, into CSV, figures and a report."""
    from das_explain.commands.common import comma_separated, run_and_publish
    from das_explain.data.dataset import draw_sample, open_dataset
    from das_explain.files import check_folder

    # Before torch is imported: a wrong path is told at once.
    check_folder(out)
    dataset = open_dataset(data, masks=regions.masks, boxes=regions.boxes, split=split, root=root)

    from das_explain.explain.contestants import ExplainOptions
    from das_explain.explain.plan import Plan
    from das_explain.scoring.options import ScoreOptions

    plan = Plan(
        models=tuple(model),
        samples=draw_sample(dataset, sample, seed, stratified),
        source=dataset.source,
        segmenter=regions.find(dataset, device),
        labels=dataset.labels,
        options=ExplainOptions(method=method, target=target, precision=precision),
        blocks=comma_separated(blocks),
        batch=batch,
        workers=workers,
        device=device,
    )
    scoring = ScoreOptions(threshold=threshold, scaling=scaling, box=box)
    run_and_publish(
        plan, dataset, out, scoring, report=report, seed=seed, stratified=stratified, engine=engine, overwrite=overwrite
    )
