"""Published weights without a network: from the caches of torch.hub and the Hugging Face Hub, or one clear line."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from das_explain.checkpoint.labels import imagenet_labels
from das_explain.checkpoint.load import fingerprint, load_model, save_model
from das_explain.data.geometry import IMAGENET_MEAN, IMAGENET_STD, Geometry, Preprocess
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn import create_model


class Runs:
    """A pickle of this calls ``os.system``."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def refused(spec: str) -> str:
    with pytest.raises(DasExplainError) as error:
        load_model(spec, device="cpu")
    assert "\n" not in str(error.value)
    return str(error.value)


# --- torchvision:


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's folder, empty, on a machine without a network."""

    def no_network(*_, **__):
        raise URLError("[Errno -2] Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", no_network)
    return tmp_path / "hub" / "checkpoints"


def test_torchvision_s_weights(checkpoints: Path) -> None:
    torch.manual_seed(5)
    network = torchvision.models.shufflenet_v2_x0_5(weights=None)
    checkpoints.mkdir(parents=True)
    torch.save(network.state_dict(), checkpoints / "shufflenetv2_x0.5-f707e7126e.pth")
    for spec in ("torchvision:shufflenet_v2_x0_5", "torchvision:shufflenet_v2_x0_5:imagenet1k_v1"):
        model = load_model(spec, device="cpu")
        assert model.fingerprint == fingerprint(network)
        assert model.labels == imagenet_labels()
        assert model.preprocess == Preprocess(Geometry((224, 224), 256, "bilinear"), IMAGENET_MEAN, IMAGENET_STD)
        assert list(model.blocks) == ["conv1", "maxpool", "stage2", "stage3", "conv5"]
        assert model.config["architecture"] == "torchvision:shufflenet_v2_x0_5"
        assert model.config["training"]["source"] == "torchvision:shufflenet_v2_x0_5:IMAGENET1K_V1"
        assert model.config["notes"] == []


def test_the_preprocessing_is_that_of_the_weights(checkpoints: Path) -> None:
    network = torchvision.models.mobilenet_v2(weights=None)
    checkpoints.mkdir(parents=True)
    torch.save(network.state_dict(), checkpoints / "mobilenet_v2-7ebf99e0.pth")
    model = load_model("torchvision:mobilenet_v2:IMAGENET1K_V2", device="cpu")
    assert model.preprocess.geometry == Geometry((224, 224), 232, "bilinear")
    assert model.config["architecture"] == "mobilenet_v2"  # the registry's own: it can be packed and gated
    assert list(model.blocks) == [f"features.{i}" for i in (1, 3, 6, 13, 16, 17)]


def test_torchvision_s_file_in_the_cache_is_not_run(checkpoints: Path, tmp_path: Path) -> None:
    checkpoints.mkdir(parents=True)
    torch.save({"x": Runs(f"touch {tmp_path / 'harm'}")}, checkpoints / "shufflenetv2_x0.5-f707e7126e.pth")
    assert "holds Python objects (posix.system)" in refused("torchvision:shufflenet_v2_x0_5")
    assert not (tmp_path / "harm").exists()


def test_torchvision_offline_says_which_file_to_put_where(checkpoints: Path) -> None:
    file = "resnet18-f37072fd.pth"
    assert refused("torchvision:resnet18") == (
        "torchvision:resnet18 could not be downloaded (URLError: <urlopen error [Errno -2] Name or service not known>)"
        f"; put https://download.pytorch.org/models/{file} at {checkpoints / file} by hand"
    )


def test_torchvision_s_random_weights_are_the_same_each_time() -> None:
    random = torch.random.get_rng_state()
    first, second = (load_model("torchvision:shufflenet_v2_x0_5:none?num_classes=4", device="cpu") for _ in range(2))
    assert first.fingerprint == second.fingerprint
    assert first.config["num_classes"] == first.network.fc.out_features == 4
    assert torch.equal(random, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("torchvision:resnet5O", "torchvision has no classifier 'resnet5O'; did you mean resnet50 or "),
        ("torchvision:fcn_resnet50", "torchvision has no classifier 'fcn_resnet50'"),
        (
            "torchvision:resnet50:V3",
            "resnet50 has no weights 'V3'; it has IMAGENET1K_V1, IMAGENET1K_V2, and none for random",
        ),
        ("torchvision:resnet50:none?alpha=1", "unknown option 'alpha'; it takes num_classes"),
        ("torchvision:resnet50?size=3", "unknown option 'size'; published weights take none"),
        ("torchvision:resnet50:none?num_classes=many", "must be a whole number in 1..1000000, not 'many'"),
        ("timm:resnet5O", "timm has no model 'resnet5O'; did you mean resnet50"),
        ("timm:hf-hub:someone/evil", "timm has no model 'hf-hub:someone/evil'"),
        ("timm:resnet10t?num_classes=3", "num_classes goes with pretrained=false"),
        ("timm:resnet10t?weights=x", "unknown option 'weights'; it takes pretrained, num_classes"),
    ],
)
def test_unknown_names(spec: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        load_model(spec, device="cpu")
    assert message in str(error.value)


# --- timm: and hf:, from the Hub's cache


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hugging Face cache, empty, on a machine that must not ask the network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def cache(hub: Path, repository: str, files: dict[str, Path], commit: str = "c" * 40) -> None:
    """Puts files where the Hub's client would: blobs, and a snapshot of links to them, named by the ref ``main``."""
    root = hub / f"models--{repository.replace('/', '--')}"
    for folder in ("blobs", "refs", f"snapshots/{commit}"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "refs" / "main").write_text(commit)
    for number, (name, source) in enumerate(files.items()):
        (root / "blobs" / f"{number:040x}").write_bytes(source.read_bytes())
        (root / "snapshots" / commit / name).symlink_to(f"../../blobs/{number:040x}")


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
    assert text.endswith("; download config.json and model.safetensors of someone/das-net into a folder and name that")
    (tmp_path / "config.json").write_text("{}")
    cache(hub, "someone/das-net", {"config.json": tmp_path / "config.json"})  # half a download
    assert refused("hf:someone/das-net").startswith("hf:someone/das-net: ")
    assert refused("hf:someone/das-net").endswith("is no model directory: it has no model.safetensors")


def test_a_repository_of_another_kind(hub: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    save_file({"x": torch.ones(1)}, tmp_path / "model.safetensors")
    cache(hub, "google/vit", {name: tmp_path / name for name in ("config.json", "model.safetensors")})
    assert "it has no entry 'format' (it is one of transformers')" in refused("hf:google/vit")


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


def test_timm_without_weights() -> None:
    pytest.importorskip("timm")
    first, second = (
        load_model("timm:test_efficientnet?pretrained=false&num_classes=6", device="cpu") for _ in range(2)
    )
    assert first.fingerprint == second.fingerprint
    assert (first.config["num_classes"], first.labels) == (6, None)
    assert list(first.blocks) == ["bn1", "blocks.1", "blocks.2", "blocks.3", "bn2"]


def test_timm_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    assert refused("timm:resnet18") == "a timm: model needs the package timm: pip install 'das-explain[timm]'"
