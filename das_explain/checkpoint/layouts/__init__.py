"""Folders that hold a network, whoever wrote them: a file per layout, told apart by what ``config.json`` says.

All have their weights in ``model.safetensors``, which is data and nothing else; of timm's and transformers' older
folders, which have none, ``pytorch_model.bin`` is read as any weight file is: as tensors, without running what is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from das_explain.checkpoint.config import CARD, CONFIG, WEIGHTS, check_config, read_json
from das_explain.checkpoint.layouts import own, timm, transformers
from das_explain.checkpoint.layouts.weights import weights_file
from das_explain.checkpoint.opened import Opened
from das_explain.errors import DasExplainError

READERS: dict[str, Callable[[Path, dict[str, Any]], Opened]] = {
    "das-explain": own.read,
    "timm": timm.read,
    "transformers": transformers.read,
}
FILES = (CONFIG, WEIGHTS, CARD, transformers.PREPROCESSOR)
"""The files of any layout that are read, and, without ``WEIGHTS``, ``weights.PICKLED``; a folder may hold more."""


def read_folder(directory: Path) -> Opened:
    """The network in a folder of any layout.

    Raises:
        DasExplainError: a file is missing or broken, or the weights are not what the config says.
    """
    if not (directory / CONFIG).is_file():
        raise DasExplainError(f"{directory} is no model directory: it has no {CONFIG}")
    values = read_json(directory / CONFIG)
    layout, weights = layout_of(values), weights_file(directory)
    if not weights.is_file() or (layout == "das-explain" and weights.name != WEIGHTS):
        parts = next(directory.glob("*.index.json"), None)
        hint = f"; {parts.name} says that they are in parts: save them in one file" if parts else ""
        raise DasExplainError(f"{directory} is no model directory: it has no {WEIGHTS}{hint}")
    return READERS[layout](directory, values)


def layout_of(values: Any) -> str:
    """Whose ``config.json`` it is: a key of ``READERS``; what is nobody's counts as ours, whose reader says so."""
    if isinstance(values, dict) and "format" not in values:
        if "model_type" in values:
            return "transformers"
        if "architecture" in values and ("pretrained_cfg" in values or "num_features" in values):
            return "timm"
    return "das-explain"


def task_of_folder(directory: Path) -> str:
    """``classification`` or ``detection``, told by the config alone."""
    values = read_json(directory / CONFIG)
    if layout_of(values) != "das-explain":
        return "classification"
    return check_config(values, directory / CONFIG).task
