"""``das-explain train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from das_explain.commands.say import say


def train(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="A recipe of the package (a wrong name lists them), or a .yaml file."),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one setting of the recipe, such as schedule.epochs=4. Repeat it for more; none unless given.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The run's folder; runs/train/RECIPE unless given."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on where the folder stands, or start anew.")] = True,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="The same as --set seed=N; the recipe's unless given.")
    ] = None,
) -> None:
    """Train a network by a recipe; the result is a model directory.

    A run that was stopped goes on after its last whole epoch when the same command is given again, and ends as if it
    had never been stopped.

    Example: das-explain train finetune --set data.train=photos.csv --set model.warm_start=torchvision:resnet18
    """
    import shlex

    from rich.console import Console

    from das_explain.train import load_recipe

    settings = [*(settings or []), *([f"seed={seed}"] if seed is not None else [])]
    loaded = load_recipe(recipe, settings)
    from das_explain.train import train as run
    from das_explain.train.machine import is_leader

    folder = out or Path("runs") / "train" / loaded.name
    words = ["das-explain", "train", recipe, *(word for setting in settings for word in ("--set", setting))]
    model = run(loaded, folder, resume=resume, console=Console(stderr=True), command=shlex.join(words))
    if is_leader():
        say(model)
