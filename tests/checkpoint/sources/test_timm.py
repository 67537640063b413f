"""timm's networks without a network: from the Hub's cache, or one clear line."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from das_explain.checkpoint.fingerprint import fingerprint
from das_explain.checkpoint.labels import imagenet_labels
from das_explain.checkpoint.load import load_model
from tests.checkpoint.hub_cache import cache
from tests.checkpoint.refusals import refused


def test_timm_s_weights(hub: Path, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(7)
    network = timm.create_model("test_resnet", pretrained=False)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    cache(hub, "timm/test_resnet.r160_in1k", {"model.safetensors": tmp_path / "model.safetensors"})
    model = load_model("timm:test_resnet", device="cpu")
    assert model.fingerprint == fingerprint(network)
    assert model.labels == imagenet_labels()
    resize, crop, _, normalize = timm.data.create_transform(**timm.data.resolve_data_config(model=network)).transforms
    geometry = model.preprocess.geometry
    assert (geometry.size, geometry.resize, geometry.fit) == (crop.size, resize.size, "crop")
    assert geometry.interpolation == resize.interpolation.value
    assert list(model.preprocess.mean) == pytest.approx(normalize.mean.tolist())
    assert list(model.preprocess.std) == pytest.approx(normalize.std.tolist())
    assert list(model.blocks) == ["layer1", "layer2", "layer3", "layer4"]


def test_timm_offline_says_so(hub: Path) -> None:
    pytest.importorskip("timm")
    text = refused("timm:test_resnet")
    assert text.startswith(f"timm:test_resnet: the weights are not in the Hugging Face cache ({hub}) and could not be")


def test_timm_offline_answers_quickly_with_what_to_put_where(tmp_path: Path, monkeypatch) -> None:
    """On a machine that has no network and does not know it."""
    timm = pytest.importorskip("timm")
    from huggingface_hub import constants

    silent = socket.create_server(("127.0.0.1", 0))  # takes calls and never answers
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    start = time.monotonic()
    text = refused("timm:test_resnet")
    assert time.monotonic() - start < 2
    assert text.endswith(
        "put model.safetensors of https://huggingface.co/timm/test_resnet.r160_in1k anywhere and write timm:test_resnet@FILE, "
        "or config.json and model.safetensors into a folder and name that"
    )
    start = time.monotonic()
    assert "download config.json, model.safetensors and" in refused("hf:someone/net")
    assert time.monotonic() - start < 4
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "model.safetensors")
    there = {"model.safetensors": tmp_path / "model.safetensors"}
    cache(tmp_path / "hub", "timm/test_resnet.r160_in1k", there)
    assert load_model("timm:test_resnet", device="cpu").config["architecture"] == "timm:test_resnet"


def test_timm_without_weights() -> None:
    pytest.importorskip("timm")
    first, second = (
        load_model("timm:test_efficientnet?pretrained=false&num_classes=6", device="cpu") for _ in range(2)
    )
    assert first.fingerprint == second.fingerprint
    assert (first.config["num_classes"], first.labels) == (6, None)
    assert list(first.blocks) == ["blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4"]


def test_timm_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    assert refused("timm:resnet18") == "a timm: model needs the package timm: pip install 'das-explain[timm]'"
