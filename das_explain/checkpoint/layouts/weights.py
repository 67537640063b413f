"""The weights of a folder, and the look at them before a network of the size that a config claims is built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from das_explain.checkpoint.config import CONFIG, WEIGHTS
from das_explain.checkpoint.files import read_weights
from das_explain.checkpoint.wrappers import Candidate
from das_explain.errors import DasExplainError

PICKLED = "pytorch_model.bin"
"""What timm and transformers kept weights in before there was ``model.safetensors``."""


def weights_file(directory: Path) -> Path:
    """``model.safetensors``, or ``pytorch_model.bin`` where there is only that."""
    pickled = directory / PICKLED
    return pickled if pickled.is_file() and not (directory / WEIGHTS).is_file() else directory / WEIGHTS


def folder_weights(directory: Path) -> list[Candidate]:
    """The one reading of a folder's weights: their keys are the network's, no wrapper is peeled. Nothing is executed."""
    return [Candidate(reading.state) for reading in read_weights(weights_file(directory))[:1]]


def check_class_count(directory: Path, readings: Sequence[Candidate], num_classes: int) -> None:
    """Raises DasExplainError where no layer of the weights has as many rows as the config says there are classes."""
    rows = {tensor.shape[0] for tensor in readings[0].state.values() if tensor.dim()}
    if num_classes not in rows:
        name = weights_file(directory).name
        raise DasExplainError(f"{directory / CONFIG} says {num_classes} classes, but no layer in {name} has as many")
