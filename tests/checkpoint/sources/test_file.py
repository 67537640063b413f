"""Model directories, weight files and the user's own Python, as ``load_model`` opens them; a config may be hostile."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from das_explain.checkpoint.load import load_model, save_model
from das_explain.data.geometry import Geometry, Preprocess
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn import create_model

LABELS = ["ant", "bee", "cat", "dog"]


def network(attention: str = "none", **arguments: Any) -> nn.Module:
    torch.manual_seed(3)
    return create_model("mobilenet_v2", attention, 4, **arguments)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "net.pth"
    torch.save({"state_dict": {f"module.{key}": value for key, value in network().state_dict().items()}}, path)
    return path


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gated") / "net.safetensors"
    save_file(network("das", alpha=0.5, gates=("features.3", "features.13")).state_dict(), path)
    return path


def refused(spec: str, **options: Any) -> str:
    with pytest.raises(DasExplainError) as error:
        load_model(spec, device="cpu", **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- FILE@ARCH


def test_a_weight_file(plain: Path) -> None:
    model = load_model(f"mine={plain}@mobilenet_v2?size=96", device="cpu")
    assert (model.name, model.labels, model.config["num_classes"]) == ("mine", None, 4)
    assert model.preprocess == Preprocess(Geometry((96, 96), 110))
    assert not model.network.training
    assert model.config["notes"] == [f"{plain}: taken from entry state_dict, prefix module."]
    assert all(torch.equal(a, b) for a, b in zip(model.network.state_dict().values(), network().state_dict().values()))


def test_an_epoch_among_the_weights_is_left_out_and_said(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({**network().state_dict(), "epoch": 3}, path)
    model = load_model(f"{path}@mobilenet_v2?size=32", device="cpu")
    assert model.config["notes"] == [f"{path}: left out, as no part of the network: 1 key (epoch)"]
    torch.save({**network().state_dict(), "epoch": torch.tensor(3)}, path)
    assert "does not fit mobilenet_v2: 1 foreign key (epoch); all else fits: " in refused(f"{path}@mobilenet_v2")


def test_arguments_of_a_gated_file_are_read_off_it(gated: Path) -> None:
    model = load_model(f"{gated}@mobilenet_v2:das", device="cpu")
    assert model.config["arguments"] == {"gates": ("features.3", "features.13"), "alpha": 0.5}
    assert model.network.features[13].gate.pointwise.weight.shape == (48, 96, 1, 1)


def test_arguments_that_contradict_the_file(gated: Path) -> None:
    text = refused(f"{gated}@mobilenet_v2:das?alpha=0.25")
    assert "does not fit mobilenet_v2 with attention das: " in text
    assert "(features.3.gate.weight is 24x12x3x3, not 24x6x3x3" in text


def test_the_wrong_architecture_is_answered_with_the_right_one(plain: Path, gated: Path) -> None:
    assert refused(f"{plain}@mobilenet_v2:das").endswith(f"; it is mobilenet_v2: ask for {plain}@mobilenet_v2")
    assert refused(f"{gated}@mobilenet_v2").endswith(f"; it is mobilenet_v2:das: ask for {gated}@mobilenet_v2:das")
    text = refused(f"{plain}@resnet18")
    assert re.search(
        r"does not fit resnet18: 102 keys missing \(conv1.weight, bn1.weight, bn1.bias and 99 more\), ", text
    )
    assert text.endswith(f"; it is mobilenet_v2: ask for {plain}@mobilenet_v2")
    with pytest.raises(UsageError, match=r"say which network it belongs to, .*@ARCH\[:ATTENTION\]; it is mobilenet_v2"):
        load_model(str(plain))


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        ("@vgg16", "unknown architecture 'vgg16'; known are resnet18, "),
        ("@resnet18:sad", "unknown attention 'sad'; known are none, das"),
        ("@mobilenet_v2?stem=small", "mobilenet_v2 with attention none takes no 'stem'; it takes no arguments"),
        ("@mobilenet_v2?alpha=0.1", "takes no 'alpha'"),
        ("@mobilenet_v2:das?alpha=true", "alpha must be a number"),
        ("@mobilenet_v2:das?alpha=3", "cannot build mobilenet_v2 with attention das: alpha must lie in (0, 1], not 3"),
        ("@mobilenet_v2:das?gates=1,2", "gates must be names of places"),
        ("@mobilenet_v2:das?gates=features.40", "mobilenet_v2 has no gate place 'features.40'"),
        ("@mobilenet_v2?size=0", "size=0 must be a side or HEIGHTxWIDTH, in pixels"),
        ("@mobilenet_v2?size=99999", "size=99999 must be a side"),
        ("@mobilenet_v2?size=1x2x3", "size=1x2x3 must be a side"),
    ],
)
def test_malformed_requests(plain: Path, tail: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        load_model(f"{plain}{tail}", device="cpu")
    assert message in str(error.value)


def test_names_of_classes_for_a_weight_file(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(LABELS))
    (tmp_path / "few.txt").write_text("ant\nbee\n")
    spec = f"{plain}@mobilenet_v2"
    assert load_model(spec, labels=LABELS, device="cpu").labels == LABELS
    assert load_model(spec, labels=tmp_path / "names.txt", device="cpu").labels == LABELS
    assert load_model(f"{spec}?labels={tmp_path / 'names.txt'}", device="cpu").labels == LABELS
    assert "few.txt names 2 classes, but the model has 4" in refused(spec, labels=tmp_path / "few.txt")
    assert "names 3 classes, but the model has 4" in refused(spec, labels=LABELS[:3])
    copied = tmp_path / "net.pth"
    copied.write_bytes(plain.read_bytes())
    copied.with_suffix(".labels.txt").write_text("\n".join(LABELS))
    assert load_model(f"{copied}@mobilenet_v2", device="cpu").labels == LABELS


# --- python:


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
            "the network must return logits (N, classes); for one image it returned a tensor of shape (1, 2, 224, 224)",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
def test_your_own_mistakes(module: str, factory: str, message: str) -> None:
    assert message.format(module) in refused(f"python:{module}:{factory}")


def test_no_such_module() -> None:
    assert "cannot import no_such_thing:x: ModuleNotFoundError: " in refused("python:no_such_thing:x")


# --- model directories


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
    ({"format": ..., "model_type": "vit"}, "no entry 'format' (it is one of transformers')"),
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
    ({"preprocess": {"size": [10**9, 10**9]}}, "preprocess.size must be a side or [height, width] in 1..8192"),
    ({"preprocess": {"size": "224"}}, "preprocess.size must be a side"),
    ({"preprocess": {"resize": -1}}, "preprocess.resize must be a side in 1..8192, not -1"),
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
    ({"attention": "none"}, "does not fit mobilenet_v2: 66 foreign keys (features.1.gate.depthwise.bias, "),
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
