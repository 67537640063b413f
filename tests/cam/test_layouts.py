"""Maps of blocks that are not (N, C, H, W): pytorch-grad-cam with its ``reshape_transform`` is the reference."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from benchmarks import zoo
from benchmarks.zoo import by_hand, examine
from das_explain.cam.engine import explain, grad_cam
from das_explain.cam.methods import METHODS, explain_with
from das_explain.checkpoint.load import load_model
from das_explain.errors import DasExplainError, UsageError
from tests.nn.stages.table import default_stages
from tests.nn.stages.test_find import Vit, Windows

QUICK = ("timm:test_vit", "timm:test_mambaout", "timm:test_vit_relpos", "timm:levit_128", "timm:test_nfnet")
TWENTY = (
    *QUICK, "timm:hiera_tiny_224", "timm:swinv2_tiny_window8_256", "timm:pit_ti_224", "timm:xcit_nano_12_p8_224",
    "timm:cait_xxs24_224", "timm:coat_tiny", "timm:crossvit_tiny_240", "timm:deit_tiny_distilled_patch16_224",
    "timm:vit_small_patch14_reg4_dinov2", "timm:sequencer2d_s", "timm:twins_svt_small",
    "timm:tnt_s_legacy_patch16_224", "timm:volo_d1_224", "torchvision:swin_t", "torchvision:swin_v2_t",
    "torchvision:vit_b_16",
)  # fmt: skip


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TWENTY]
)
def test_default_blocks_agree_with_the_peer(name: str) -> None:
    row = examine(name)
    assert {key: row.get(key) for key in ("refused", "wrong", "sensible")} == {
        "refused": None, "wrong": None, "sensible": True,
    }  # fmt: skip
    compared = [difference for difference in row["peer"].values() if difference is not None]
    assert compared
    assert max(compared) <= 1e-4


IMAGES = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 2])


def vit() -> nn.Module:
    torch.manual_seed(0)
    return Vit().eval()


def reshape(output: torch.Tensor) -> torch.Tensor:
    return output[:, 1:].reshape(len(output), 4, 6, -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "gradcam"])
def test_other_methods_read_tokens_of_wide_photos(method: str) -> None:
    cam = explain_with(method, vit(), IMAGES, TARGETS, ["layers.5.ln"]).cams["layers.5.ln"]
    assert cam.native.shape == (2, 4, 6)
    assert (cam.raw_max > 0).any()


def test_tokens_of_wide_photos() -> None:
    network = vit()
    with GradCAM(network, [network.layers[5].ln], reshape_transform=reshape) as peer:
        expected = peer(IMAGES, [ClassifierOutputTarget(int(target)) for target in TARGETS])
    for layouts in (None, {"layers.5.ln": "tokens:1"}, {"layers.5.ln": "tokens"}):
        found = grad_cam(network, IMAGES, TARGETS, ["layers.5.ln"], layouts=layouts)["layers.5.ln"]
        assert found.native.shape == (2, 4, 6)
        torch.testing.assert_close(found.map, torch.as_tensor(expected), rtol=0, atol=1e-5)
    with pytest.raises(DasExplainError, match=r"block layers.5.ln gives \(N, 25, 12\), which cannot be read as nhwc"):
        grad_cam(network, IMAGES, TARGETS, ["layers.5.ln"], layouts={"layers.5.ln": "nhwc"})


def test_windows_are_not_photos() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Windows(), nn.Flatten(), nn.Unflatten(0, (4, -1)))
    network.append(Mean()).append(nn.Linear(4 * 8 * 12, 3))
    with pytest.raises(
        DasExplainError, match="block 1 gives 8 maps for 2 images: it works on windows or parts of them"
    ):
        grad_cam(network, IMAGES, TARGETS, ["1"])


class Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(0)


class Last(nn.Module):
    """Channels last, as many of them as the map is high and wide."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(x).permute(0, 2, 3, 1)).square().mean((1, 2)))


def test_a_shape_of_two_readings_is_settled_by_a_photo_of_another_size() -> None:
    torch.manual_seed(0)
    network, images = Last(), torch.randn(2, 3, 32, 32)
    expected = grad_cam(network, images, TARGETS, ["norm"], layouts={"norm": "nhwc"})["norm"]
    assert torch.equal(grad_cam(network, images, TARGETS, ["norm"])["norm"].map, expected.map)
    other = grad_cam(network, images, TARGETS, ["norm"], layouts={"norm": "nchw"})["norm"]
    assert (other.map - expected.map).abs().max() > 0.1, "read wrongly it would be another map"

    class Fixed(Last):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.shape[2:] == (32, 32)
            return super().forward(x)

    with pytest.raises(DasExplainError, match="which may be nchw .* or nhwc .*; say which, as in --layout norm=nchw"):
        grad_cam(Fixed(), images, TARGETS, ["norm"])


def test_a_layout_is_said_once_when_a_model_is_loaded() -> None:
    network = Last()
    model = load_model(network, size=32, blocks=["norm", "conv"], layout={"norm": "nhwc"})
    assert {name: str(layout) for name, layout in model.layouts.items()} == {"conv": "nchw", "norm": "nhwc"}
    with pytest.raises(UsageError, match="layout of 'nrm': there is no such block"):
        load_model(network, size=32, layout={"nrm": "nhwc"})
    with pytest.raises(UsageError, match="layout 'chw' is unknown"):
        load_model(network, size=32, layout={"norm": "chw"})


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_backbone_without_gradients_is_named(mode: type) -> None:
    class Frozen(Last):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with mode():
                x = self.conv(x)
            return self.head(x.mean((2, 3)))

    with pytest.raises(
        DasExplainError, match=f"block conv runs under torch.{mode.__name__} in the network's own forward"
    ):
        grad_cam(Frozen(), IMAGES, TARGETS, ["conv"])


def test_the_zoo_goes_on_where_it_was_killed_and_names_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {"sensible": True, "peer": {"a": 1e-6, "b": None}}
    rows = {
        "x": good,
        "y": {**good, "peer": {"a": 2e-4, "b": 1e-6}, "wrong": ["a"]},
        "z": {"refused": "it takes no photo", "sensible": False},
    }
    ran: list[str] = []

    def examine(name: str) -> dict:
        ran.append(name)
        return {"network": name, **rows[name]}

    monkeypatch.setattr(zoo, "examine", examine)
    out = tmp_path / "zoo.jsonl"
    list(zoo.examined(["x", "y"], out))
    whole = out.read_text()
    out.write_text(whole[:-20])  # killed while it wrote
    found = list(zoo.examined(["x", "y", "z"], out))
    assert ran == ["x", "y", "y", "z"]
    assert out.read_text().startswith(whole)
    told, met = zoo.summary(found)
    assert not met
    assert told.splitlines() == [
        "3 networks: 2 with sensible blocks (66.7%)",
        "3 maps compared with pytorch-grad-cam, 1 further than 0.0001",
        "wrong: y",
        "crashed: none",
        "refused: z",
        "empty: none",
        "not sensible: none",
    ]
    assert zoo.summary([{"network": str(i), **good} for i in range(20)])[1]


def test_by_hand_knows_what_is_channels_first() -> None:
    assert by_hand("torchvision:resnet18", nn.Identity(), "layer4") is None
    assert default_stages("timm:test_vit") == ["blocks.3.norm1", "blocks.5.norm1"]
    assert explain(vit(), IMAGES, None, ["patches"]).cams["patches"].native.shape == (2, 4, 6)
