"""Random weights: which modules forget, that they do so the same way each time, and what their maps are then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from das_explain.checkpoint.load import load_model, save_model, warm_start
from das_explain.checkpoint.randomize import randomize
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn import create_model
from tests.models import model_directory

SIZE = (16, 16)


class Branched(nn.Module):
    """Written down in another order than it runs: head, late, early."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.late = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.early = nn.Conv2d(3, 4, 3, padding=1)
        self.scale = nn.Parameter(torch.linspace(1, 2, 4))
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.late(self.early(x)) * self.scale.view(1, 4, 1, 1)).mean((2, 3)))


def learned(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        for number, tensor in enumerate(network.state_dict().values()):
            if tensor.is_floating_point():
                tensor.add_(1 + number)
    return network


def changed(before: dict[str, Tensor], network: nn.Module) -> set[str]:
    after = network.state_dict()
    return {key for key, tensor in before.items() if not torch.equal(tensor, after[key])}


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    return {key: tensor.clone() for key, tensor in network.state_dict().items()}


def test_all_weights_and_running_statistics() -> None:
    network = learned(Branched())
    before = snapshot(network)
    randomize(network, SIZE)
    assert changed(before, network) == before.keys() - {"late.1.num_batches_tracked"}
    assert torch.equal(network.late[1].running_mean, torch.zeros(4))
    assert sorted(network.scale.tolist()) == sorted(before["scale"].tolist()), "permuted"


def test_from_the_top_down_to_a_block_in_the_order_of_running() -> None:
    for block, expected in (
        ("head", {"head.weight", "head.bias"}),
        (
            "late.1",
            {"late.1.weight", "late.1.bias", "late.1.running_mean", "late.1.running_var", "head.weight", "head.bias"},
        ),
    ):
        network = learned(Branched())
        before = snapshot(network)
        randomize(network, SIZE, block)
        assert changed(before, network) == expected
    network = learned(Branched())
    before = snapshot(network)
    randomize(network, SIZE, "early")
    kept = before.keys() - changed(before, network)
    assert kept == {"scale", "unused.weight", "unused.bias", "late.1.num_batches_tracked"}, "not run after early begins"


def test_cascading_is_nested() -> None:
    """What a shallower cascade forgets, a deeper one forgets, too (Adebayo et al. 2018, Sec. 3.1)."""
    sets = []
    for block in ("layer4", "layer3", "layer2", "layer1"):
        network = learned(create_model("resnet18", "das", 3, stem="small"))
        before = snapshot(network)
        randomize(network, (32, 32), block)
        sets.append(changed(before, network))
    assert sets[0] < sets[1] < sets[2] < sets[3]
    assert all(key.startswith(("layer4.", "fc.")) for key in sets[0])
    assert not any(key.startswith(("conv1", "bn1")) for key in sets[3])


def test_quantus_draws_from_the_same_distribution() -> None:
    """Quantus' randomisation test resets the same modules, top down; draws differ, their spread does not."""
    pytest.importorskip("quantus")
    from quantus.helpers.model.pytorch_model import PyTorchModel

    network = learned(create_model("resnet18", "none", 3, stem="small")).eval()
    *_, (_, theirs) = PyTorchModel(network).get_random_layer_generator("top_down", seed=1)
    randomize(network, (32, 32))
    for (key, mine), other in zip(network.state_dict().items(), theirs.state_dict().values(), strict=True):
        if not mine.is_floating_point():
            continue
        if mine.numel() > 500:
            assert mine.std().item() == pytest.approx(other.std().item(), rel=0.15), key
            assert mine.abs().max().item() == pytest.approx(other.abs().max().item(), rel=0.15), key
        elif "bn" in key or "downsample.1" in key:
            assert torch.equal(mine, other), key


@pytest.mark.parametrize("block", ["layer4", "layer3", "layer2", "layer1"])
def test_quantus_cascade_resets_the_same_tensors_down_to_each_block(block: str) -> None:
    """Its model parameter randomisation test goes layer by layer; here a step is a block, down to its first layer."""
    pytest.importorskip("quantus")
    from quantus.helpers.model.pytorch_model import PyTorchModel

    network = learned(create_model("resnet18", "none", 3, stem="small")).eval()
    before = snapshot(network)
    theirs: set[str] = set()
    for layer, step in PyTorchModel(network).get_random_layer_generator("top_down", seed=1):
        if layer.startswith(block):
            theirs = changed(before, step)
    randomize(network, (32, 32), block)
    assert changed(before, network) == theirs - {key for key in theirs if key.endswith("num_batches_tracked")}


def test_weights_behind_a_parametrization_forget_too() -> None:
    network = nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    before = network[0].weight.clone()
    randomize(network, SIZE)
    assert not torch.equal(network[0].weight, before)


def test_the_same_each_time_and_nothing_outside_moves() -> None:
    state = torch.random.get_rng_state()
    first, second = Branched(), Branched()
    second.load_state_dict(first.state_dict())
    state = torch.random.get_rng_state()
    for network in (first.train(), second.train()):
        randomize(network, SIZE, "late")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))
    assert first.training
    assert not any(module._forward_pre_hooks for module in first.modules())
    assert all(parameter.requires_grad for parameter in first.parameters())


def test_a_block_that_does_not_run() -> None:
    with pytest.raises(DasExplainError, match="block unused did not run in the forward pass"):
        randomize(Branched(), SIZE, "unused")


# --- as a spec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_directory(tmp_path_factory.mktemp("m") / "net", ["a", "b", "c"], attention="das")


def test_a_random_model_is_one_like_any_other(folder: Path) -> None:
    trained = load_model(str(folder), device="cpu")
    marks = {trained.fingerprint}
    for suffix in ("random", "random:layer4", "random:layer3"):
        model = load_model(f"{folder}+weights={suffix}", device="cpu")
        assert model.name == f"net+weights={suffix}"
        assert model.config["weights"] == suffix
        assert model.labels == trained.labels
        assert load_model(f"{folder}+weights={suffix}", device="cpu").fingerprint == model.fingerprint
        marks.add(model.fingerprint)
        explanation = model.explain(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
        assert all(torch.isfinite(cam.map).all() for cam in explanation.cams.values())
    assert len(marks) == 4
    x = torch.randn(1, 3, 32, 32)
    cascaded = load_model(f"{folder}+weights=random:layer4", device="cpu").network
    assert torch.equal(cascaded.layer1(cascaded.conv1(x)), trained.network.layer1(trained.network.conv1(x)))


def test_suffixes_combine(folder: Path) -> None:
    both = load_model(f"{folder}+weights=random:layer4+gates=ones", device="cpu")
    one = load_model(f"{folder}+weights=random:layer4", device="cpu")
    assert both.fingerprint != one.fingerprint
    assert (both.config["gates"], both.config["weights"]) == ("ones", "random:layer4")
    assert isinstance(both.network.layer4.gate, nn.Identity)
    assert torch.equal(both.network.fc.weight, one.network.fc.weight)


def test_a_block_that_is_not_there(folder: Path) -> None:
    with pytest.raises(
        UsageError, match=r"resnet18 has no block 'layer5'; its blocks are layer1, layer2, layer3, layer4"
    ):
        load_model(f"{folder}+weights=random:layer5", device="cpu")


def test_no_warm_start_from_it(folder: Path) -> None:
    network = create_model("resnet18", "das", 3, stem="small")
    with pytest.raises(UsageError, match=r"a warm start takes weights as they are; leave \+weights=random out"):
        warm_start(network, f"{folder}+weights=random")


def test_what_is_packed_is_what_was_random(folder: Path, tmp_path: Path) -> None:
    model = load_model(f"{folder}+weights=random", device="cpu")
    options = {key: model.config[key] for key in ("architecture", "attention", "arguments")}
    save_model(tmp_path / "packed", model.network, labels=model.labels, preprocess=model.preprocess, **options)
    assert load_model(str(tmp_path / "packed"), device="cpu").fingerprint == model.fingerprint
