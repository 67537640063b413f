"""``das-explain figure``: a run's figures, as a paper wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from das_explain.commands.options import comma_separated
from das_explain.commands.say import say


def figure(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder: the --out of sfd.")],
    kind: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME",
            help="grid (photos x models x blocks), paired, distribution, readings, nulls or strata.",
        ),
    ],
    images: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N|IMAGE",
            help="Of grid: names as in scores.csv, repeat it for more; or how many, spread over the ranks of the "
            "difference. Six unless given.",
        ),
    ] = None,
    blocks: Annotated[str, typer.Option(metavar="NAME,NAME", help="Of grid: the blocks; all unless given.")] = "",
    measure: Annotated[
        str, typer.Option(metavar="NAME", help="Of paired, distribution and nulls: what is drawn.")
    ] = "sfd",
    width: Annotated[
        float | None,
        typer.Option(
            metavar="INCHES", help="3.5: a column of a paper, 7.16: its page; what the figure takes unless given."
        ),
    ] = None,
    formats: Annotated[str, typer.Option("--format", metavar="NAME,NAME", help="pdf, svg or png.")] = "pdf,png",
    colormap: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Of grid: turbo, viridis, inferno or jet. Colour-blind readers can tell viridis and inferno.",
        ),
    ] = "turbo",
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where to; RUN/figures unless given.")] = None,
) -> None:
    """Draw figures of a scored run, for a paper: text of 6 points or more, fonts embedded, one file per pair of models.

    Example: das-explain figure runs/mine --kind grid,readings --width 7.16 --format pdf,svg
    """
    from das_explain.errors import UsageError
    from das_explain.evidence.run import Run
    from das_explain.evidence.staging import new_figures
    from das_explain.figures.kinds import FigureOptions, save_figures
    from das_explain.folders import check_folder, new_files

    opened, wanted = Run.open(run), out or run / "figures"
    check_folder(wanted)
    if out is None:
        opened.lock()
    if not opened.is_scored:
        raise UsageError(f"{run} has no tables of the evidence that is there: das-explain score {run} makes them")
    if opened.part:
        say(f"unfinished  only {opened.part}: say so in the caption")
    kinds = comma_separated(kind)
    options = FigureOptions(width, measure, tuple(images or ()), comma_separated(blocks), colormap)
    with new_figures(opened) if out is None else new_files(out) as folder:
        paths = save_figures(opened, kinds, folder, options, comma_separated(formats))
    for path in paths:
        say(f"figure      {wanted / path.name}")
    if "grid" in kinds and all(image.isdecimal() for image in images or ()):
        say("photos      spread evenly over the ranks of the difference, not picked: say so in the caption")
