"""Files without an architecture, and names without a library: found among all of torchvision's and timm's networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from das_explain.checkpoint.contents import channels_of_weights
from das_explain.checkpoint.fingerprint import fingerprint
from das_explain.checkpoint.load import load_model
from das_explain.checkpoint.recognise import TABLE, choose, close_names, recognise, sketch, write_table
from das_explain.checkpoint.wrappers import candidates
from das_explain.nn import create_model
from das_explain.nn.running import first_convolution
from tests.checkpoint.architectures import shapes_of
from tests.checkpoint.refusals import refused

timm = pytest.importorskip("timm")


def saved(network: nn.Module, path: Path, prefix: str = "") -> Path:
    torch.save({"state_dict": {prefix + key: value for key, value in network.state_dict().items()}}, path)
    return path


def test_a_file_is_recognised_by_its_tensors(tmp_path: Path) -> None:
    network = torchvision.models.shufflenet_v2_x0_5(num_classes=7)
    path = saved(network, tmp_path / "w.pth", "model.encoder.")
    model = load_model(f"{path}?size=32", device="cpu")
    assert (model.config["architecture"], model.config["num_classes"]) == ("torchvision:shufflenet_v2_x0_5", 7)
    assert f"{path}: recognised by its tensors as torchvision:shufflenet_v2_x0_5" in model.assumptions
    assert torch.equal(model.network.fc.weight, network.fc.weight)


def test_a_bare_name_is_torchvision_s_or_timm_s_whichever_fits(tmp_path: Path) -> None:
    theirs = saved(torchvision.models.mobilenet_v3_small(num_classes=3), tmp_path / "tv.pth")
    assert load_model(f"{theirs}@mobilenet_v3_small?size=32", device="cpu").config["architecture"] == (
        "torchvision:mobilenet_v3_small"
    )
    both = {"convnext_atto": "timm:convnext_atto", "vgg11": "torchvision:vgg11"}
    only = saved(timm.create_model("test_convnext", num_classes=3), tmp_path / "timm.pth")
    assert load_model(f"{only}@test_convnext", device="cpu").config["architecture"] == "timm:test_convnext"
    assert all(name.partition(":")[2] == bare for bare, name in both.items())
    text = refused(f"{only}@test_convnxt")
    assert (
        "unknown architecture 'test_convnxt': neither torchvision nor timm has it; did you mean test_convnext" in text
    )


def test_keys_decide_between_two_libraries_of_one_name(tmp_path: Path) -> None:
    """Both have a ``densenet121`` with the same keys and a ``convnext_tiny`` with others."""
    from das_explain.checkpoint.sources.file import _found

    for source, network in (
        ("torchvision", torchvision.models.convnext_tiny),
        ("timm", lambda: timm.create_model("convnext_tiny")),
    ):
        readings = candidates(dict(network().state_dict()), "x")
        assert _found("convnext_tiny", readings) == f"{source}:convnext_tiny"


def test_timm_name_at_file(tmp_path: Path) -> None:
    path = saved(timm.create_model("test_resnet", num_classes=4), tmp_path / "my @ =net.pth")
    for spec in (
        f"timm:test_resnet@{path}",
        f"{path}@timm:test_resnet",
        f"{path}@test_resnet",
        f"x={path}@test_resnet",
    ):
        model = load_model(spec, device="cpu")
        assert (model.config["architecture"], model.config["num_classes"]) == ("timm:test_resnet", 4)
        assert model.name == ("x" if spec.startswith("x=") else "my @ =net")


def test_the_wrong_name_is_answered_with_the_right_one_of_any_library(tmp_path: Path) -> None:
    path = saved(timm.create_model("resnet10t", num_classes=4), tmp_path / "w.pth")
    assert refused(f"{path}@resnet18").endswith(f"; it is timm:resnet10t: ask for {path}@timm:resnet10t")


def test_networks_that_answer_differently_with_the_same_tensors_are_not_guessed_between(tmp_path: Path) -> None:
    network = timm.create_model("tf_efficientnet_b0", num_classes=2)
    path = saved(network, tmp_path / "w.pth")
    text = refused(str(path))
    assert "its tensors are those of several networks, which answer differently: ask for " in text
    assert f"{path}@timm:tf_efficientnet_b0" in text and f"{path}@timm:efficientnet_b0" in text
    assert choose(["timm:efficientnet_b0", "timm:tf_efficientnet_b0"], Path("tf_efficientnet_b0-best.pth"))[0] == (
        "timm:tf_efficientnet_b0"
    )
    assert choose(["torchvision:resnet50", "timm:resnet50", "timm:resnetaa50"], path) == (
        "torchvision:resnet50",
        ("timm:resnetaa50",),
    )


def test_a_network_of_one_s_own_is_nobody_s(tmp_path: Path) -> None:
    path = saved(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2)), tmp_path / "w.pth")
    assert refused(str(path)).endswith(
        "; no network of the registry's, torchvision's or timm's resembles it: python:MODULE:FACTORY@FILE loads any network "
        "of your own"
    )


def test_what_nearly_fits_is_named_and_not_offered(tmp_path: Path) -> None:
    state = timm.create_model("test_resnet").state_dict()
    state["extra.weight"] = torch.ones(3)
    torch.save(state, tmp_path / "w.pth")
    text = refused(str(tmp_path / "w.pth"))
    assert text.endswith("% of its keys and shapes are those of timm:test_resnet, which is not enough to load it")


@pytest.mark.parametrize(
    ("architecture", "attention"),
    [
        ("resnet18", "none"),
        ("resnet18", "das"),
        ("torchvision:shufflenet_v2_x0_5", "none"),
        ("timm:test_resnet", "none"),
    ],
)
def test_files_of_grey_networks_are_recognised(architecture: str, attention: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = create_model(architecture, attention, 4)
    weight = first_convolution(network).weight
    weight.data = weight.data[:, :1]
    path = saved(network, tmp_path / "w.pth", "module.")
    model = load_model(f"{path}?size=32", device="cpu")
    assert (model.config["architecture"], model.config["attention"]) == (architecture, attention)
    assert model.preprocess.channels == 1
    for key, tensor in network.state_dict().items():
        assert torch.equal(model.network.state_dict()[key], tensor)
    asked = f"{path}@{architecture}" + (f":{attention}" if attention != "none" else "")
    assert refused(f"{path}@mobilenet_v2").endswith(f"ask for {asked}")
    assert load_model(f"{asked}?size=32", device="cpu").fingerprint == model.fingerprint


def test_files_of_networks_for_other_channels_are_told_to_be(tmp_path: Path) -> None:
    path = saved(timm.create_model("test_resnet", num_classes=3, in_chans=4), tmp_path / "w.pth")
    assert refused(str(path)).endswith(
        "; it is timm:test_resnet for images of 4 channels; only grey (1) and RGB (3) images can be explained"
    )


def test_grey_networks_that_look_at_an_image_in_several_ways(tmp_path: Path) -> None:
    crossvit = timm.create_model("crossvit_9_240", num_classes=3, in_chans=1)
    path = saved(crossvit, tmp_path / "two.pth")  # two first convolutions
    model = load_model(f"{path}@timm:crossvit_9_240", device="cpu")
    assert (model.fingerprint, model.config["arguments"]) == (fingerprint(crossvit), {"in_chans": 1})
    assert load_model(f"{path}", device="cpu").fingerprint == model.fingerprint


def test_weights_of_networks_that_see_squares_of_pixels_tell_their_channels() -> None:
    network = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, 8, 3))
    for channels in (1, 3, 4):
        assert channels_of_weights(network, {"1.weight": torch.ones(8, 16 * channels, 3, 3)}) == channels
    assert channels_of_weights(network, {"1.weight": torch.ones(8, 17, 3, 3)}) == 3, "nothing that it can be"


@pytest.mark.parametrize(
    "name",
    ["torchvision:alexnet", "torchvision:regnet_y_400mf", "timm:test_vit", "timm:convnext_atto", "timm:resnet10t"],
)
def test_the_table_is_that_of_the_libraries(name: str) -> None:
    source, _, bare = name.partition(":")
    network = getattr(torchvision.models, bare)() if source == "torchvision" else timm.create_model(bare)
    text = "".join(f"{value:08x}" for value in sketch(network.state_dict()))
    rows = dict(line.split(" ", 1) for line in TABLE.read_text(encoding="utf-8").splitlines())
    assert name in rows[text].split()


def test_all_of_torchvision_s_and_nearly_all_of_timm_s_networks_are_in_the_table() -> None:
    known = {name for line in TABLE.read_text(encoding="utf-8").splitlines() for name in line.split()[1:]}
    assert {f"torchvision:{name}" for name in torchvision.models.list_models(module=torchvision.models)} <= known
    mine = {f"timm:{name}" for name in timm.list_models()}
    assert len(mine & known) > 0.9 * len(mine)
    assert close_names("resnet5O")[0].startswith("resnet5")
    assert recognise(candidates({"a.weight": torch.ones(2, 2)}, "x")) == []


def test_the_table_has_what_the_script_would_write(tmp_path: Path) -> None:
    names = ("torchvision:shufflenet_v2_x0_5", "timm:resnet10t", "timm:test_vit")
    write_table({name: shapes_of(name) for name in names}, tmp_path / "table.txt")
    known = {each: line.split()[0] for line in TABLE.read_text("utf-8").splitlines() for each in line.split()[1:]}
    for line in (tmp_path / "table.txt").read_text("utf-8").splitlines():
        sketched, name = line.split()
        assert known[name] == sketched
