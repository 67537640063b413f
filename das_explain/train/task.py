"""What is learned: a task knows its data, its network, one training step and its test; ``run`` does the rest.

A task is one file here and one line in ``TASKS``.
"""

from __future__ import annotations

import csv
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from torch import nn

from das_explain.text import spelled
from das_explain.train.schema import Recipe

if TYPE_CHECKING:
    from rich.console import Console

    from das_explain.train.module import TrainingModule

STATE, LOG, CHECKPOINT, PREDICTIONS, MODEL = "run.json", "log.csv", "last.ckpt", "predictions.csv", "model"
DETECTIONS, BOARD = "detections.json", "tensorboard"
"""What a run's folder holds."""
RANDOM_VIEWS = "random_views_"  # before the name of an accuracy in the log that is on random training views
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


def log_rows(out: Path) -> list[dict[str, str]]:
    """The rows of a run's ``log.csv``, one per epoch."""
    with (out / LOG).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
