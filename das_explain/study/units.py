"""Units of a study: a copy of a design is one training run, in one folder, resumable and never repeated."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from das_explain.checkpoint.config import CONFIG, WEIGHTS, read_json
from das_explain.errors import DasExplainError, UsageError
from das_explain.files import sha256_of
from das_explain.study.schema import Study
from das_explain.train.folder import check_same_run, identity_of
from das_explain.train.recipe import load_recipe
from das_explain.train.run import is_finished, train
from das_explain.train.schema import Recipe
from das_explain.train.task import CHECKPOINT, MODEL, Task, create_task

KEEP = ("none", "last", "all")
MOST_SECONDS = 1e10  # of a training: three hundred years
PATIENCE = 60.0  # seconds for a unit's process to end that was left behind by a study that was killed


def check_keep(keep: str) -> None:
    """Raises UsageError for what is none of ``KEEP``."""
    if keep not in KEEP:
        raise UsageError(f"--keep {keep!r} is unknown; choose among {', '.join(KEEP)}")


@dataclass(frozen=True)
class Unit:
    """Plain values, so that it pickles: what ``das-explain train RECIPE --set ... --seed SEED --out FOLDER`` is given."""

    design: str
    seed: int
    recipe: str
    settings: tuple[str, ...]
    folder: Path

    @property
    def name(self) -> str:
        """``DESIGN-SEED``, that of its folder."""
        return f"{self.design}-{self.seed}"

    @property
    def model(self) -> Path:
        """Its model directory, once it is finished."""
        return self.folder / MODEL

    @property
    def finished(self) -> bool:
        """Whether it has been trained and tested."""
        return is_finished(self.folder)

    @property
    def has_weights(self) -> bool:
        """Whether the weights are there: a study may have let them go."""
        return (self.model / WEIGHTS).is_file()

    def load(self) -> Recipe:
        """Its recipe."""
        return load_recipe(self.recipe, [*self.settings, f"seed={self.seed}"])

    def command(self) -> list[str]:
        """How the same unit is trained by hand."""
        words = ["das-explain", "train", self.recipe]
        for setting in self.settings:
            words += ["--set", setting]
        return [*words, "--seed", str(self.seed)]


def units_of(study: Study, out: Path) -> list[Unit]:
    """Every unit: the first copy of each design, then the second, so that a study that is stopped has compared all."""
    return [
        Unit(design, seed, study.recipe, tuple(study.settings(design)), out / "units" / f"{design}-{seed}")
        for seed in range(study.copies)
        for design in study.designs
    ]


def check_units(units: Sequence[Unit]) -> None:
    """Raises DasExplainError if a folder holds another run than the unit's, or does not say how it was trained; each kind
    of data is opened once."""
    tasks: dict[str, Task] = {}
    for unit in units:
        if not unit.folder.is_dir():
            continue
        recipe = unit.load()
        kind = json.dumps([recipe.task, recipe.to_dict()["data"]], sort_keys=True)
        if kind not in tasks:
            tasks[kind] = create_task(recipe)
        check_same_run(unit.folder, identity_of(recipe, tasks[kind]))
        if unit.finished:
            training_of(unit)


def train_unit(unit: Unit, keep: str = "last", workers: int | None = None) -> str | None:
    """Trains a unit, or goes on with it; ``None``, or what went wrong, on one line. Its progress goes to FOLDER.log.

    ``workers``: decoding processes, where the recipe's are not what this process has room for; they change no result.
    """
    recipe = unit.load()
    if workers is not None:
        recipe = replace(recipe, loop=replace(recipe.loop, workers=workers))
    unit.folder.parent.mkdir(parents=True, exist_ok=True)
    with unit.folder.with_name(f"{unit.folder.name}.log").open("a", encoding="utf-8") as log:
        console = Console(file=log, width=160)
        try:
            command = shlex.join(unit.command())
            train(recipe, unit.folder, console=console, command=command, patience=PATIENCE)
        except DasExplainError as error:
            if error.exit_code > 128:  # it was stopped, and the study with it
                raise
            console.print(str(error), markup=False)
            return f"{unit.name}: {error}"
    drop_checkpoint(unit, keep)
    return None


def drop_checkpoint(unit: Unit, keep: str) -> None:
    """Lets go what training would go on from, unless ``keep`` is ``all``."""
    if keep != "all":
        (unit.folder / CHECKPOINT).unlink(missing_ok=True)


def training_of(unit: Unit) -> dict[str, Any]:
    """What ``config.json`` of a finished unit says of its training: seconds, machine, accuracy, versions ...

    Raises DasExplainError where it does not say it as ``das-explain train`` does.
    """
    path = unit.model / CONFIG
    try:
        training = read_json(path)["training"]
        told = _is_training(training)
    except (DasExplainError, KeyError, TypeError):
        told = False
    if not told:
        raise DasExplainError(f"{path} does not say how it was trained: delete {unit.folder} to train it again")
    return {**training, "seconds": float(training["seconds"])}


def _is_training(training: Any) -> bool:
    """Whether a study can take from it what it shows: seconds, notes, and, where tests were made, their accuracy."""
    if not isinstance(training, dict) or not _is_number(training.get("seconds"), MOST_SECONDS):
        return False
    tests, notes = training.get("accuracy") or {}, training.get("notes") or []
    if not isinstance(tests, dict) or not isinstance(notes, list):
        return False
    return all(isinstance(test, dict) and _is_number(test.get("top1"), 1) for test in tests.values())


def _is_number(value: Any, most: float) -> bool:
    """Whether it is a number from 0 to ``most``; NaN is not, nor is ``true``."""
    return type(value) in (int, float) and 0 <= value <= most


def fingerprint_of(unit: Unit) -> str:
    """SHA-256 of its weights, as a file."""
    return sha256_of(unit.model / WEIGHTS)
