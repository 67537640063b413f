"""Warm starts: what is copied, what keeps its start, and that all else is as strict as loading."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from das_explain.checkpoint.warm import copy_weights
from das_explain.errors import DasExplainError
from das_explain.nn import create_model


@pytest.fixture(scope="module")
def plain() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return torchvision.models.mobilenet_v2(num_classes=10).state_dict()


def gated(num_classes: int) -> nn.Module:
    torch.manual_seed(2)
    return create_model("mobilenet_v2", "das", num_classes, init="identity")


def test_everything_but_the_gates(plain: dict[str, torch.Tensor]) -> None:
    network, before = gated(10), gated(10).state_dict()
    summary = copy_weights(network, plain, "mobile.pth")
    state = network.state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in plain.items())
    assert all(torch.equal(state[key], before[key]) for key in state if ".gate." in key)
    assert summary.gates_kept == tuple(f"features.{i}.gate" for i in (1, 3, 6, 13, 16, 17))
    assert summary.head_skipped is None
    assert str(summary) == "warm start: 262 tensors from mobile.pth; 6 gates start fresh"


def test_the_head_of_another_class_count_starts_fresh(plain: dict[str, torch.Tensor]) -> None:
    network, before = gated(7), gated(7).state_dict()
    summary = copy_weights(network, {"model": {f"module.{key}": tensor for key, tensor in plain.items()}}, "w.pth")
    state = network.state_dict()
    assert summary.head_skipped == (10, 7)
    assert str(summary).endswith(
        "; 6 gates start fresh; the head starts fresh, for 7 classes where the weights have 10"
    )
    assert torch.equal(state["classifier.1.bias"], before["classifier.1.bias"])
    assert torch.equal(state["features.18.0.weight"], plain["features.18.0.weight"])


def test_gates_are_taken_where_the_weights_have_them() -> None:
    given, network = gated(10), gated(10)
    with torch.no_grad():
        given.features[1].gate.weight.add_(1)
    summary = copy_weights(network, given.state_dict(), "w.pth")
    assert summary.gates_kept == ()
    assert torch.equal(network.features[1].gate.weight, given.features[1].gate.weight)


def test_all_else_is_strict(plain: dict[str, torch.Tensor]) -> None:
    network, before = gated(10), gated(10).state_dict()
    lacking = {key: tensor for key, tensor in plain.items() if key != "features.0.0.weight"}
    with pytest.raises(
        DasExplainError, match=r"w.pth does not fit .* 1 key missing \(features.0.0.weight\); 99% of its"
    ):
        copy_weights(network, lacking, "w.pth")
    with pytest.raises(DasExplainError, match=r"1 foreign key \(extra\)"):
        copy_weights(network, {**plain, "extra": torch.ones(1)}, "w.pth")
    partly = {**plain, "features.1.gate.layer_norm.weight": torch.ones(16)}
    with pytest.raises(DasExplainError, match=r"keys missing \(features.1.gate.weight"):
        copy_weights(network, partly, "w.pth")
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


def test_a_plain_network_takes_no_gates() -> None:
    with pytest.raises(DasExplainError, match=r"66 foreign keys \(features.1.gate.weight"):
        copy_weights(create_model("mobilenet_v2", "none", 10), gated(10).state_dict(), "w.pth")
