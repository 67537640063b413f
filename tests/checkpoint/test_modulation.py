"""The range of w_p: what a model directory says of it, and what one that says nothing was trained with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from das_explain.checkpoint.load import load_model, save_model
from das_explain.checkpoint.modulation import arguments_read, arguments_to_write
from das_explain.nn import create_model


def network(**arguments: Any) -> nn.Module:
    torch.manual_seed(0)
    built = create_model("resnet18", "das", 3, gates=("layer4",), **arguments).eval()
    with torch.no_grad():
        built.layer4.gate.modulation.weight.normal_()  # w_p is no longer the same at all taps
    return built


def stored(directory: Path, built: nn.Module, **arguments: Any) -> Path:
    arguments = {"gates": ["layer4"], **arguments}
    return save_model(directory, built, architecture="resnet18", attention="das", arguments=arguments)


def arguments_in(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "config.json").read_text())["arguments"]


def without_key(directory: Path) -> Path:
    """As the first version wrote it."""
    config = json.loads((directory / "config.json").read_text())
    del config["arguments"]["modulation_scale"]
    (directory / "config.json").write_text(json.dumps(config))
    return directory


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_a_directory_says_what_its_network_has(tmp_path: Path, images: torch.Tensor) -> None:
    built = network()
    directory = stored(tmp_path, built)
    assert arguments_in(directory) == {"gates": ["layer4"], "modulation_scale": 1}
    with torch.no_grad():
        assert torch.equal(load_model(directory, device="cpu").network(images), built(images))


@pytest.mark.parametrize("variant", ["c", "d"])
def test_a_directory_that_does_not_say_was_trained_with_2(tmp_path: Path, images: torch.Tensor, variant: str) -> None:
    torch.manual_seed(0)
    built = create_model("resnet18", "das", 3, gates=("layer4",), variant=variant, modulation_scale=2).eval()
    directory = without_key(stored(tmp_path, built, variant=variant, modulation_scale=2))
    model = load_model(directory, device="cpu")
    with torch.no_grad():
        assert torch.equal(model.network(images), built(images))
    assert model.config["arguments"]["modulation_scale"] == 2
    again = save_model(
        tmp_path / "again",
        model.network,
        architecture="resnet18",
        attention="das",
        arguments=model.config["arguments"],
    )
    assert arguments_in(again)["modulation_scale"] == 2  # packed again, it says so


def test_only_gates_with_a_deformable_kernel_have_it() -> None:
    for complete in (arguments_read, arguments_to_write):
        assert complete("das", {"variant": "f"}) == {"variant": "f"}
        assert complete("se", {"reduction": 8}) == {"reduction": 8}
        assert complete("none", {}) == {}
        assert complete("das", {"modulation_scale": 0.5}) == {"modulation_scale": 0.5}
    assert [arguments_read("das", {"variant": letter}).get("modulation_scale") for letter in "abcdefgh"] == [
        None, None, 2, 2, None, None, 2, 2
    ]  # fmt: skip
