"""Weight files, as ``load_model`` opens them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from das_explain.checkpoint.fingerprint import fingerprint
from das_explain.checkpoint.load import load_model
from das_explain.checkpoint.torchvision_networks import usual_preprocess
from das_explain.data.geometry import Geometry, Preprocess
from das_explain.errors import UsageError
from das_explain.nn import create_model
from tests.checkpoint.refusals import refused

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
    model = load_model(f"{gated}?size=32", device="cpu")
    assert (model.config["architecture"], model.config["attention"]) == ("mobilenet_v2", "das")
    assert f"{gated}: recognised by its tensors as mobilenet_v2:das" in model.assumptions


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        ("@vgg61", "unknown architecture 'vgg61': neither torchvision nor timm has it"),
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


# --- networks of torchvision and timm


def test_a_weight_file_of_torchvision_s(tmp_path: Path) -> None:
    torch.manual_seed(1)
    trained = torchvision.models.shufflenet_v2_x0_5(num_classes=7)
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "w.pth")
    model = load_model(f"{tmp_path / 'w.pth'}@torchvision:shufflenet_v2_x0_5", device="cpu")
    assert model.fingerprint == fingerprint(trained)
    assert (model.config["architecture"], model.config["num_classes"]) == ("torchvision:shufflenet_v2_x0_5", 7)
    assert model.preprocess == Preprocess()
    assert model.assumptions[0] == (
        f"{model.spec}: nothing says how its input was prepared; taken as 224x224, as "
        "torchvision:shufflenet_v2_x0_5's usually is"
    )
    sized = load_model(f"{tmp_path / 'w.pth'}@torchvision:shufflenet_v2_x0_5?size=64x96", device="cpu")
    assert sized.preprocess.geometry.size == (64, 96)
    assert not any("how its input" in told for told in sized.assumptions)


def test_the_heads_for_training_may_be_left_out(tmp_path: Path) -> None:
    trained = torchvision.models.googlenet(num_classes=3, aux_logits=True, init_weights=False)
    state = trained.state_dict()
    torch.save(state, tmp_path / "with.pth")
    torch.save({key: value for key, value in state.items() if "aux" not in key}, tmp_path / "without.pth")
    for name, heads in (("with", True), ("without", False)):
        model = load_model(f"{tmp_path / name}.pth@torchvision:googlenet?size=64", device="cpu")
        assert model.config["arguments"] == {"aux_logits": heads}
        assert torch.equal(model.network.fc.weight, trained.fc.weight)
        assert model.config["num_classes"] == 3


def test_inception_s_frame_is_its_own(tmp_path: Path) -> None:
    assert usual_preprocess("inception_v3").geometry == Geometry((299, 299), 342)


def test_classes_are_read_off_a_head_that_is_a_convolution(tmp_path: Path) -> None:
    trained = torchvision.models.squeezenet1_1(num_classes=5)
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    model = load_model(f"{tmp_path / 'w.pth'}@torchvision:squeezenet1_1?size=64", device="cpu")
    assert model.config["num_classes"] == 5


def test_a_weight_file_of_timm_s(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(2)
    trained = timm.create_model("test_efficientnet", num_classes=4)
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    model = load_model(f"mine={tmp_path / 'w.safetensors'}@timm:test_efficientnet", device="cpu")
    assert (model.name, model.fingerprint) == ("mine", fingerprint(trained))
    assert model.preprocess.geometry.size == tuple(timm.data.resolve_data_config(model=trained)["input_size"][1:])


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        ("@torchvision:resnet5O", "torchvision has no classifier 'resnet5O'; did you mean resnet50"),
        ("@torchvision:resnet18:emca", "emca is wired through a whole ResNet, so torchvision:resnet18 cannot have it"),
        ("@torchvision:resnet18?stem=small", "torchvision:resnet18 takes no argument stem='small'"),
        ("@timm:resnet5O", "timm has no model 'resnet5O'; did you mean resnet50"),
        ("@timm:resnet18?checkpoint_path=/etc/passwd", "timm:resnet18 takes no argument 'checkpoint_path'"),
        ("@timm:resnet18?pretrained=true", "timm:resnet18 takes no argument 'pretrained'"),
        ("@torchvision", "unknown architecture 'torchvision'"),
    ],
)
def test_malformed_requests_for_networks_of_others(plain: Path, tail: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        load_model(f"{plain}{tail}", device="cpu")
    assert message in str(error.value)


def test_another_network_of_torchvision_s_is_answered_with_the_right_one(plain: Path) -> None:
    text = refused(f"{plain}@torchvision:shufflenet_v2_x0_5")
    assert text.endswith(f"; it is mobilenet_v2: ask for {plain}@mobilenet_v2")
