"""EMCA in its network: which blocks it stands in, whose scales it takes, and what happens when they are lost."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from das_explain.cam.engine import grad_cam
from das_explain.errors import DasExplainError
from das_explain.nn import create_model
from das_explain.nn.attention.emca import EMCA
from das_explain.nn.backbones.resnet import STAGES, block_places
from das_explain.nn.carried import carry_on, carry_scales
from das_explain.nn.counts.tables import on_meta
from das_explain.nn.registry import default_gates
from tests.nn.lively import lively, maps

PUBLISHED_CODE = {"excitation": "eca", "scales": "every", "gates": block_places("resnet18")}
WIRINGS = {"previous": {}, "every": {"scales": "every"}, "published code": PUBLISHED_CODE}


def network_with(backbone: str = "resnet18", **arguments) -> nn.Module:
    torch.manual_seed(0)
    network = create_model(backbone, "emca", num_classes=3, **arguments).double().eval()
    for module in network.modules():
        if isinstance(module, nn.Conv1d):  # the sums of scales are seen in the logits
            nn.init.uniform_(module.weight, -2, 2)
    return network


def images(n: int = 2) -> Tensor:
    return maps(n, 3, 33, 40)


def residual_of(block: nn.Module, x: Tensor) -> Tensor:
    residual = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu()))
    return block.bn3(block.conv3(residual.relu())) if hasattr(block, "conv3") else residual


def by_hand(network: nn.Module, x: Tensor, wiring: str) -> Tensor:
    """A ResNet with EMCA, written from the equations and the sentence on which scales a module takes."""
    x = network.maxpool(network.bn1(network.conv1(x)).relu())
    before = [[x.mean((2, 3))]]
    for stage in STAGES:
        now = []
        for number, block in enumerate(getattr(network, stage)):
            residual = residual_of(block, x)
            y = residual.mean((2, 3))
            earlier = before[-1] if wiring == "previous" else [blocks[-1] for blocks in before]
            module = block.gate
            if isinstance(module, EMCA):
                stacked = [torch.cat([scale] * (y.shape[1] // scale.shape[1]), 1) for scale in earlier] + [y]
                if wiring != "published code":
                    z = sum(a * scale for a, scale in zip(module.fuse_scales.weight.flatten(), stacked)).relu()
                    first, _, second = module.wide
                    w = ((z @ first.weight[:, :, 0, 0].T).relu() @ second.weight[:, :, 0, 0].T).sigmoid()
                else:
                    w = along_channels(module.local, y).sigmoid()
                    if number:
                        z = sum(a * scale for a, scale in zip(module.fuse_scales.weight.flatten(), stacked)).relu()
                        b = module.fuse.weight.flatten()
                        w = (b[0] * w + b[1] * along_channels(module.wide, z).sigmoid()).sigmoid()
                residual = residual * (1 + w[:, :, None, None])
            shortcut = x if block.downsample is None else block.downsample(x)
            x = (residual + shortcut).relu()
            now.append(y)
        before.append(now)
    return network.fc(x.mean((2, 3)))


def along_channels(conv: nn.Conv1d, y: Tensor) -> Tensor:
    k, padded = conv.weight.shape[2], nn.functional.pad(y, (conv.weight.shape[2] // 2,) * 2)
    return sum(weight * padded[:, n : n + y.shape[1]] for n, weight in zip(range(k), conv.weight.flatten()))


@pytest.mark.parametrize("wiring", WIRINGS)
def test_the_network_is_the_one_written_by_hand(wiring: str) -> None:
    network, x = network_with(**WIRINGS[wiring]), images()
    torch.testing.assert_close(network(x), by_hand(network, x, wiring))
    other = "every" if wiring == "previous" else "previous"
    if wiring != "published code":  # of the same shape in the first two stages at least: the test can fail
        with pytest.raises(AssertionError):
            torch.testing.assert_close(network(x), by_hand(network, x, other))


def test_a_network_of_bottlenecks_is_the_one_written_by_hand() -> None:
    network, x = network_with("resnet50"), images(1)
    with torch.no_grad():
        torch.testing.assert_close(network(x), by_hand(network, x, "previous"))


def test_places_and_numbers_of_scales() -> None:
    assert default_gates("resnet50", "emca") == ("layer1.0", "layer2.0", "layer3.0", "layer4.0")
    assert default_gates("resnet50", "emca", scales="every") == ("layer1.2", "layer2.3", "layer3.5", "layer4.2")

    def counts(backbone: str, **arguments) -> dict[str, int]:
        modules = on_meta(backbone, "emca", **arguments).named_modules()
        return {name.removesuffix(".gate"): module.count for name, module in modules if isinstance(module, EMCA)}

    assert counts("resnet50") == {"layer1.0": 1, "layer2.0": 3, "layer3.0": 4, "layer4.0": 6}
    assert counts("resnet101") == {"layer1.0": 1, "layer2.0": 3, "layer3.0": 4, "layer4.0": 23}
    assert counts("resnet18", scales="every") == {"layer1.1": 1, "layer2.1": 2, "layer3.1": 3, "layer4.1": 4}
    assert list(counts("resnet18", **PUBLISHED_CODE).values()) == [0, 1, 0, 2, 0, 3, 0, 4]
    assert list(counts("resnet18", excitation="eca").values()) == [1, 2, 2, 2]


def test_one_module_by_hand() -> None:
    module = lively(EMCA(32, 1))
    early, x = maps(2, 16, seed=5), maps(2, 32, 3, 3)
    carry_scales(x, ((early,), ()))
    a, (first, _, second) = module.fuse_scales.weight.flatten(), module.wide
    z = (a[0] * early.repeat(1, 2) + a[1] * x.mean((2, 3))).relu()
    weight = ((z @ first.weight[:, :, 0, 0].T).relu() @ second.weight[:, :, 0, 0].T).sigmoid()
    torch.testing.assert_close(module(x), x * (1 + weight[:, :, None, None]))
    with pytest.raises(DasExplainError, match="without the scales of earlier blocks"):
        module(x.clone())


def test_an_operation_between_stages_is_an_error_and_not_another_number() -> None:
    network, x = network_with(), images()
    handle = network.layer2.register_forward_hook(lambda module, args, output: output.clone())
    with pytest.raises(DasExplainError, match="a hook that returns a copy has to carry them on") as caught:
        network(x)
    assert "\n" not in str(caught.value)
    handle.remove()
    expected = network(x)
    network.layer2.register_forward_hook(lambda module, args, output: carry_on(output, output.clone()))
    assert torch.equal(network(x), expected)


def test_a_reentrant_checkpoint_is_an_error_and_not_a_lost_gradient() -> None:
    network, x = network_with(), images().requires_grad_()
    stage = network.layer1
    network.layer1 = Reentrant(stage)
    with pytest.raises(DasExplainError, match="use use_reentrant=False"):
        network(x)
    with torch.no_grad():
        network(x)  # without gradients nothing is lost


class Reentrant(nn.Module):
    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.stage, x, use_reentrant=True) if torch.is_grad_enabled() else self.stage(x)


def test_blocks_can_be_checkpointed_too() -> None:
    network, x = network_with(), images()
    expected = torch.autograd.grad(network(x).square().sum(), list(network.parameters()))
    for stage in STAGES:
        for block in getattr(network, stage):
            block.forward = Checkpointed(block.forward)
    got = torch.autograd.grad(network(x).square().sum(), list(network.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(got, expected))


class Checkpointed:
    def __init__(self, run) -> None:
        self.run = run

    def __call__(self, x: Tensor) -> Tensor:
        return checkpoint(self.run, x, use_reentrant=False)


@pytest.mark.parametrize("wiring", WIRINGS)
def test_gradients_flow_through_the_scales(wiring: str) -> None:
    network, x = network_with(**WIRINGS[wiring]), images()
    parameters = list(network.parameters())
    got, expected = (
        torch.autograd.grad(out.square().sum(), parameters) for out in (network(x), by_hand(network, x, wiring))
    )
    for (name, _), mine, theirs in zip(network.named_parameters(), got, expected):
        torch.testing.assert_close(mine, theirs, msg=lambda text, name=name: f"{name}: {text}")


def test_maps_of_every_stage_are_those_of_the_network_alone() -> None:
    """Grad-CAM's hooks put copies into the network; scales of frozen stages are constants, as they are without hooks."""
    network, x, targets = network_with(), images(), torch.tensor([0, 2])
    cams = grad_cam(network, x, targets, STAGES)
    for stage in STAGES:
        activation, gradient = {}, None
        handle = network.get_submodule(stage).register_forward_hook(
            lambda module, args, output, activation=activation: activation.update(map=output)
        )
        score = network(x).gather(1, targets[:, None]).sum()
        handle.remove()
        gradient = torch.autograd.grad(score, activation["map"])[0]
        raw = (gradient.mean((2, 3), keepdim=True) * activation["map"]).sum(1).relu()
        torch.testing.assert_close(cams[stage].raw_max, raw.flatten(1).amax(1).float(), rtol=1e-5, atol=1e-8)


def test_networks_can_be_copied_after_a_pass() -> None:
    network, x = network_with().train(), images()
    network(x)
    twin = copy.deepcopy(network).eval()
    assert torch.equal(twin(x), network.eval()(x))
