"""The user's own Python as a source of networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from das_explain.checkpoint.load import load_model
from tests.checkpoint.refusals import refused

MODULE = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self, classes=3, width=4):
        pool = nn.AdaptiveAvgPool2d(1)
        super().__init__(nn.Conv2d(3, width, 3, 2), nn.ReLU(), pool, nn.Flatten(), nn.Linear(width, classes))

    @classmethod
    def wide(cls):
        return cls(width=8)

def text(): return "no network"
def broken(): raise RuntimeError("on purpose\\nsecond line")
def maps(): return nn.Conv2d(3, 2, 1)
def scripted(): return torch.jit.script(Net())
def traced(): return torch.jit.trace(Net(), torch.zeros(1, 3, 32, 32))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    name = f"nets_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return name


def test_your_own_network(module: str, tmp_path: Path) -> None:
    model = load_model(f"python:{module}:Net?classes=5&size=32x48", device="cpu")
    assert (model.name, model.config["num_classes"], list(model.blocks)) == ("Net", 5, ["1"])
    assert model.preprocess.geometry.size == (32, 48)
    assert model.fingerprint == load_model(f"python:{module}:Net?classes=5", device="cpu").fingerprint
    wide = load_model(f"python:{module}:Net.wide?size=32", device="cpu", blocks=["0"])
    assert (wide.network[0].out_channels, list(wide.blocks)) == (8, ["0"])


def test_your_own_network_with_weights(module: str, tmp_path: Path) -> None:
    model = load_model(f"python:{module}:Net.wide?size=32", device="cpu")
    state = {key: tensor + 1 for key, tensor in model.network.state_dict().items()}
    torch.save({"model": state}, "w.pt")
    loaded = load_model(f"python:{module}:Net.wide@w.pt?size=32", device="cpu")
    assert all(torch.equal(tensor, state[key]) for key, tensor in loaded.network.state_dict().items())
    text = refused(f"python:{module}:Net@w.pt")
    assert f"w.pt does not fit {module}:Net: 3 other shapes (0.weight is 8x3x3x3, not 4x3x3x3" in text
    assert "w.pt has 3 classes, where 9 are expected" in refused(f"python:{module}:Net@w.pt?width=8&classes=9")


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("nothing", "cannot import {0}:nothing: AttributeError: "),
        ("text", "text gave a str, not a torch.nn.Module"),
        ("broken", "broken failed: RuntimeError: on purpose"),
        ("Net?height=3", "Net failed: TypeError: "),
        ("scripted", "scripted gave TorchScript, which cannot be watched at work; give the Python network that it was"),
        ("traced", "traced gave TorchScript, which cannot be watched at work; give the Python network that it was"),
        (
            "maps",
            "the network must return logits (N, classes); it returned a tensor (2, 2, 224, 224)",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
def test_your_own_mistakes(module: str, factory: str, message: str) -> None:
    assert message.format(module) in refused(f"python:{module}:{factory}")


def test_no_such_module() -> None:
    assert "cannot import no_such_thing:x: ModuleNotFoundError: " in refused("python:no_such_thing:x")
