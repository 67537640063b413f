"""How a network wants its photos: from what it carries, by the libraries that wrote it; grey ones; what is said."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import EfficientNet_B1_Weights, ResNet50_Weights, VisionTransformer

from das_explain import load_model
from das_explain.checkpoint.load import save_model
from das_explain.checkpoint.torchvision_networks import published_preprocess
from das_explain.commands import run_command
from das_explain.data.geometry import Geometry, Preprocess
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn import create_model

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8))
CONFIG = {
    "input_size": (3, 64, 64),
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "crop_pct": 0.9,
    "interpolation": "bicubic",
}


class Net(nn.Sequential):
    """A stem, a stage and a head, for images of ``channels``; carries what it is given."""

    def __init__(self, channels: int = 3, **carried: Any) -> None:
        torch.manual_seed(0)
        stem, stage = nn.Conv2d(channels, 4, 3, stride=4), nn.Conv2d(4, 4, 3, stride=2)
        super().__init__(stem, stage, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        for name, value in carried.items():
            self.__dict__[name] = value  # torchvision's transforms are a module, and this a sequence


def prepared(network: nn.Module, **options: Any) -> tuple[Preprocess, list[str]]:
    model = load_model(network, **options)
    return model.preprocess, model.assumptions


def test_timm_s_configuration_is_used() -> None:
    preprocess, assumptions = prepared(Net(pretrained_cfg=CONFIG))
    assert preprocess == Preprocess(Geometry((64, 64), 71, "bicubic"), (0.5,) * 3, (0.5,) * 3)
    assert assumptions == []


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "test_byobnet"])
def test_timm_s_own_networks_are_prepared_as_timm_prepares_them(name: str) -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model(name, pretrained=False)
    model = load_model(network)
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=network))
    assert torch.allclose(model.preprocess(PHOTO), transform(PHOTO), atol=0.02)  # an edge of the resize may round off
    assert not any("how its input" in told for told in model.assumptions)


def test_a_backbone_s_configuration_is_used_and_said() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = Net(pretrained_cfg=CONFIG)

        def forward(self, images: Tensor) -> Tensor:
            return self.backbone(images)

    preprocess, assumptions = prepared(Wrapped())
    assert preprocess.geometry.size == (64, 64)
    assert assumptions == [
        f"a {Wrapped.__module__}.{Wrapped.__qualname__} in memory: its input is prepared as backbone.pretrained_cfg says"
    ]


@pytest.mark.parametrize("weights", [ResNet50_Weights.IMAGENET1K_V2, EfficientNet_B1_Weights.IMAGENET1K_V2])
def test_torchvision_s_weights_are_used(weights: Any) -> None:
    for carried in ({"weights": weights}, {"transforms": weights.transforms()}, {"transforms": weights.transforms}):
        preprocess, assumptions = prepared(Net(**carried))
        assert preprocess == published_preprocess(weights)
        assert torch.allclose(preprocess(PHOTO), weights.transforms()(PHOTO), atol=1e-6)
        assert assumptions == []


def test_a_processor_of_transformers_is_used() -> None:
    transformers = pytest.importorskip("transformers")
    processor = transformers.ViTImageProcessor(
        size={"height": 48, "width": 64}, image_mean=[0.1] * 3, image_std=[0.2] * 3
    )
    preprocess, _ = prepared(Net(processor=processor))
    assert (preprocess.geometry.size, preprocess.geometry.fit) == ((48, 64), "squash")
    assert preprocess.mean == pytest.approx((0.1,) * 3) and preprocess.std == pytest.approx((0.2,) * 3)


def test_a_network_is_shown_the_size_that_it_is_built_for() -> None:
    timm = pytest.importorskip("timm")
    network = timm.models.VisionTransformer(48, 16, num_classes=3, embed_dim=24, depth=2, num_heads=2)
    network.pretrained_cfg = CONFIG
    preprocess, assumptions = prepared(network)
    assert (preprocess.geometry.size, preprocess.mean) == ((48, 48), (0.5,) * 3)
    assert assumptions[0].endswith("pretrained_cfg says 64x64, but it is built for 48x48, and is shown such")
    vit = VisionTransformer(48, 16, 1, 2, 8, 8, num_classes=3)
    preprocess, assumptions = prepared(vit)
    assert preprocess.geometry.size == (48, 48)
    assert assumptions[0].endswith("nothing says how its input was prepared; taken as 48x48, as ImageNet's usually is")
    transformers = pytest.importorskip("transformers")
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], image_size=64, num_labels=3)
    preprocess, assumptions = prepared(transformers.ConvNextForImageClassification(config))
    assert preprocess.geometry.size == (64, 64)
    assert assumptions[0].endswith("taken as 64x64, as ImageNet's usually is")
    assert prepared(transformers.ConvNextForImageClassification(config), size=96)[0].geometry.size == (96, 96)


def test_what_was_assumed_of_an_input_is_told_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "bare_net.py").write_text(
        "import torchvision\n\ndef build():\n    return torchvision.models.squeezenet1_1(num_classes=2)\n"
    )
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    (tmp_path / "data.csv").write_text("image,mask\na.png,m.png\n")
    mask = Image.new("L", (40, 30))
    mask.paste(255, (10, 10, 20, 20))
    mask.save(tmp_path / "m.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "sys.argv", ["das-explain", "sfd", "data.csv", "--model", "python:bare_net:build", "--out", "run"]
    )
    with suppress(SystemExit):
        run_command()
    told = "nothing says how its input was prepared; taken as 224x224, as ImageNet's usually is"
    recorded = json.loads((tmp_path / "run" / "run.json").read_text())["assumptions"]
    assert any(told in each for each in recorded)
    assert told.split("; ")[1] in " ".join(capsys.readouterr().out.split())


def test_a_configuration_that_is_none_is_refused() -> None:
    with pytest.raises(DasExplainError, match="its pretrained_cfg is not as its library writes it"):
        load_model(Net(pretrained_cfg={**CONFIG, "input_size": 64}))


def test_what_a_user_says_goes_first_and_a_difference_is_said() -> None:
    preprocess, assumptions = prepared(Net(pretrained_cfg=CONFIG), mean=[0.4] * 3, interpolation="bilinear", std=0.5)
    assert preprocess == Preprocess(Geometry((64, 64), 71), (0.4,) * 3, (0.5,) * 3)
    assert assumptions[0].endswith(
        "its input is prepared otherwise than it says itself: interpolation bilinear in place of bicubic, mean 0.4 0.4 0.4 in "
        "place of 0.5 0.5 0.5"
    )


def test_input_options_of_a_spec(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(create_model("resnet18", num_classes=3, stem="small").state_dict(), tmp_path / "w.pth")
    spec = f"{tmp_path / 'w.pth'}@resnet18?size=32x48&resize=40&mean=0.1,0.2,0.3&std=0.5&interpolation=bicubic"
    model = load_model(spec, device="cpu")
    assert model.preprocess == Preprocess(Geometry((32, 48), 40, "bicubic"), (0.1, 0.2, 0.3), (0.5,) * 3)
    save_model(
        tmp_path / "packed",
        model.network,
        architecture="resnet18",
        arguments={"stem": "small"},
        preprocess=model.preprocess,
    )
    packed = load_model(str(tmp_path / "packed"), device="cpu")
    assert packed.preprocess == model.preprocess
    changed = load_model(f"{tmp_path / 'packed'}?mean=0,0,0", device="cpu")
    assert changed.preprocess.mean == (0, 0, 0)
    assert changed.assumptions[-1].endswith("otherwise than it says itself: mean 0 0 0 in place of 0.1 0.2 0.3")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("mean=a", "mean must be three numbers, or one for all, not 'a'"),
        ("mean=1,2", "mean must be three numbers, or one for all, not '1,2'"),
        ("std=0", "std must be three positive numbers, or one for all, not '0'"),
        ("resize=-3", "resize=-3 must be a side"),
        ("interpolation=area", "interpolation=area must be nearest, bilinear, bicubic, lanczos"),
        ("fit=stretch", "fit=stretch must be crop, squash"),
    ],
)
def test_bad_input_options(options: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        load_model(f"collage-resnet18?{options}", device="cpu")
    assert message in str(error.value)


def test_grey_networks_get_pillow_s_grey() -> None:
    model = load_model(Net(1), size=32, mean=[0.25], std=[0.5])
    frame = Image.fromarray(model.preprocess.geometry.frame(PHOTO)).convert("L")
    expected = (torch.from_numpy(np.asarray(frame) / 255).float()[None] - 0.25) / 0.5
    assert torch.allclose(model.preprocess(PHOTO), expected, atol=1e-6)
    assert model.explain(PHOTO).cams["1"].map.shape == (1, 32, 32)
    photos = torch.rand(2, 3, 4, 4)
    grey = (0.299 * photos[:, :1] + 0.587 * photos[:, 1:2] + 0.114 * photos[:, 2:] - 0.25) / 0.5
    assert torch.allclose(model.preprocess.standardize(photos.clone()), grey, atol=1e-6)


def test_the_usual_values_for_grey_images_are_said() -> None:
    model = load_model(Net(1), size=32)
    assert (model.preprocess.mean, model.preprocess.std) == ((0.449,), (0.226,))
    assert "it takes grey images; mean 0.449 and std 0.226, the average of RGB's" in model.assumptions[-1]


@pytest.mark.parametrize("architecture", ["resnet18", "torchvision:shufflenet_v2_x0_5", "timm:test_resnet"])
def test_grey_weight_files_load_pack_and_load_again(architecture: str, tmp_path: Path) -> None:
    if architecture.startswith("timm:"):
        pytest.importorskip("timm")
    from das_explain.checkpoint.build import build_network
    from das_explain.checkpoint.contents import make_grey

    torch.manual_seed(0)
    network = make_grey(build_network(architecture, num_classes=3))
    state = {
        key: torch.rand(t.shape) if t.is_floating_point() else torch.zeros_like(t, device="cpu")
        for key, t in network.state_dict().items()
    }
    torch.save(state, tmp_path / "w.pth")
    model = load_model(f"{tmp_path / 'w.pth'}@{architecture}?size=32&mean=0.1307&std=0.3081", device="cpu")
    assert model.preprocess.mean == (0.1307,)
    save_model(
        tmp_path / "packed", model.network, architecture=architecture, preprocess=model.preprocess, num_classes=3
    )
    packed = load_model(str(tmp_path / "packed"), device="cpu")
    assert (packed.fingerprint, packed.preprocess) == (model.fingerprint, model.preprocess)


@pytest.mark.parametrize("channels", [2, 4, 9])
def test_other_channels_are_refused_clearly(channels: int, tmp_path: Path) -> None:
    with pytest.raises(DasExplainError) as error:
        load_model(Net(channels), size=32)
    said = f"its first convolution takes {channels} channels; only grey (1) and RGB (3) images can be explained"
    assert said in str(error.value)
    state = create_model("resnet18", num_classes=3).state_dict()
    state["conv1.weight"] = torch.rand(64, channels, 7, 7)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(DasExplainError) as error:
        load_model(f"{tmp_path / 'w.pth'}@resnet18", device="cpu")
    assert said in str(error.value)


def test_one_logit_packs_and_loads_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(create_model("resnet18", num_classes=1, stem="small").state_dict(), tmp_path / "w.pth")
    model = load_model(f"{tmp_path / 'w.pth'}@resnet18?size=32", device="cpu", labels=["cat", "dog"])
    assert (model.config["num_classes"], model.config["rows"], model.activation) == (2, 1, "sigmoid")
    save_model(
        tmp_path / "packed",
        model.network,
        architecture="resnet18",
        arguments={"stem": "small"},
        labels=model.labels,
        preprocess=model.preprocess,
    )
    packed = load_model(str(tmp_path / "packed"), device="cpu")
    assert (packed.labels, packed.config["num_classes"]) == (["cat", "dog"], 2)
    assert torch.equal(packed.explain(PHOTO).logits, model.explain(PHOTO).logits)
