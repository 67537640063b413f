"""Stages of transformers' networks, of small ones that are built here: the same in memory and in a module of one's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from das_explain.checkpoint.load import load_model
from das_explain.nn.stages import find_stages

transformers = pytest.importorskip("transformers")
WIDTHS = {"depths": [1, 1, 1, 1], "hidden_sizes": [16, 32, 48, 64], "num_attention_heads": [1, 2, 3, 4]}
VIT = {"patch_size": 16, "hidden_size": 48, "num_attention_heads": 2, "intermediate_size": 64}
SWIN = {"patch_size": 2, "embed_dim": 24, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 2, 2], "window_size": 4}


class Mine(nn.Module):
    """A network that returns its logits alone, in somebody's own module."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.model = network

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images).logits


def build(kind: str, **options: Any) -> nn.Module:
    """An untrained classifier of 64 x 64 photos."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, num_labels=3, image_size=64, **options)
    return transformers.AutoModelForImageClassification.from_config(config).eval()


@pytest.mark.parametrize(
    ("kind", "options", "stages"),
    [
        ("swin", SWIN, ["swin.encoder.layers.2.blocks.1", "swin.encoder.layers.3.blocks.0"]),
        ("pvt_v2", WIDTHS, ["pvt_v2.encoder.layers.2", "pvt_v2.encoder.layers.3"]),
        (
            "mobilevitv2",
            {"width_multiplier": 0.5},
            ["mobilevitv2.encoder.layer.3", "mobilevitv2.encoder.layer.4"],
        ),
        (
            "data2vec-vision",
            {**VIT, "num_hidden_layers": 4},
            [f"data2vec_vision.encoder.layer.{block}.layernorm_before" for block in (2, 3)],
        ),
    ],
)
def test_the_last_two_stages(kind: str, options: dict[str, Any], stages: list[str]) -> None:
    network = build(kind, **options)
    assert list(load_model(network, device="cpu", size=64).usual_blocks) == stages
    assert list(find_stages(Mine(network), (64, 64)))[-2:] == [f"model.{stage}" for stage in stages]


def clip(layers: int) -> nn.Module:
    vision = {**VIT, "image_size": 64, "num_hidden_layers": layers}
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model("clip", num_labels=3, vision_config=vision)
    return transformers.AutoModelForImageClassification.from_config(config).eval()


def test_clip_of_six_layers_and_that_one_layer_leaves_the_embedding_alone_is_said() -> None:
    model = load_model(clip(6), device="cpu", size=64)
    assert list(model.usual_blocks) == [f"vision_model.encoder.layers.{block}.layer_norm1" for block in (3, 5)]
    told = "no block to explain was found behind vision_model.pre_layrnorm, which stands in front of nearly all"
    assert not any("was found behind" in sentence for sentence in model.assumptions)
    assert any(told in sentence for sentence in load_model(clip(1), device="cpu", size=64).assumptions)
