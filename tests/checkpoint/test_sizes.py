"""Weights that were trained with images of another size than the network's name says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

from das_explain.checkpoint.build import build_network
from das_explain.checkpoint.fingerprint import fingerprint
from das_explain.checkpoint.load import load_model
from das_explain.checkpoint.recognise import recognise
from das_explain.checkpoint.sizes import built_for, made_for, size_arguments, size_like
from das_explain.checkpoint.wrappers import candidates
from das_explain.errors import UsageError
from tests.checkpoint.layouts.test_timm import packed
from tests.checkpoint.refusals import refused

timm = pytest.importorskip("timm")


def saved(network: nn.Module, path: Path) -> Path:
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("test_vit", (96, 160), {}),  # a position table; takes any size
        ("test_vit2", (64, 96), {"dynamic_img_size": False}),  # a position table; takes no other size
        ("test_vit3", (96, 96), {"in_chans": 1}),
        ("swin_tiny_patch4_window7_224", (64, 96), {"window_size": 4, "depths": [1, 1, 1, 1]}),  # windows
        ("botnet26t_256", (128, 96), {}),  # positions in the midst, and no patches
    ],
)
def test_a_size_after_the_file_is_that_of_the_network(name: str, size: tuple, options: dict, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = timm.create_model(name, num_classes=3, img_size=size, **options).eval()
    path = saved(network, tmp_path / "w.pth")
    given = "".join(f"&{key}={value}" for key, value in options.items() if key != "depths")
    given += "&depths=1,1,1,1" if "depths" in options else ""
    model = load_model(f"{path}@timm:{name}?size={size[0]}x{size[1]}{given}", device="cpu")
    assert (model.fingerprint, model.preprocess.geometry.size) == (fingerprint(network), size)
    x = torch.randn(2, options.get("in_chans", 3), *size)
    assert torch.equal(model.network(x), network(x))
    again = packed(model, tmp_path)
    assert (again.fingerprint, again.preprocess) == (model.fingerprint, model.preprocess)


def test_a_network_that_takes_any_size_is_left_as_it_was_trained(tmp_path: Path) -> None:
    network = timm.create_model("test_vit", num_classes=3)
    path = saved(network, tmp_path / "w.pth")
    model = load_model(f"{path}@timm:test_vit?size=96x64", device="cpu")
    assert (model.config["arguments"], model.preprocess.geometry.size) == ({}, (96, 64))
    assert made_for(model.network) == (160, 160)


def test_positions_of_another_size_than_is_shown_are_told(tmp_path: Path) -> None:
    network = timm.create_model("test_vit", num_classes=3, img_size=(96, 160))
    model = load_model(network)
    told = "its patch embedding was made for 96x160, and it is shown 160x160; "
    assert model.preprocess.geometry.size == (160, 160), "as its configuration says"
    assert model.assumptions[-1].endswith(f"{told}size=(96, 160) shows it what it was made for")
    assert not any("embedding" in each for each in load_model(network, size=(96, 160)).assumptions)
    assert not any("embedding" in each for each in load_model(network, size=64).assumptions), "that was asked for"
    usual = timm.create_model("test_vit", num_classes=3)
    assert load_model(usual).assumptions == []
    timm.models.save_for_hf(usual, tmp_path / "net", safe_serialization=True)
    config = json.loads((tmp_path / "net" / "config.json").read_text())
    config["pretrained_cfg"]["input_size"] = [3, 96, 64]
    (tmp_path / "net" / "config.json").write_text(json.dumps(config))
    assert load_model(str(tmp_path / "net"), device="cpu").assumptions == [
        f"{tmp_path / 'net'}: its patch embedding was made for 160x160, and it is shown 96x64; ?size=160x160 shows it what "
        "it was made for"
    ]


def test_messages_write_sizes_as_they_are_asked_for() -> None:
    network = timm.create_model("test_vit2", num_classes=3, img_size=(64, 96), dynamic_img_size=False)
    model = load_model(network)
    assert model.assumptions[-1].endswith("says 160x160, but it is built for 64x96, and is shown such")
    assert model.preprocess.geometry.size == (64, 96)
    shown = load_model(timm.create_model("test_resnet", num_classes=3), size="64x96")
    assert shown.assumptions[-1].endswith("otherwise than it says itself: size 64x96 in place of 160x160")


def test_a_size_that_is_built_by_hand_is_shown(tmp_path: Path) -> None:
    network = timm.create_model("test_vit2", num_classes=3, img_size=(64, 96), dynamic_img_size=False)
    path = saved(network, tmp_path / "w.pth")
    model = load_model(f"{path}@timm:test_vit2?img_size=64,96&dynamic_img_size=false", device="cpu")
    assert (model.preprocess.geometry.size, built_for(network)) == ((64, 96), (64, 96))


def test_torchvision_s_vision_transformers() -> None:
    arguments = size_arguments("torchvision:vit_b_32", (96, 96))
    with torch.device("meta"):  # it is large
        usual, network = (build_network("torchvision:vit_b_32", arguments=each) for each in ({}, arguments))
    assert (built_for(usual), built_for(network)) == ((224, 224), (96, 96))
    assert size_like(usual, network.state_dict()) == (96, 96)
    assert size_arguments("torchvision:vit_b_32", (96, 64)) == {}, "it is square"
    for value in (64, 0, "large"):
        with pytest.raises(UsageError, match=f"torchvision:resnet18 takes no argument image_size={value!r}"):
            build_network("torchvision:resnet18", arguments={"image_size": value})


def test_without_a_size_the_way_out_is_named(tmp_path: Path) -> None:
    network = timm.create_model("test_vit", num_classes=3, img_size=(96, 160))
    path = saved(network, tmp_path / "w.pth")
    asked = f"it is timm:test_vit for images of another size: ask for {path}@timm:test_vit?size=HEIGHTxWIDTH"
    assert refused(f"{path}@timm:test_vit").endswith(f"(pos_embed is 1x61x64, not 1x101x64); {asked}")
    assert refused(f"{path}@timm:test_vit?size=64").endswith(asked), "that is not the size"
    assert refused(str(path)).endswith(asked)
    model = load_model(f"{path}?size=96x160", device="cpu")
    assert model.fingerprint == fingerprint(network)
    assert f"{path}: recognised by its tensors as timm:test_vit" in model.assumptions


def test_where_weights_do_not_tell_that_it_is_the_size_both_ways_out_are_named(tmp_path: Path) -> None:
    options = {"embed_dim": 24, "depth": 1, "num_heads": 2, "num_classes": 3}
    network = timm.create_model("test_vit", img_size=64, **options)
    path = saved(network, tmp_path / "w.pth")
    spec = f"{path}@timm:test_vit?embed_dim=24&depth=1&num_heads=2"
    assert refused(spec).endswith(
        "; all else fits: it is for images of another size (?size=HEIGHTxWIDTH after the architecture says which), or of "
        "a variant of this network, which python:MODULE:FACTORY@FILE loads"
    )
    assert load_model(f"{spec}&size=64", device="cpu").fingerprint == fingerprint(network)


def test_the_usual_size_is_recognised_before_another_one() -> None:
    network = timm.create_model("deit_tiny_patch16_224", img_size=384)
    found = recognise(candidates(network.state_dict(), "x"))
    exact = [each.names for each in found if each.share == 1 and not each.sized]
    assert exact == [found[0].names] and "timm:vit_tiny_patch16_384" in exact[0]


def test_the_patches_of_a_position_table() -> None:
    network = VisionTransformer(48, 16, 1, 2, 8, 8, num_classes=3)  # nine patches and a class token
    state = network.state_dict()
    for count, size in ((17, (64, 64)), (13, (48, 64)), (8, (16, 112)), (10, None), (1, None)):
        state["encoder.pos_embedding"] = torch.ones(1, count, 8)
        assert size_like(network, state) == size
    assert size_like(nn.Linear(2, 2), {"weight": torch.ones(2, 2)}) is None
