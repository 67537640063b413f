"""The folder of a training run: whose it is, whether a run goes on in it, and which of its files may be removed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from das_explain.checkpoint.save import CARD, CONFIG, WEIGHTS
from das_explain.errors import DasExplainError, UsageError
from das_explain.files import is_regular, json_object, write_json
from das_explain.folders import check_folder, files_below, inside, remove_written
from das_explain.train.card import versions
from das_explain.train.schema import Recipe
from das_explain.train.task import BOARD, CHECKPOINT, DETECTIONS, LOG, MODEL, PREDICTIONS, STATE, Task

FREE = ("description", "loop.workers")  # settings that change no result: a run goes on with others
VERSIONS = ("das-explain", "torch", "torchvision", "lightning")
FILES = (LOG, CHECKPOINT, PREDICTIONS, DETECTIONS)


def identity_of(recipe: Recipe, task: Task) -> dict[str, Any]:
    """What must be equal for a run to go on: the recipe, but for settings that change no result, and the data."""
    return {"recipe": recipe.to_dict(), "data": task.fingerprints, "labels": task.labels}


def check_out(out: Path) -> dict[str, Any] | None:
    """What ``run.json`` says of a training run in ``out``; ``None`` where none is.

    Raises UsageError for a folder that cannot be written, or that holds files of a run's names which are not ours, or
    folders, pipes and devices of such names; DasExplainError for links in it that lead elsewhere.
    """
    check_folder(out)
    for name in (STATE, *FILES, MODEL, BOARD):
        inside(out, name)
    for name in (STATE, *FILES):
        if os.path.lexists(out / name) and not is_regular(out / name):
            raise UsageError(f"{out / name} is no file: move it elsewhere, or name another --out")
    there = json_object(out / STATE, STATE)
    if {"recipe", "data", "labels"} <= there.keys() and isinstance(there["recipe"], dict):
        return there
    if taken := [name for name in (STATE, *FILES, MODEL, BOARD) if os.path.lexists(out / name)]:
        raise UsageError(f"{out / taken[0]} is not of a training run: name another --out")
    return None


def check_same_run(out: Path, identity: dict[str, Any]) -> None:
    """Raises DasExplainError where ``out`` holds another run, with the first setting that differs."""
    there = check_out(out)
    if there is None:
        return
    here, there = _flat(identity), _flat({key: there[key] for key in there.keys() - {"made_by"}})
    for key in {**here, **there}:
        if here.get(key) != there.get(key) and key.removeprefix("recipe.") not in FREE:
            change = f"{key.removeprefix('recipe.')} is {there.get(key)!r} there, {here.get(key)!r} now"
            raise DasExplainError(
                f"{out} holds another run ({change}): another --out keeps it, --no-resume replaces it"
            )


def record_versions(out: Path, identity: dict[str, Any]) -> list[str]:
    """Writes ``run.json``, with all versions that the run has been trained under (``made_by``), the last one last.

    What people are told where it goes on under other ones than before.
    """
    there, found = check_out(out) or {}, versions()
    now = {name: found.get(name, "not installed") for name in VERSIONS}
    before = [each for each in there.get("made_by", []) if isinstance(each, dict)]
    made_by = before if now in before[-1:] else [*before, now]
    write_json(out / STATE, {**identity, "made_by": made_by})
    if len(made_by) < 2:
        return []
    told = [", ".join(f"{name} {version}" for name, version in each.items()) for each in made_by]
    return [f"the run goes on under other versions: {'; '.join(told[:-1])} before, {told[-1]} now"]


def clear(out: Path) -> None:
    """Removes what a training run has written, ``run.json`` last, and nothing else. Raises as ``check_out``."""
    if check_out(out) is None:
        return
    events = [name for name in files_below(out / BOARD) if name.startswith("events.out.tfevents.")]
    model = (f"{MODEL}/{name}" for name in (CONFIG, CARD, WEIGHTS))
    remove_written(out, [*model, *(f"{BOARD}/{name}" for name in events), *FILES])
    remove_written(out, [STATE])


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat
