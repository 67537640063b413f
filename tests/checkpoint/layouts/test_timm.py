"""Folders as timm writes them; their config may be hostile, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from das_explain.checkpoint.fingerprint import fingerprint
from das_explain.checkpoint.load import load_model, save_model
from das_explain.checkpoint.model import LoadedModel
from tests.checkpoint.refusals import refused

timm = pytest.importorskip("timm")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(8)
    return timm.create_model("test_resnet", num_classes=3)


@pytest.fixture
def folder(tmp_path: Path, network: nn.Module) -> Path:
    """As timm's own ``save_for_hf`` writes it."""
    timm.models.save_for_hf(
        network, tmp_path / "net", model_config={"label_names": ["a", "b", "c"]}, safe_serialization=True
    )
    return tmp_path / "net"


def changed(folder: Path, change: dict[str, Any]) -> str:
    config = {**json.loads((folder / "config.json").read_text()), **change}
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))
    return str(folder)


def test_what_timm_has_saved(folder: Path, network: nn.Module) -> None:
    model = load_model(str(folder), device="cpu")
    assert (model.name, model.labels, model.fingerprint) == ("net", ["a", "b", "c"], fingerprint(network))
    assert model.config["architecture"] == "timm:test_resnet"
    resize, crop, _, normalize = timm.data.create_transform(**timm.data.resolve_data_config(model=network)).transforms
    assert (model.preprocess.geometry.size, model.preprocess.geometry.resize) == (crop.size, resize.size)
    assert list(model.preprocess.mean) == pytest.approx(normalize.mean.tolist())
    x = torch.randn(2, 3, 160, 160)
    assert torch.equal(model.network(x), network.eval()(x))
    assert model.assumptions == []


def test_the_folder_as_timm_itself_names_it(folder: Path, network: nn.Module) -> None:
    model = load_model(f"timm:local-dir:{folder}", device="cpu")
    assert (model.name, model.labels, model.fingerprint) == ("net", ["a", "b", "c"], fingerprint(network))
    assert model.config["architecture"] == "timm:test_resnet"
    assert refused(f"timm:local-dir:{folder}/none").endswith("is no model directory: it has no config.json")


def test_older_folders_keep_their_weights_in_a_pickle(folder: Path, network: nn.Module) -> None:
    (folder / "model.safetensors").unlink()
    assert refused(str(folder)).endswith("is no model directory: it has no model.safetensors")
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    assert load_model(str(folder), device="cpu").fingerprint == fingerprint(network)
    assert "config.json says 37 classes, but no layer in pytorch_model.bin has" in refused(
        changed(folder, {"num_classes": 37})
    )
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert "pytorch_model.bin" in refused(str(folder))


@pytest.mark.parametrize("said", [True, False])
def test_grey_networks(said: bool, tmp_path: Path) -> None:
    network = timm.create_model("test_resnet", num_classes=3, in_chans=1).eval()
    timm.models.save_for_hf(network, tmp_path / "net", safe_serialization=True)
    folder = str(tmp_path / "net") if said else changed(tmp_path / "net", {"model_args": ...})
    model = load_model(folder, device="cpu")
    assert (model.preprocess.mean, model.preprocess.std, model.assumptions) == ((0.5,), (0.5,), [])
    x = torch.randn(2, 1, 160, 160)
    assert torch.equal(model.network(x), network(x))
    again = packed(model, tmp_path)
    assert (again.fingerprint, again.preprocess) == (model.fingerprint, model.preprocess)


def test_grey_networks_with_several_first_convolutions(tmp_path: Path) -> None:
    network = timm.create_model("crossvit_tiny_240", num_classes=3, in_chans=1, depth=[[1, 1, 0]])
    timm.models.save_for_hf(network, tmp_path / "net", safe_serialization=True)
    assert load_model(str(tmp_path / "net"), device="cpu").fingerprint == fingerprint(network)


def packed(model: LoadedModel, folder: Path) -> LoadedModel:
    """The model saved in this project's layout, and read again."""
    config = model.config
    save_model(
        folder / "packed",
        model.network,
        architecture=config["architecture"],
        arguments=config["arguments"],
        labels=model.labels,
        num_classes=config["num_classes"],
        preprocess=model.preprocess,
    )
    return load_model(str(folder / "packed"), device="cpu")


def test_it_can_be_packed_and_read_again(folder: Path, tmp_path: Path) -> None:
    model = load_model(str(folder), device="cpu")
    again = packed(model, tmp_path)
    assert (again.fingerprint, again.labels, again.preprocess) == (model.fingerprint, model.labels, model.preprocess)


def test_words_for_the_classes_go_before_ids(folder: Path) -> None:
    words = {"label_names": ["n1", "n2", "n3"], "label_descriptions": {"n1": "cat", "n2": "dog", "n3": "crane"}}
    assert load_model(changed(folder, words), device="cpu").labels == ["cat", "dog", "crane"]
    ids = {"label_names": ["n01440764", "n01443537", "n01484850"], "label_descriptions": ...}
    assert load_model(changed(folder, ids), device="cpu").labels is None


def test_the_folder_says_how_photos_are_prepared(folder: Path) -> None:
    data = {"input_size": [3, 64, 96], "crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bicubic"}
    preprocess = load_model(changed(folder, {"pretrained_cfg": data}), device="cpu").preprocess
    assert (preprocess.geometry.size, preprocess.geometry.fit) == ((64, 96), "squash")
    assert preprocess.geometry.interpolation == "bicubic"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "resnet18"}, "model.safetensors does not fit timm:resnet18: "),
        ({"architecture": "hf-hub:someone/evil"}, "config.json: timm has no model 'hf-hub:someone/evil'"),
        ({"architecture": ["x"]}, "config.json: architecture must be a text"),
        ({"num_classes": 10**12}, "config.json: num_classes must lie in 1..1000000, not 1000000000000"),
        ({"num_classes": 37}, "config.json says 37 classes, but no layer in model.safetensors has as many"),
        ({"model_args": {"checkpoint_path": "/etc/passwd"}}, "takes no argument 'checkpoint_path'"),
        ({"model_args": {"pretrained_cfg_overlay": {}}}, "takes no argument 'pretrained_cfg_overlay'"),
        ({"model_args": {"features_only": True}}, "takes no argument 'features_only'"),
        ({"model_args": {"act_layer": {"x": 1}}}, "takes no argument 'act_layer'"),
        (
            {"model_args": {"in_chans": 4}},
            "for images of 4 channels; only grey (1) and RGB (3) images can be explained",
        ),
        ({"model_args": {"in_chans": [3]}}, "for images of [3] channels; only grey (1) and RGB (3)"),
        ({"pretrained_cfg": {"input_size": [4, 64, 64]}}, "takes images of 4 channels; only grey (1) and RGB (3)"),
        ({"model_args": {"no_such": 4}}, "timm cannot build test_resnet: TypeError"),
        ({"model_args": {"block_reduce_first": 0}}, "timm cannot build test_resnet: ZeroDivisionError"),
        ({"model_args": {"channels": []}}, "timm cannot build test_resnet: IndexError"),
        ({"model_args": {"layers": [10**9] * 4}}, "timm:test_resnet has no argument as large as 1,000,000,000"),
        ({"model_args": {"layers": [10**400] * 4}}, "has no argument as large as a number of many digits"),
        ({"model_args": {"layers": [20_000] * 4}}, "config.json: the network that it describes has over 11,"),
        ({"model_args": {"channels": [100_000] * 4}}, "config.json: the network that it describes has over 11,"),
        ({"architecture": "vit_giant_patch14_dinov2"}, "config.json: the network that it describes has over 11,"),
        ({"pretrained_cfg": {"crop_pct": 1e-320}}, "config.json: pretrained_cfg is not as timm writes it"),
        ({"pretrained_cfg": {"input_size": [3, 10**9, 10**9]}}, "preprocess.size must be a side or [height, width]"),
        ({"pretrained_cfg": {"input_size": "x"}}, "pretrained_cfg is not as timm writes it"),
        ({"pretrained_cfg": {"std": [0, 0, 0]}}, "preprocess.std must be three positive numbers"),
        ({"label_names": ["a"]}, "config.json names 1 classes, but the model has 3"),
    ],
)
def test_a_hostile_config(folder: Path, change: dict[str, Any], message: str) -> None:
    assert message in refused(changed(folder, change))


def test_without_timm_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    assert refused(str(folder)) == "a timm: model needs the package timm: pip install 'das-explain[timm]'"
