"""Folders on the Hugging Face Hub, from its cache, or one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from das_explain.checkpoint.fingerprint import fingerprint
from das_explain.checkpoint.load import load_model
from das_explain.checkpoint.save import save_model
from das_explain.nn import create_model
from tests.checkpoint.hub_cache import cache
from tests.checkpoint.refusals import refused


def small() -> nn.Module:
    torch.manual_seed(6)
    return create_model("mobilenet_v2", "das", 3)


def test_a_model_directory_on_the_hub(hub: Path, tmp_path: Path) -> None:
    network = small()
    options = {"architecture": "mobilenet_v2", "attention": "das", "labels": ["a", "b", "c"]}
    directory = save_model(tmp_path / "m", network, **options)
    cache(hub, "someone/das-net", {path.name: path for path in directory.iterdir()})
    model = load_model("hf:someone/das-net", device="cpu")
    assert (model.name, model.labels, model.fingerprint) == ("das-net", ["a", "b", "c"], fingerprint(network))
    at_commit = load_model(f"hf:someone/das-net@{'c' * 40}", device="cpu")
    assert at_commit.fingerprint == model.fingerprint


def test_the_hub_offline_says_what_to_do(hub: Path, tmp_path: Path) -> None:
    text = refused("hf:someone/das-net")
    assert text.startswith(f"hf:someone/das-net is not in the Hugging Face cache ({hub}) and could not be fetched (")
    assert text.endswith(
        "; download config.json, model.safetensors and, if it has one, preprocessor_config.json of "
        "https://huggingface.co/someone/das-net into a folder and name that"
    )
    (tmp_path / "config.json").write_text("{}")
    cache(hub, "someone/das-net", {"config.json": tmp_path / "config.json"})  # half a download
    assert refused("hf:someone/das-net").startswith("hf:someone/das-net is not in the Hugging Face cache")


def test_a_repository_of_timm_s_layout(hub: Path, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(7)
    network = timm.create_model("test_resnet", num_classes=3)
    (tmp_path / "m").mkdir()
    config = {"architecture": "test_resnet", "num_classes": 3, "pretrained_cfg": {"input_size": [3, 96, 96]}}
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), tmp_path / "m" / "model.safetensors")
    cache(hub, "someone/fine-tuned", {path.name: path for path in (tmp_path / "m").iterdir()})
    model = load_model("hf:someone/fine-tuned", device="cpu")
    assert model.fingerprint == fingerprint(network)
    assert model.preprocess.geometry.size == (96, 96)


def test_a_repository_that_has_its_weights_in_a_pickle(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for only where there is no file of safetensors."""
    import huggingface_hub

    timm = pytest.importorskip("timm")
    torch.manual_seed(7)
    network, remote, asked = timm.create_model("test_resnet", num_classes=3), tmp_path / "m", []
    remote.mkdir()
    (remote / "config.json").write_text('{"architecture": "test_resnet", "num_classes": 3, "pretrained_cfg": {}}')
    torch.save(network.state_dict(), remote / "pytorch_model.bin")

    def snapshot_download(*, allow_patterns: list[str], local_files_only: bool = False, **about: object) -> str:
        if local_files_only:
            raise OSError("not there")
        asked.append("pytorch_model.bin" in allow_patterns)
        into = tmp_path / f"fetched-{len(asked)}"
        into.mkdir()
        for path in remote.iterdir():
            if path.name in allow_patterns:
                (into / path.name).write_bytes(path.read_bytes())
        return str(into)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr("das_explain.checkpoint.sources.hub.is_reachable", lambda: True)
    assert load_model("hf:someone/older", device="cpu").fingerprint == fingerprint(network)
    assert asked == [False, True]


def test_a_repository_of_another_kind(hub: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    save_file({"x": torch.ones(1)}, tmp_path / "model.safetensors")
    cache(hub, "google/bert", {name: tmp_path / name for name in ("config.json", "model.safetensors")})
    text = refused("hf:google/bert")
    assert text.startswith("hf:google/bert: ")
    assert text.endswith("config.json: transformers has no image classifier of model_type 'bert'")
