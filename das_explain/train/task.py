"""What is learned: a task knows its data, its network, one training step and its test; ``run`` does the rest.

A task is one file here and one line in ``TASKS``.
"""

from __future__ import annotations

import csv
import importlib
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from torch import nn

from das_explain.errors import DasExplainError, UsageError
from das_explain.files import read_regular
from das_explain.text import spelled
from das_explain.train.schema import Recipe

if TYPE_CHECKING:
    from rich.console import Console

    from das_explain.train.module import TrainingModule

STATE, LOG, CHECKPOINT, PREDICTIONS, MODEL = "run.json", "log.csv", "last.ckpt", "predictions.csv", "model"
DETECTIONS, BOARD = "detections.json", "tensorboard"
"""What a run's folder holds."""
HELD_OUT = "held_out_"  # before what is measured on the held-out images, in the log
RANDOM_VIEWS = "random_views_"  # before the name of an accuracy in the log that is on random training views
MOST_LOGGED = 1 << 28  # bytes of the log: a million epochs
TASKS = {  # Recipe.task -> a class that takes the recipe
    "classification": "das_explain.train.classification:Classification",
    "detection": "das_explain.train.detection:Detection",
}


class Task(Protocol):
    """Made from a recipe; the constructor opens the data and raises ``DasExplainError``.

    ``labels`` are the class names, ``fingerprints`` those of the data (name -> SHA-256), ``summary`` says in a few
    words what is trained on, ``measures`` names what ``TrainingModule.losses`` sums up beside the loss.
    """

    labels: list[str]
    fingerprints: dict[str, str]
    summary: str
    measures: tuple[str, ...]

    def build(self, console: Console) -> nn.Module:
        """The network with the weights it starts from; torch's global random stream is at the recipe's seed."""
        ...

    def module(self, network: nn.Module) -> TrainingModule:
        """Loaders, step and optimiser for ``network``."""
        ...

    def finish(self, network: nn.Module, out: Path, console: Console, command: str | None) -> None:
        """Tests the trained network and writes the model directory ``out/model``; in the first process only."""
        ...


def tell(console: Console, line: str) -> None:
    """Prints a line; names in it are no markup, and what a terminal would take for a command is spelt out."""
    console.out(spelled(line, backslash=False), highlight=False)


def create_task(recipe: Recipe) -> Task:
    """The task that ``recipe.task`` names, its data opened."""
    module, name = TASKS[recipe.task].split(":")
    return getattr(importlib.import_module(module), name)(recipe)


def log_column(name: str) -> str:
    """Of a mean over the training images; an accuracy says that it is on random views, not on photos as they are."""
    return RANDOM_VIEWS + name if name == "top1" else name


def log_columns(measures: Sequence[str], validate: bool) -> tuple[str, ...]:
    """The columns of ``log.csv``, where ``measures`` are the task's."""
    names = ("loss", *measures)
    held_out = tuple(HELD_OUT + name for name in names) if validate else ()
    return ("epoch", "lr", *map(log_column, names), *held_out, "images", "seconds", "images_per_second")


def log_rows(out: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a run's ``log.csv``, one per epoch, each of numbers in ``columns``.

    Raises DasExplainError where it is gone, or no such table: somebody has changed it.
    """
    path = out / LOG
    try:
        text = read_regular(path, "log of a training run", most=MOST_LOGGED).decode("utf-8")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows = list(reader)
        if not rows or set(reader.fieldnames or ()) != set(columns) or not all(map(_is_epoch, rows)):
            raise ValueError
    except (UsageError, ValueError, csv.Error):
        raise DasExplainError(
            f"{path} is no log of this run any more: put it back, or --no-resume trains anew"
        ) from None
    return rows


def _is_epoch(row: dict[str, str]) -> bool:
    """Whether a row of ``log.csv`` has a number in every column and none beyond; raises ValueError for other text."""
    numbers = {name: float(value) for name, value in row.items() if isinstance(value, str)}
    return len(numbers) == len(row) and int(row["epoch"]) > 0 and math.isfinite(numbers["seconds"])
