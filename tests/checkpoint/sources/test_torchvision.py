"""torchvision's networks without a network: from torch.hub's cache, or one clear line."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision

from das_explain.checkpoint.labels import imagenet_labels
from das_explain.checkpoint.load import fingerprint, load_model
from das_explain.data.geometry import IMAGENET_MEAN, IMAGENET_STD, Geometry, Preprocess
from das_explain.errors import UsageError
from tests.checkpoint.refusals import refused


class Runs:
    """A pickle of this calls ``os.system``."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


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
        ("torchvision:resnet50?alpha=3", "unknown option 'alpha'; published weights take none"),
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
