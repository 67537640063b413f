"""Strict loading: exact differences in one line, the likely architecture, and arguments read off the weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from das_explain.checkpoint.advice import likely_architecture
from das_explain.checkpoint.arguments import class_count, infer_arguments
from das_explain.checkpoint.build import build_network
from das_explain.checkpoint.differences import differences
from das_explain.checkpoint.fit import load_strict
from das_explain.checkpoint.wrappers import Candidate
from das_explain.errors import DasExplainError
from das_explain.nn import ATTENTION, BACKBONES, create_model
from das_explain.nn.registry import attentions_of


def blank(architecture: str, attention: str = "none", num_classes: int = 1000, **arguments) -> dict[str, Tensor]:
    """Keys and shapes without numbers."""
    return build_network(architecture, attention, num_classes, arguments).state_dict()


def message(wanted: nn.Module, state: dict[str, Tensor], ask: str | None = None) -> str:
    with pytest.raises(DasExplainError) as error:
        load_strict(wanted, [Candidate(state)], source="w.pth", wanted="the network", ask=ask)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("architecture", "attention"),
    [(name, kind) for name in BACKBONES for kind in (("none", "das") if name != "resnet18" else ("none", *ATTENTION))],
)
def test_each_architecture_is_recognised(architecture: str, attention: str) -> None:
    name = architecture if attention == "none" else f"{architecture}:{attention}"
    state = blank(architecture, attention, num_classes=37)
    assert likely_architecture([Candidate(state)]) == (1.0, name)
    assert class_count(architecture, state) == 37


@pytest.mark.parametrize("attention", ["none", *attentions_of("mobilenet_v2")])
def test_a_meta_network_becomes_real_and_equal(attention: str) -> None:
    torch.manual_seed(0)
    real = create_model("mobilenet_v2", attention, 5)
    network = build_network("mobilenet_v2", attention, 5)
    load_strict(network, [Candidate(real.state_dict())], source="w.pth", wanted="mobilenet_v2")
    tensors = [*network.parameters(), *network.buffers()]
    assert not any(tensor.is_meta for tensor in tensors)
    assert all(parameter.requires_grad for parameter in network.parameters())
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(network.eval()(x), real.eval()(x))
    next(network.parameters()).data.zero_()
    assert next(real.parameters()).any()  # a copy, not a view of the file


def test_missing_foreign_and_misshapen_keys_are_named_three_at_a_time() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    state = dict(network.state_dict())
    for key in ("1.weight", "1.bias", "1.running_mean", "1.running_var"):
        state[f"bn.{key}"] = state.pop(key)
    state["0.weight"] = torch.zeros(4, 1, 3, 3)
    assert message(network, state).startswith(
        "w.pth does not fit the network: 4 keys missing (1.weight, 1.bias, 1.running_mean and 1 more), "
        "4 foreign keys (bn.1.weight, bn.1.bias, bn.1.running_mean and 1 more), "
        "1 other shape (0.weight is 4x1x3x3, not 4x3x3x3); no network of the registry's, torchvision's or timm's resembles it"
    )


def test_the_counter_of_batches_may_be_missing_or_foreign() -> None:
    network = nn.BatchNorm2d(2)
    state = {
        "weight": torch.ones(2),
        "bias": torch.ones(2),
        "running_mean": torch.ones(2),
        "running_var": torch.ones(2),
    }
    load_strict(network, [Candidate(state)], source="w", wanted="a norm")
    assert network.running_mean.tolist() == [1, 1]
    assert not differences(nn.BatchNorm2d(2, track_running_stats=True).state_dict(), state)
    bare = {"weight": torch.ones(2)}
    assert not differences(bare, {**bare, "bn.num_batches_tracked": torch.tensor(1)})


def test_another_class_count_is_said_as_such() -> None:
    text = message(build_network("resnet18", num_classes=10), blank("resnet18", num_classes=37))
    assert text == "w.pth has 37 classes, where 10 are expected (the network): its fc.weight is 37x512"


@pytest.mark.parametrize(
    ("wanted", "given", "advice"),
    [
        (("resnet18", "none"), ("resnet50", "none"), "; it is resnet50: ask for w.pth@resnet50"),
        (("resnet18", "none"), ("resnet18", "das"), "; it is resnet18:das: ask for w.pth@resnet18:das"),
        (("resnet18", "das"), ("resnet18", "none"), "; it is resnet18: ask for w.pth@resnet18"),
        (("mobilenet_v2", "none"), ("mobilenet_v2", "das"), "; it is mobilenet_v2:das: ask for w.pth@mobilenet_v2:das"),
    ],
)
def test_the_likely_architecture_is_proposed(wanted: tuple, given: tuple, advice: str) -> None:
    text = message(build_network(*wanted), blank(*given, num_classes=4), ask="w.pth@{}")
    assert text.endswith(advice)


def test_gates_are_named() -> None:
    asked_plain = message(build_network("resnet18"), blank("resnet18", "das"))
    assert "44 foreign keys (layer1.gate.weight, layer1.gate.depthwise.weight" in asked_plain
    asked_gated = message(build_network("resnet18", "das"), blank("resnet18"))
    assert "44 keys missing (layer1.gate.weight, layer1.gate.depthwise.weight" in asked_gated


def test_a_near_miss_says_how_near() -> None:
    state = blank("resnet18")
    del state["layer4.1.conv2.weight"]
    text = message(build_network("resnet50"), state, ask="w.pth@{}")
    assert text.endswith("; 99% of its keys and shapes are those of resnet18, which is not enough to load it")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"layer4.1.conv2.weight": None}, "the file is incomplete; save the whole state dict again"),
        ({"fc.weight": None, "fc.bias": None}, "it has no head fc, or one by another name; give the weights of"),
        ({"fc.weight": None, "fc.bias": None, "top.weight": torch.ones(2)}, "it has no head fc, or one by another"),
        ({"layer9.x": torch.ones(2)}, "the file is of a network with more parts, or holds more than a network; save"),
        ({"bn1.weight": None, "norm1.weight": torch.ones(64)}, "it is of a variant of this network; python:MODULE:"),
    ],
)
def test_what_was_asked_for_is_not_proposed_again(change: dict, reason: str) -> None:
    state = {key: tensor for key, tensor in {**blank("resnet18"), **change}.items() if tensor is not None}
    text = message(build_network("resnet18"), state, ask="w.pth@{}")
    assert f"; all else fits: {reason}" in text
    assert "ask for" not in text


def test_a_network_of_one_s_own_gets_the_same_advice() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    state = {key: tensor for key, tensor in network.state_dict().items() if key != "1.bias"}
    assert "1 key missing (1.bias); all else fits: the file is incomplete" in message(network, state)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("architecture", ["resnet18", "mobilenet_v2"])
def test_alpha_is_read_off_the_widths(architecture: str, alpha: float) -> None:
    state = blank(architecture, "das", alpha=alpha)
    inferred = infer_arguments(architecture, "das", state)["alpha"]
    again = blank(architecture, "das", alpha=inferred)
    assert {key: tensor.shape for key, tensor in again.items()} == {key: tensor.shape for key, tensor in state.items()}
    assert inferred == alpha or alpha == 0.01  # several alphas may give the same widths; the roundest is taken


def test_an_impossible_width_gives_no_alpha() -> None:
    state = {
        "layer1.gate.pointwise.weight": torch.zeros(12, 64, 1, 1),
        "layer2.gate.pointwise.weight": torch.zeros(100, 128, 1, 1),
    }
    assert "alpha" not in infer_arguments("resnet18", "das", state)


def test_stem_and_gate_places_are_read_off_the_weights() -> None:
    arguments = {"stem": "small", "gates": ("layer1.0", "layer4"), "alpha": 0.1}
    assert infer_arguments("resnet18", "das", blank("resnet18", "das", **arguments)) == arguments
    places = ("features.3", "features.13")
    assert infer_arguments("mobilenet_v2", "das", blank("mobilenet_v2", "das", gates=places))["gates"] == places
    assert infer_arguments("resnet18", "none", blank("resnet18")) == {}


@pytest.mark.parametrize(
    ("architecture", "attention", "size", "told"),
    [
        ("resnet18", "defcon1", 9, {"kernel_size": 9}),
        ("resnet18", "defcon1", None, {}),
        ("resnet50", "eca", "published", {}),  # as by default
        ("resnet101", "eca", "published", {"kernel_size": "published"}),
        ("mobilenet_v2", "triplet", 3, {}),
        ("mobilenet_v2", "triplet", 5, {"kernel_size": 5}),
        ("resnet18", "eca", {64: 3, 128: 3, 256: 9, 512: 3}, {}),  # nobody's: the default, which then does not fit
    ],
)
def test_kernel_sizes_are_read_off_the_kernels(architecture: str, attention: str, size: object, told: dict) -> None:
    state = blank(architecture, attention, **({} if size is None else {"kernel_size": size}))
    assert infer_arguments(architecture, attention, state) == told
    assert infer_arguments(architecture, attention, state, {"kernel_size": 7}) == {"kernel_size": 7}


def test_given_arguments_are_left_alone() -> None:
    state = blank("resnet18", "das", alpha=0.2)
    assert infer_arguments("resnet18", "das", state, {"alpha": 0.1})["alpha"] == 0.1


def test_integers_are_no_weights() -> None:
    state = {"weight": torch.ones(2, 2, dtype=torch.int8), "bias": torch.zeros(2)}
    assert "w.pth holds weight in torch.int8, where torch.float32 is needed" in message(nn.Linear(2, 2), state)
