"""``load_model`` and ``save_model``: what is stored comes back, and a model is the same wherever it comes from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import das_explain
from das_explain.checkpoint.load import fingerprint, load_model, save_model, warm_start
from das_explain.data.geometry import Geometry, Preprocess
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn import create_model

PREPROCESS = Preprocess(Geometry((64, 96), 80, "bicubic"), (0.1, 0.2, 0.3), (0.9, 0.8, 0.7))


@pytest.fixture(scope="module")
def small() -> nn.Module:
    torch.manual_seed(4)
    network = create_model("mobilenet_v2", "das", 3, alpha=0.1, gates=("features.6", "features.13"))
    network.train()(torch.randn(4, 3, 32, 32))  # running means that are not their start
    return network


def stored(directory: Path, network: nn.Module, **options: Any) -> Path:
    arguments = {"alpha": 0.1, "gates": ("features.6", "features.13")}
    return save_model(directory, network, architecture="mobilenet_v2", attention="das", arguments=arguments, **options)


def test_round_trip(tmp_path: Path, small: nn.Module) -> None:
    directory = stored(
        tmp_path / "runs" / "m1",
        small,
        labels=["ant", "bee", "chat à neuf queues"],
        preprocess=PREPROCESS,
        training={"epochs": 3, "top1": 0.5},
        card="# A card\n",
    )
    assert sorted(path.name for path in directory.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert (directory / "README.md").read_text() == "# A card\n"
    model = das_explain.load_model(str(directory), device="cpu")
    assert (model.name, model.spec) == ("m1", str(directory))
    assert model.labels == ["ant", "bee", "chat à neuf queues"]
    assert model.preprocess == PREPROCESS
    assert model.config["training"] == {"epochs": 3, "top1": 0.5}
    assert model.config["arguments"] == {"alpha": 0.1, "gates": ["features.6", "features.13"], "modulation_scale": 1}
    assert model.fingerprint == fingerprint(small)
    assert list(model.blocks) == [f"features.{i}" for i in (1, 3, 6, 13, 16, 17)]
    assert model.blocks["features.6"] is model.network.features[6]
    assert all(parameter.requires_grad for parameter in model.network.parameters())
    assert not any(module.training for module in model.network.modules())
    x = torch.randn(2, 3, 64, 96)
    assert torch.equal(model.network(x), small.eval()(x))


def test_config_is_as_the_contract_says(tmp_path: Path, small: nn.Module) -> None:
    stored(tmp_path, small)
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "format": 1,
        "architecture": "mobilenet_v2",
        "attention": "das",
        "arguments": {"alpha": 0.1, "gates": ["features.6", "features.13"], "modulation_scale": 1},
        "num_classes": 3,
        "labels": None,
        "preprocess": Preprocess().to_config() | {"size": [224, 224]},
        "training": None,
    }
    assert "mobilenet_v2 with das attention, 3 classes, input 224 x 224." in (tmp_path / "README.md").read_text()


def test_half_precision_is_stored_and_single_comes_back(tmp_path: Path, small: nn.Module) -> None:
    network = create_model("mobilenet_v2", "das", 3, alpha=0.1, gates=("features.6", "features.13"))
    network.load_state_dict(small.state_dict())
    network.features[18][1].running_var.fill_(1e6)  # beyond float16
    tensors = load_file(stored(tmp_path, network, half=True) / "model.safetensors")
    wide = {key for key, tensor in tensors.items() if tensor.dtype == torch.float32}
    assert wide == {"features.18.1.running_var"}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16, torch.float32, torch.int64}
    state = load_model(str(tmp_path), device="cpu").network.state_dict()
    for key, tensor in network.state_dict().items():
        expected = tensor.half().float() if tensor.is_floating_point() and key not in wide else tensor
        assert state[key].dtype == tensor.dtype
        assert torch.equal(state[key], expected), key


def test_wrapped_networks_are_stored_bare(tmp_path: Path, small: nn.Module) -> None:
    wrapped = nn.DataParallel(small) if torch.cuda.is_available() else nn.ModuleDict({"module": small})
    stored(tmp_path, wrapped)
    assert load_model(str(tmp_path), device="cpu").fingerprint == fingerprint(small)


def test_a_second_save_replaces_the_first(tmp_path: Path, small: nn.Module) -> None:
    stored(tmp_path, small, labels=["a", "b", "c"])
    stored(tmp_path, small, labels=["x", "y", "z"])
    assert load_model(str(tmp_path), device="cpu").labels == ["x", "y", "z"]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "vgg16"}, "unknown architecture 'vgg16'"),
        (
            {"attention": "none", "arguments": {}},
            "the network is not mobilenet_v2 with attention none and {}: 22 foreign",
        ),
        ({"arguments": {"alpha": 0.1}}, "keys missing (features.1.gate.weight"),
        ({"labels": ["a", "b"]}, "labels names 2 classes, but the model has 3"),
        ({"training": {"loss": float("nan")}}, "config.json cannot hold this description of the model"),
        ({"training": {"net": nn.Identity()}}, "config.json cannot hold this description of the model"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(
    tmp_path: Path, small: nn.Module, options: dict[str, Any], message: str
) -> None:
    base = {
        "architecture": "mobilenet_v2",
        "attention": "das",
        "arguments": {"alpha": 0.1, "gates": ["features.6", "features.13"]},
    }
    with pytest.raises(DasExplainError) as error:
        save_model(tmp_path / "m", small, **(base | options))
    assert message in str(error.value)
    assert not (tmp_path / "m").exists()


def test_a_diverged_network_is_not_written(tmp_path: Path) -> None:
    network = create_model("mobilenet_v2", "none", 3)
    network.classifier[1].bias.data[1] = float("nan")
    with pytest.raises(DasExplainError, match=r"classifier.1.bias is not finite .* nothing was written"):
        save_model(tmp_path / "m", network, architecture="mobilenet_v2")
    assert not (tmp_path / "m").exists()


def test_a_directory_that_cannot_be_made(tmp_path: Path, small: nn.Module) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DasExplainError, match="cannot write the model directory"):
        stored(tmp_path / "file" / "m", small)


def test_the_fingerprint_by_hand() -> None:
    network = nn.Linear(1, 2)
    network.weight.data[:] = torch.tensor([[1.0], [2.0]])
    network.bias.data[:] = 0
    bias = b"bias torch.float32 (2,)\n" + b"\x00" * 8
    weight = b"weight torch.float32 (2, 1)\n" + b"\x00\x00\x80\x3f\x00\x00\x00\x40"
    assert fingerprint(network) == hashlib.sha256(bias + weight).hexdigest()


def test_the_fingerprint_is_of_values_and_shapes_alone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = fingerprint(network)
    assert fingerprint(network.to(memory_format=torch.channels_last).eval()) == before
    network[1].running_mean[0] = 1e-7
    assert fingerprint(network) != before


def test_the_same_weights_in_another_form_have_the_same_fingerprint(tmp_path: Path, small: nn.Module) -> None:
    state = dict(small.state_dict())
    torch.save({"model": {f"_orig_mod.{key}": tensor for key, tensor in state.items()}}, tmp_path / "w.pth")
    model = load_model(f"{tmp_path / 'w.pth'}@mobilenet_v2:das", device="cpu")
    assert model.fingerprint == fingerprint(small)
    counters = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    torch.save(counters, tmp_path / "old.pth")
    old = load_model(f"{tmp_path / 'old.pth'}@mobilenet_v2:das", device="cpu").network.state_dict()
    assert all(torch.equal(old[key], tensor) for key, tensor in counters.items())
    assert old["features.0.1.num_batches_tracked"].item() == 0


def test_a_thousand_classes_without_names_are_imagenet_s() -> None:
    model = load_model("torchvision:shufflenet_v2_x0_5:none", device="cpu")
    assert model.labels[281] == "tabby"
    assert model.config["notes"] == [
        "torchvision:shufflenet_v2_x0_5:none: 1000 classes without names; taken for ImageNet's"
    ]
    assert load_model("torchvision:shufflenet_v2_x0_5:none?num_classes=9", device="cpu").labels is None


def test_names_blocks_and_devices() -> None:
    spec = "torchvision:mobilenet_v2:none?num_classes=2"
    model = load_model(
        f"a={spec}", name="b", labels=("x", "y"), blocks=["features.18", "features.1.conv"], device="cpu"
    )
    assert (model.name, model.labels) == ("b", ["x", "y"])
    assert list(model.blocks) == ["features.1.conv", "features.18"]
    default = "cuda" if torch.cuda.is_available() else "cpu"
    assert next(load_model(spec).network.parameters()).device.type == default
    with pytest.raises(UsageError, match="unknown device 'quantum'; write cpu, cuda"):
        load_model(spec, device="quantum")
    with pytest.raises(UsageError, match=r"mobilenet_v2 has no block 'layer4'; its blocks are features\.1, "):
        load_model(spec, blocks=["layer4"], device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="mobilenet_v2-none cannot be moved to cuda"):
        load_model("torchvision:mobilenet_v2:none?num_classes=2", device="cuda")


# --- networks in memory


class Tiny(nn.Sequential):
    """Two resolutions, three classes."""

    def __init__(self) -> None:
        pool = nn.AdaptiveAvgPool2d(1)
        super().__init__(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 4, 3, 2), pool, nn.Flatten(), nn.Linear(4, 3))


def test_a_network_in_memory_is_used_as_it_is() -> None:
    network = Tiny().train()
    network[0].weight.requires_grad_(False)
    model = load_model(network, labels=["a", "b", "c"], size=(32, 48), mean=(0.1, 0.2, 0.3), std=(1, 2, 3))
    assert model.network is network
    assert all(module.training for module in network.modules())
    assert [parameter.requires_grad for parameter in network.parameters()] == [False, True, True, True, True, True]
    assert (model.name, model.labels, list(model.blocks)) == ("Tiny", ["a", "b", "c"], ["1", "2"])
    assert model.spec == f"a {Tiny.__module__}.Tiny in memory"
    assert model.config["num_classes"] == 3
    assert model.preprocess == Preprocess(Geometry((32, 48), 37), (0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    assert model.assumptions == []
    assert model.fingerprint == fingerprint(network)
    assert load_model(network, name="mine", size=32, blocks=["0"]).usual_blocks == {"0": network[0]}


def test_a_network_in_memory_that_says_nothing() -> None:
    model = load_model(Tiny())
    assert (model.labels, model.preprocess) == (None, Preprocess())
    assert model.assumptions == [
        f"{model.spec}: nothing says how its input was prepared; taken as 224x224, as ImageNet's usually is"
    ]
    with_stages = create_model("resnet18", "das", 5)
    assert list(load_model(with_stages, size=32).blocks) == ["layer1", "layer2", "layer3", "layer4"]


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (lambda: Tiny().half(), {}, "the network's weights are torch.float16; give one in float32: network.float()"),
        (lambda: torch.jit.script(Tiny()), {}, "the network is TorchScript, which cannot be watched at work"),
        (lambda: nn.Conv2d(3, 2, 1), {}, "the network must return logits (N, classes); it returned"),
        (lambda: nn.Linear(3, 2), {}, "(size=160 says that it takes images of another size)"),
        (Tiny, {"labels": ["a"]}, "names 1 classes, but the model has 3"),
        (Tiny, {"size": (1, 2, 3)}, "size must be a side or (height, width) in pixels, at most 2048, not (1, 2, 3)"),
        (Tiny, {"size": 0}, "size must be a side or (height, width) in pixels, at most 2048, not 0"),
        (Tiny, {"mean": [1, 2]}, "mean must be three numbers, or one for all, not [1, 2]"),
        (Tiny, {"std": [1, 0, 1]}, "std must be three positive numbers, or one for all, not [1, 0, 1]"),
        (Tiny, {"device": "quantum"}, "unknown device 'quantum'"),
        (Tiny, {"blocks": ["9"]}, "has no block '9'; its blocks are 1, 2"),
    ],
)
def test_networks_in_memory_that_are_refused(network, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DasExplainError) as error:
        load_model(network(), **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_the_caller_says_of_the_input_goes_before_the_checkpoint(tmp_path: Path, small: nn.Module) -> None:
    directory = stored(tmp_path, small, preprocess=PREPROCESS)
    model = load_model(str(directory), device="cpu", size=128, mean=[0.5] * 3)
    assert model.preprocess == Preprocess(Geometry((128, 128), 146, "bicubic"), (0.5,) * 3, (0.9, 0.8, 0.7))
    assert load_model(directory, device="cpu").preprocess == PREPROCESS, "a path is a spec"


# --- warm start


def test_warm_start_takes_files_and_specs(tmp_path: Path) -> None:
    plain = create_model("mobilenet_v2", "none", 3)
    torch.save(plain.state_dict(), tmp_path / "w.pth")
    save_model(tmp_path / "m", plain, architecture="mobilenet_v2")
    for weights in (
        tmp_path / "w.pth",
        str(tmp_path / "w.pth"),
        str(tmp_path / "m"),
        f"{tmp_path / 'w.pth'}@mobilenet_v2",
    ):
        network = create_model("mobilenet_v2", "das", 3, init="identity")
        assert len(warm_start(network, weights).gates_kept) == 6
        assert torch.equal(network.classifier[1].weight, plain.classifier[1].weight)
    assert warm_start(create_model("mobilenet_v2", "das", 5), plain.state_dict()).head_skipped == (3, 5)
    with pytest.raises(DasExplainError, match="no such model directory"):
        warm_start(plain, str(tmp_path / "nothing"))
