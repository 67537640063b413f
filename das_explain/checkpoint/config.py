"""``config.json`` of a model directory: what its weights are.

It may come from a stranger, so every value is checked before it is used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from das_explain.checkpoint.build import MAX_CLASSES, classes_answered
from das_explain.checkpoint.labels import check_labels
from das_explain.data.geometry import FILTERS, Preprocess
from das_explain.errors import DasExplainError
from das_explain.files import read_regular

FORMAT = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
"""The files of a model directory; no other is read, whatever the config says."""
MAX_BYTES = 64 * 2**20
MAX_SIDE = 2048  # of the frame that a network sees; ResNet-50 takes some GB a photo there
MAX_RESIZE = 2 * MAX_SIDE
MAX_VALUE = 1e6  # of mean and std; photos have values in [0, 1], or in 0..255
TASKS = ("classification", "detection")


@dataclass(frozen=True)
class ModelConfig:
    """What ``config.json`` says. ``arguments`` are checked by ``build``, where the network is known."""

    architecture: str
    num_classes: int
    attention: str = "none"
    arguments: dict[str, Any] = field(default_factory=dict)
    labels: list[str] | None = None
    preprocess: Preprocess = field(default_factory=Preprocess)
    training: dict[str, Any] | None = None
    task: str = "classification"

    def to_json(self) -> str:
        """The file's text."""
        values = {
            "format": FORMAT,
            "architecture": self.architecture,
            "attention": self.attention,
            "arguments": self.arguments,
            "num_classes": self.num_classes,
            "labels": self.labels,
            "preprocess": self.preprocess.to_config(),
            "training": self.training,
        }
        if self.task == "detection":
            del values["preprocess"]  # a detector scales and normalises by itself
            values["task"] = self.task
        try:
            return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        except (TypeError, ValueError) as error:
            raise DasExplainError(f"{CONFIG} cannot hold this description of the model: {error}") from None


def read_config(path: Path) -> ModelConfig:
    """Reads and checks ``config.json``.

    Raises:
        DasExplainError: not JSON, another format, or a value of the wrong kind; the message names file and entry.
    """
    return check_config(read_json(path), path)


def read_json(path: Path) -> Any:
    """What a JSON file of a stranger holds. Raises DasExplainError when it is too large or no JSON."""
    try:
        return json.loads(read_regular(path, "model's description", most=MAX_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise DasExplainError(f"{path} cannot be read as JSON: {str(error).splitlines()[0]}") from None


def check_config(values: Any, path: Path) -> ModelConfig:
    """What ``config.json`` held, checked; errors as ``read_config``'s."""
    if not isinstance(values, dict) or "format" not in values:
        raise DasExplainError(f"{path} does not describe a das-explain model: it has no entry 'format'")
    if values["format"] != FORMAT or isinstance(values["format"], bool):
        raise DasExplainError(f"{path} has format {values['format']!r}; this version of das-explain reads {FORMAT}")

    def entry(key: str, kind: type, default: Any = None) -> Any:
        value = values.get(key, default)
        if type(value) is not kind:
            raise DasExplainError(f"{path}: {key} must be {_KIND[kind]}, not {_brief(value)}")
        return value

    num_classes = entry("num_classes", int)
    if not 1 <= num_classes <= MAX_CLASSES:
        raise DasExplainError(f"{path}: num_classes must lie in 1..{MAX_CLASSES}, not {num_classes}")
    labels = values.get("labels")
    task = entry("task", str, "classification")
    if task not in TASKS:
        raise DasExplainError(f"{path}: task must be {' or '.join(TASKS)}, not {_brief(task)}")
    return ModelConfig(
        architecture=entry("architecture", str),
        num_classes=num_classes,
        attention=entry("attention", str, "none"),
        arguments=entry("arguments", dict, {}),
        labels=None if labels is None else check_labels(labels, str(path), classes_answered(num_classes)),
        preprocess=check_preprocess(entry("preprocess", dict, {}), path),
        training=None if values.get("training") is None else entry("training", dict),
        task=task,
    )


def check_preprocess(values: Mapping[str, Any], path: Path | str) -> Preprocess:
    """The entry ``preprocess``, checked; missing parts are ImageNet's. Raises DasExplainError that names ``path``."""

    def check(key: str, good: bool, what: str) -> None:
        if key in values and not good:
            raise DasExplainError(f"{path}: preprocess.{key} must be {what}, not {_brief(values[key])}")

    size, resize = values.get("size"), values.get("resize")
    sides = size if isinstance(size, list) and len(size) == 2 else [size]
    check("size", all(map(_side, sides)), f"a side or [height, width] in 1..{MAX_SIDE}")
    check("resize", _side(resize, MAX_RESIZE), f"a side in 1..{MAX_RESIZE}")
    filters = ", ".join(FILTERS)
    check("interpolation", isinstance(values.get("interpolation"), str) and values["interpolation"] in FILTERS, filters)
    check("fit", values.get("fit") in ("crop", "squash"), "crop or squash")
    check("mean", _channels(values.get("mean"), -math.inf), "three numbers, or one for grey images")
    check("std", _channels(values.get("std"), 0), "three positive numbers, or one for grey images")
    if "mean" in values and "std" in values:
        check("std", len(values["std"]) == len(values["mean"]), "as many numbers as preprocess.mean")
    return Preprocess.from_config(dict(values))


def _side(value: Any, most: int = MAX_SIDE) -> bool:
    return type(value) is int and 1 <= value <= most


def _channels(value: Any, above: float) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (1, 3)
        and all(type(v) in (int, float) and above < v <= MAX_VALUE and v >= -MAX_VALUE for v in value)  # NaN is not
    )


_KIND = {int: "a whole number", str: "a text", dict: "an object"}


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
