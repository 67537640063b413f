"""This project's model directories; a config may be hostile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from das_explain.checkpoint.load import load_model, save_model
from das_explain.nn import create_model
from tests.checkpoint.refusals import refused

LABELS = ["ant", "bee", "cat", "dog"]


def network(attention: str = "none", **arguments: Any) -> nn.Module:
    torch.manual_seed(3)
    return create_model("mobilenet_v2", attention, 4, **arguments)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("stored") / "model"
    return save_model(directory, network("das"), architecture="mobilenet_v2", attention="das", labels=LABELS)


@pytest.fixture
def directory(stored: Path, tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_bytes((stored / "config.json").read_bytes())
    (tmp_path / "model.safetensors").symlink_to(stored / "model.safetensors")
    return tmp_path


HOSTILE = [
    ({"format": 2}, "config.json has format 2; this version of das-explain reads 1"),
    ({"format": ...}, "does not describe a das-explain model: it has no entry 'format'"),
    ({"format": ..., "model_type": "vit"}, "config.json says 2 classes, but no layer in model.safetensors has as many"),
    ({"architecture": "../../bin/sh"}, "config.json: unknown architecture '../../bin/sh'; known are resnet18, "),
    ({"architecture": "python:os:getcwd"}, "config.json: unknown architecture 'python:os:getcwd'"),
    ({"architecture": "torchvision:../x", "attention": "none"}, "torchvision has no classifier '../x'"),
    ({"architecture": ["resnet18"]}, "config.json: architecture must be a text, not ['resnet18']"),
    ({"architecture": ...}, "config.json: architecture must be a text, not None"),
    ({"attention": "evil"}, "config.json: unknown attention 'evil'"),
    ({"arguments": {"num_classes": 3}}, "takes no 'num_classes'"),
    ({"arguments": {"make_gate": "x"}}, "takes no 'make_gate'"),
    ({"arguments": {"backbone": "x"}}, "takes no 'backbone'"),
    ({"arguments": {"alpha": "x"}}, "config.json: cannot build mobilenet_v2 with attention das: "),
    ({"arguments": {"alpha": 1e300}}, "alpha must lie in (0, 1]"),
    ({"arguments": {"gates": 7}}, "gates must be names of places, not 7"),
    ({"arguments": []}, "config.json: arguments must be an object, not []"),
    ({"num_classes": 10**12}, "config.json: num_classes must lie in 1..1000000, not 1000000000000"),
    ({"num_classes": 0}, "num_classes must lie in 1..1000000, not 0"),
    ({"num_classes": True}, "num_classes must be a whole number, not True"),
    ({"num_classes": "4"}, "num_classes must be a whole number, not '4'"),
    ({"num_classes": 37, "labels": None}, "has 4 classes, where 37 are expected (mobilenet_v2 with attention das)"),
    ({"num_classes": 37}, "config.json names 4 classes, but the model has 37"),
    ({"labels": ["a", "b", "c", "\x1b[2J"]}, "'\\x1b[2J' is no class name"),
    ({"labels": ["a", "b", "c", 4]}, "class names must be a list of texts"),
    ({"labels": "abcd"}, "class names must be a list of texts"),
    ({"preprocess": {"size": [10**9, 10**9]}}, "preprocess.size must be a side or [height, width] in 1..2048"),
    ({"preprocess": {"size": "224"}}, "preprocess.size must be a side"),
    ({"preprocess": {"resize": -1}}, "preprocess.resize must be a side in 1..4096, not -1"),
    (
        {"preprocess": {"interpolation": "__class__"}},
        "preprocess.interpolation must be nearest, bilinear, bicubic, lanczos",
    ),
    ({"preprocess": {"interpolation": ["x"]}}, "preprocess.interpolation must be nearest"),
    ({"preprocess": {"fit": "stretch"}}, "preprocess.fit must be crop or squash, not 'stretch'"),
    ({"preprocess": {"std": [0, 1, 1]}}, "preprocess.std must be three positive numbers"),
    ({"preprocess": {"mean": [0.5, 0.5]}}, "preprocess.mean must be three numbers"),
    ({"preprocess": {"mean": [float("nan")] * 3}}, "preprocess.mean must be three numbers"),
    ({"preprocess": None}, "config.json: preprocess must be an object, not None"),
    ({"training": "long"}, "config.json: training must be an object, not 'long'"),
    (
        {"attention": "none", "arguments": {}},
        "does not fit mobilenet_v2: 66 foreign keys (features.1.gate.depthwise.bias, ",
    ),
]


@pytest.mark.parametrize(("change", "message"), HOSTILE, ids=[str(change)[:50] for change, _ in HOSTILE])
def test_a_hostile_config(directory: Path, change: dict[str, Any], message: str) -> None:
    config = {**json.loads((directory / "config.json").read_text()), **change}
    text = json.dumps({key: value for key, value in config.items() if value is not ...})
    (directory / "config.json").write_text(text)
    assert message in refused(str(directory))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[1]", "\xff"])
def test_a_config_that_is_none(directory: Path, text: str) -> None:
    (directory / "config.json").write_bytes(text.encode("latin-1"))
    assert str(directory / "config.json") in refused(str(directory))


def test_only_the_fixed_files_are_read(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    config.update(weights="/etc/passwd", file="../x", auto_map={"AutoModel": "code.Model"})
    (directory / "config.json").write_text(json.dumps(config))
    assert load_model(str(directory), device="cpu").labels == LABELS


def test_missing_files(directory: Path, tmp_path: Path) -> None:
    (directory / "model.safetensors").unlink()
    assert refused(str(directory)).endswith("is no model directory: it has no model.safetensors")
    (directory / "config.json").unlink()
    assert refused(str(directory)).endswith("is no model directory: it has no config.json")
