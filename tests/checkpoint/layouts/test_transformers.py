"""Folders as Hugging Face transformers writes them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from safetensors.torch import load_file, save_file
from torch import nn

from das_explain.cam.engine import grad_cam
from das_explain.checkpoint.layouts.transformers import Classifier
from das_explain.checkpoint.load import load_model, save_model
from das_explain.data.geometry import Geometry, Preprocess
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn.stages import find_stages
from tests.checkpoint.refusals import refused

transformers = pytest.importorskip("transformers")
LABELS = {0: "ant", 1: "bee", 2: "cat"}
DEFAULT_BLOCKS = {
    "Bit": ("bit.encoder.stages.2", "bit.norm"),
    "CLIP": ("vision_model.encoder.layers.6.layer_norm1", "vision_model.encoder.layers.11.layer_norm1"),
    "Data2VecVision": ("data2vec_vision.encoder.layer.6.layernorm_before", "data2vec_vision.encoder.layer.11.layernorm_before"),
    "FocalNet": ("focalnet.encoder.stages.2.layers.5", "focalnet.encoder.stages.3.layers.1"),
    "Hiera": ("hiera.encoder.stages.2", "hiera.encoder.stages.3"),
    "MobileNetV1": ("mobilenet_v1.layer.21", "mobilenet_v1.layer.25"),
    "MobileViTV2": ("mobilevitv2.encoder.layer.3", "mobilevitv2.encoder.layer.4"),
    "PvtV2": ("pvt_v2.encoder.layers.2", "pvt_v2.encoder.layers.3"),
    "ResNet": ("resnet.encoder.stages.2", "resnet.encoder.stages.3"),
    "Swin": ("swin.encoder.layers.2.blocks.5", "swin.encoder.layers.3.blocks.1"),
    "ViTMSN": ("vit.layers.6.layernorm_before", "vit.layers.11.layernorm_before"),
}  # fmt: skip
"""Of networks at their usual size: the stages that a person would name, the norms before the attention of a trunk."""


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(9)
    config = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        id2label=LABELS,
        label2id={name: index for index, name in LABELS.items()},
    )
    return transformers.ResNetForImageClassification(config).eval()


@pytest.fixture
def folder(tmp_path: Path, network: nn.Module) -> Path:
    network.save_pretrained(tmp_path / "net")
    return tmp_path / "net"


def prepared(folder: Path, values: dict[str, Any]) -> Preprocess:
    (folder / "preprocessor_config.json").write_text(json.dumps(values))
    return load_model(str(folder), device="cpu").preprocess


def test_what_transformers_has_saved(folder: Path, network: nn.Module, capfd: pytest.CaptureFixture) -> None:
    model = load_model(str(folder), device="cpu", size=64)
    assert capfd.readouterr() == ("", ""), "its progress bars and advice stay away"
    assert (model.name, model.labels, model.config["architecture"]) == (
        "net",
        ["ant", "bee", "cat"],
        "transformers:resnet",
    )
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(model.network(x), network(x).logits)
    stages = [f"model.resnet.encoder.stages.{stage}" for stage in (2, 3)]
    assert list(model.usual_blocks) == stages
    explanation = model.explain(np.full((70, 80, 3), 90, np.uint8))
    assert list(explanation.cams) == stages
    assert torch.allclose(
        explanation.logits, network(model.preprocess(Image.new("RGB", (80, 70), (90,) * 3))[None]).logits, atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFAULT_BLOCKS)
def test_default_blocks_of_transformers_networks(name: str) -> None:
    with torch.device("meta"):
        network = Classifier(
            getattr(transformers, f"{name}ForImageClassification")(getattr(transformers, f"{name}Config")())
        )
    blocks = list(find_stages(network.eval(), (256, 256) if name == "MobileViTV2" else (224, 224)))[-2:]
    assert blocks == [f"model.{block}" for block in DEFAULT_BLOCKS[name]]


def test_a_network_in_memory_has_the_names_that_its_folder_has(network: nn.Module) -> None:
    assert load_model(network, size=64).labels == ["ant", "bee", "cat"]
    assert load_model(Classifier(network), size=64).labels == ["ant", "bee", "cat"]
    assert load_model(network, size=64, labels=["a", "b", "c"]).labels == ["a", "b", "c"], "what a user says goes first"
    other = nn.Sequential(network.resnet.embedder, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    other[0].config = network.config
    assert load_model(other, size=64).labels is None, "a part's classes are not the whole's"


def test_several_classes_may_be_right_at_once_in_memory_too(tmp_path: Path) -> None:
    network = named({0: "ant", 1: "bee"}, problem_type="multi_label_classification")
    network.save_pretrained(tmp_path / "net")
    for model in (load_model(str(tmp_path / "net"), device="cpu", size=64), load_model(network, size=64)):
        assert (model.labels, model.activation) == (["ant", "bee"], "sigmoid")


def test_what_are_no_names_is_told_in_memory() -> None:
    model = load_model(named({0: "ant", 1: "\x1b[2J"}), size=64)
    assert model.labels is None
    assert "its config.id2label: '\\x1b[2J' is no class name" in model.assumptions[-1]
    assert load_model(named({0: "LABEL_0", 1: "LABEL_1"}), size=64).labels is None
    assert load_model(named({0: "ant"}), size=64).labels is None, "one logit, two classes"


def named(names: dict[int, str], **options: Any) -> nn.Module:
    """A classifier with such names."""
    config = transformers.ConvNextConfig(
        hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], id2label=names, image_size=64, **options
    )
    return transformers.ConvNextForImageClassification(config).eval()


def test_names_that_nobody_gave_are_no_names(tmp_path: Path) -> None:
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], num_labels=4)
    transformers.ConvNextForImageClassification(config).save_pretrained(tmp_path / "net")
    model = load_model(str(tmp_path / "net"), device="cpu", size=64)
    assert (model.labels, model.config["num_classes"]) == (None, 4)


@pytest.mark.parametrize(
    ("processor", "options"),
    [
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 56}, "crop_pct": 0.875, "resample": 3}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}, "crop_pct": 0.875, "resample": 2}),
        ("ViTImageProcessor", {"size": {"height": 48, "width": 64}, "resample": 2}),
        ("BitImageProcessor", {"size": {"shortest_edge": 64}, "crop_size": {"height": 56, "width": 56}, "resample": 2}),
        ("ViTImageProcessor", {"size": {"height": 48, "width": 48}, "do_normalize": False}),
        ("ViTImageProcessor", {"size": {"height": 48, "width": 48}, "rescale_factor": 1 / 127.5}),
    ],
)
def test_photos_are_prepared_as_transformers_prepares_them(folder: Path, processor: str, options: dict) -> None:
    theirs = getattr(transformers, processor)(**options, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4])
    theirs.save_pretrained(folder)
    ours = load_model(str(folder), device="cpu").preprocess
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)).resize(
        (240, 180), Image.Resampling.BICUBIC
    )
    expected = torch.as_tensor(theirs(photo, return_tensors="pt")["pixel_values"][0])
    found = ours(photo)
    assert found.shape == expected.shape
    assert (found - expected).abs().mean() < 0.03 * expected.std(), "but for rounding of pixels"


def test_rules_of_preprocessing_by_hand(folder: Path) -> None:
    plain = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    edge = prepared(folder, {**plain, "size": {"shortest_edge": 256}, "crop_size": 224, "resample": 2})
    assert edge == Preprocess(Geometry((224, 224), 256, "bilinear"), (0.5,) * 3, (0.25,) * 3)
    whole = prepared(folder, {**plain, "size": 160, "resample": 3})
    assert (whole.geometry.size, whole.geometry.fit) == ((160, 160), "squash")
    scaled = prepared(folder, {**plain, "size": 160, "rescale_factor": 1 / 127.5, "rescale_offset": True})
    # x / 127.5 - 1 = 2 (x / 255) - 1; less 0.5, over 0.25: (x / 255 - 0.75) / 0.125
    assert scaled.mean == pytest.approx((0.75,) * 3)
    assert scaled.std == pytest.approx((0.125,) * 3)


def test_without_a_preprocessor_the_size_is_assumed_and_said(folder: Path) -> None:
    model = load_model(str(folder), device="cpu")
    assert model.preprocess == Preprocess()
    assert model.assumptions == [
        f"{folder}: nothing says how its input was prepared; taken as 224x224, as ImageNet's usually is"
    ]


@pytest.mark.parametrize("kind", ["Siglip", "CLIP", "ViT", "MobileViTV2"])
def test_without_a_preprocessor_the_size_is_the_network_s_wherever_its_configuration_has_it(
    kind: str, tmp_path: Path
) -> None:
    small = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    vision = {"image_size": 64, "patch_size": 16, **small}
    nested = {"vision_config": vision, "text_config": {**small, "vocab_size": 100}, "projection_dim": 8}
    options = {"ViT": vision, "MobileViTV2": {"width_multiplier": 0.5}}.get(kind, nested)  # MobileViTV2's own is 256
    torch.manual_seed(0)
    network = getattr(transformers, f"{kind}ForImageClassification")(
        getattr(transformers, f"{kind}Config")(**options, num_labels=3)
    ).eval()
    network.save_pretrained(tmp_path / "net")
    model = load_model(str(tmp_path / "net"), device="cpu")
    side = 256 if kind == "MobileViTV2" else 64
    assert model.preprocess == load_model(network).preprocess == Preprocess().resized((side, side))
    assert model.assumptions == [
        f"{tmp_path / 'net'}: nothing says how its input was prepared; taken as {side}x{side}, as ImageNet's usually is"
    ]
    x = torch.randn(2, 3, side, side)
    assert torch.equal(model.network(x), network(x).logits)
    if kind == "Siglip":
        text = refused(str(tmp_path / "net"), size=96)
        assert text.startswith(f"{tmp_path / 'net'}: the network does not take an image of 3x96x96: ")
        assert text.endswith(" (?size=160 after the spec says that it takes images of another size)")


@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_other_channels(tmp_path: Path, channels: int) -> None:
    config = transformers.ViTConfig(
        num_channels=channels, image_size=64, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, num_labels=3
    )
    network = transformers.ViTForImageClassification(config).eval()
    network.save_pretrained(tmp_path / "vit")
    if channels == 1:
        model = load_model(str(tmp_path / "vit"), device="cpu")
        x = torch.randn(2, 1, 64, 64)
        assert torch.equal(model.network(x), network(x).logits)
        assert prepared(tmp_path / "vit", {"size": 64, "image_mean": [0.1], "image_std": [0.3]}).mean == (0.1,)
        return
    said = "its first convolution takes 4 channels; only grey (1) and RGB (3) images can be explained"
    assert refused(str(tmp_path / "vit")).endswith(said)
    with pytest.raises(DasExplainError, match="only grey") as error:
        load_model(network)
    assert "size" not in str(error.value), "another size would not help"


def test_squashed_and_cropped_is_said(folder: Path) -> None:
    sizes = {"size": {"height": 64, "width": 64}, "crop_size": {"height": 56, "width": 56}, "do_center_crop": True}
    prepared(folder, sizes)
    told = load_model(str(folder), device="cpu").assumptions
    assert told == [
        f"{folder / 'preprocessor_config.json'}: it squashes photos and crops them; here they are only squashed"
    ]


def test_weights_that_are_not_the_network_s(folder: Path) -> None:
    weights = folder / "model.safetensors"
    state = load_file(weights)
    first, *rest = sorted(state)
    save_file({key: state[key] for key in rest}, weights, metadata={"format": "pt"})
    assert f"model.safetensors does not fit resnet: it lacks {first}" in refused(str(folder))
    save_file({**state, "spare": torch.ones(1)}, weights, metadata={"format": "pt"})
    assert "model.safetensors does not fit resnet: it has the foreign spare" in refused(str(folder))
    save_file({**state, first: torch.ones(3, 2)}, weights, metadata={"format": "pt"})
    assert str(folder) in refused(str(folder))


def test_a_pickle_in_the_folder_is_not_read(folder: Path, tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'harm'}",)

    torch.save(Runs(), folder / "pytorch_model.bin")
    assert load_model(str(folder), device="cpu").labels == ["ant", "bee", "cat"]
    (folder / "model.safetensors").unlink()
    assert "pytorch_model.bin holds Python objects" in refused(str(folder))
    assert not (tmp_path / "harm").exists()
    (folder / "pytorch_model.bin").unlink()
    (folder / "model.safetensors.index.json").write_text("{}")
    assert refused(str(folder)).endswith(
        "it has no model.safetensors; model.safetensors.index.json says that they are in parts: save them in one file"
    )


def test_older_folders_keep_their_weights_in_a_pickle(folder: Path, network: nn.Module, tmp_path: Path) -> None:
    """With what a training loop left beside the tensors, which is not made."""

    class Leaves:
        def __reduce__(self):
            return open, (str(tmp_path / "harm"), "w")

    torch.save({**network.state_dict(), "left": Leaves()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    model = load_model(str(folder), device="cpu", size=64)
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(model.network(x), network(x).logits)
    assert not (tmp_path / "harm").exists()


def test_a_vision_transformer_of_transformers(tmp_path: Path) -> None:
    """Its default blocks, its tokens, and pytorch-grad-cam's map of them."""
    torch.manual_seed(10)
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, image_size=64, num_labels=3
    )
    network = transformers.ViTForImageClassification(config).eval()
    network.save_pretrained(tmp_path / "vit")
    model = load_model(str(tmp_path / "vit"), device="cpu")
    assert model.preprocess.geometry.size == (64, 64)
    assert {block: str(layout) for block, layout in model.layouts.items()} == dict.fromkeys(model.blocks, "tokens:1")
    images, targets = torch.randn(2, 3, 64, 64), torch.tensor([0, 2])
    block = list(model.blocks)[-1]
    assert "layernorm_before" in block or "norm1" in block, "the norm before the last attention"
    found = grad_cam(model.network, images, targets, [block], layouts=model.layouts)[block]

    def reshape(output: torch.Tensor) -> torch.Tensor:
        return output[:, 1:].reshape(2, 4, 4, 24).permute(0, 3, 1, 2)

    with GradCAM(model.network, [model.blocks[block]], reshape_transform=reshape) as peer:
        expected = peer(images, [ClassifierOutputTarget(int(target)) for target in targets])
    torch.testing.assert_close(found.map, torch.as_tensor(expected), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, "config.json: transformers has no image classifier of model_type 'bert'"),
        (
            {"model_type": "my_own", "auto_map": {"AutoConfig": "code.Config"}},
            "no image classifier of model_type 'my_own'",
        ),
        ({"model_type": ["resnet"]}, "config.json: transformers has no image classifier of model_type ['resnet']"),
        ({"id2label": {str(i): f"c{i}" for i in range(7)}}, "says 7 classes, but no layer in model.safetensors has"),
        (
            {"id2label": {"0": "a", "1": "\x1b[2J", "2": "c"}},
            "is no class name (empty, or with unprintable characters)",
        ),
        ({"depths": "many"}, "transformers cannot load it ("),
        ({"depths": [1, 1, 1, 10**9]}, "config.json: no network has a number as large as 1,000,000,000"),
        ({"depths": [1, 1, 1, 10**6]}, "the network that it describes has over "),
        ({"hidden_sizes": [8, 16, 24, 10**6]}, "the network that it describes has over "),
        ({"model_type": "shieldgemma2"}, "the network that it describes has over "),
        ({"id2label": None, "num_labels": 10**7}, "config.json: num_labels must lie in 1..1000000, not 10000000"),
        ({"use_return_dict": "\x1b[31m\x07"}, "transformers cannot load it ("),
        ({"num_labels": "\x1b[31m\x07"}, "transformers cannot load it ("),
        ({"num_labels": -1}, ""),
    ],
)
def test_a_hostile_config(folder: Path, change: dict[str, Any], message: str, capfd: pytest.CaptureFixture) -> None:
    config = {**json.loads((folder / "config.json").read_text()), **change}
    (folder / "config.json").write_text(json.dumps(config))
    assert message in refused(str(folder))
    assert "".join(capfd.readouterr()) == "", "transformers says nothing of its own"


@pytest.mark.parametrize(
    "values",
    [
        {"size": {"height": 10**9, "width": 3}},
        {"size": "large"},
        {"image_std": [0, 0, 0]},
        {"size": {"width": 3}},
        {"size": 32, "crop_pct": 1e-320},
        {"size": {"shortest_edge": 32}, "crop_pct": 1e-320},
        {"rescale_factor": 10**400},
        {"image_mean": [10**400] * 3},
    ],
)
def test_a_hostile_preprocessor(folder: Path, values: dict[str, Any]) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(values))
    assert "preprocessor_config.json: " in refused(str(folder))


def test_it_is_not_packed(folder: Path, tmp_path: Path) -> None:
    model = load_model(str(folder), device="cpu")
    with pytest.raises(
        UsageError, match=r"transformers:resnet cannot be built by name; transformers' own folder of it"
    ):
        save_model(tmp_path / "packed", model.network, architecture=model.config["architecture"], num_classes=3)
    assert not (tmp_path / "packed").exists()
