"""``model.safetensors`` of a folder, and the look at it before a network of the size that a config claims is built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from das_explain.checkpoint.config import CONFIG, WEIGHTS
from das_explain.checkpoint.files import read_weights
from das_explain.checkpoint.wrappers import Candidate
from das_explain.errors import DasExplainError


def folder_weights(directory: Path) -> list[Candidate]:
    """The one reading of a folder's weights: their keys are the network's, no wrapper is peeled."""
    return [Candidate(reading.state) for reading in read_weights(directory / WEIGHTS)[:1]]


def check_class_count(directory: Path, readings: Sequence[Candidate], num_classes: int) -> None:
    """Raises DasExplainError where no layer of the weights has as many rows as the config says there are classes."""
    rows = {tensor.shape[0] for tensor in readings[0].state.values() if tensor.dim()}
    if num_classes not in rows:
        raise DasExplainError(f"{directory / CONFIG} says {num_classes} classes, but no layer in {WEIGHTS} has as many")
