"""The quick copy of a network: when it is made, kept, and made again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from das_explain.cam.engine import grad_cam
from das_explain.cam.fast import FastCopies, fast_copy, state_signature
from das_explain.nn import create_model

SIZE = (32, 32)


def alive(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    network = create_model("resnet18", "none", 3, stem="small")
    network.train()(torch.randn(4, 3, *SIZE))  # running statistics that are not their start
    return network.eval()


def blocks_of(network: nn.Module, *names: str) -> dict[str, nn.Module]:
    return {name: network.get_submodule(name) for name in names}


def add_to_weight(network: nn.Module) -> None:
    with torch.no_grad():
        network.layer3[0].conv1.weight.add_(0.3)


def write_through_data(network: nn.Module) -> None:
    network.layer3[0].conv1.weight.data += 0.3


def move_running_mean(network: nn.Module) -> None:
    network.layer3[0].bn1.running_mean += 0.5


def replace_module(network: nn.Module) -> None:
    torch.manual_seed(5)
    network.fc = nn.Linear(512, 3)


def load_other_weights(network: nn.Module) -> None:
    network.load_state_dict(alive(1).state_dict())


def step_of_an_optimizer(network: nn.Module) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    network(torch.ones(2, 3, *SIZE)).square().sum().backward()
    optimizer.step()
    network.zero_grad()


def listen(network: nn.Module) -> None:
    network.layer2.register_forward_hook(lambda module, inputs, output: output * 0.5)


CHANGES = (
    add_to_weight,
    write_through_data,
    move_running_mean,
    replace_module,
    load_other_weights,
    step_of_an_optimizer,
    listen,
)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_network_has_a_new_copy(change: Callable[[nn.Module], None]) -> None:
    network, images = alive(), torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    copies, blocks = FastCopies(network, SIZE), blocks_of(network, "layer3", "layer4")
    first, _ = copies.of(blocks)
    before = grad_cam(*_with_images(copies.of(blocks), images))
    change(network)
    twin, modules = copies.of(blocks)
    assert twin is not first
    expected = grad_cam(network, images, None, blocks)
    found = grad_cam(twin, images, None, modules)
    for name, cam in found.items():
        torch.testing.assert_close(cam.map, expected[name].map, rtol=0, atol=2e-3)
    assert any((found[name].raw_max - before[name].raw_max).abs().max() > 1e-4 for name in found), "the change is seen"


def _with_images(runs: tuple[nn.Module, dict[str, nn.Module]], images: Tensor) -> tuple:
    return runs[0], images, None, runs[1]


def test_an_unchanged_network_keeps_its_copy() -> None:
    network = alive()
    copies, blocks = FastCopies(network, SIZE), blocks_of(network, "layer3", "layer4")
    first, _ = copies.of(blocks)
    assert first is not network
    grad_cam(network, torch.randn(1, 3, *SIZE), None, ["layer2"])
    network.train()
    network.eval()
    assert copies.of(dict(blocks))[0] is first
    renamed, modules = copies.of({"deep": network.layer4, "last": network.layer3})
    assert list(modules) == ["deep", "last"]
    assert renamed is not first
    assert copies.of(blocks)[0] is first


def test_no_more_copies_than_a_few() -> None:
    network = alive()
    copies = FastCopies(network, SIZE)
    for name in ("layer1", "layer2", "layer3", "layer4"):
        copies.of(blocks_of(network, name))
    assert len(copies._copies) == FastCopies.KEPT


def test_methods_that_need_the_network_itself_get_it() -> None:
    network = alive()
    blocks = blocks_of(network, "layer4")
    assert fast_copy(network, blocks, SIZE, method="layercam") == (network, blocks)
    elsewhere = network.to("meta")  # not on a CPU
    assert fast_copy(elsewhere, blocks, SIZE)[0] is elsewhere
    assert FastCopies(elsewhere, SIZE).of(blocks) == (elsewhere, blocks)


def test_a_signature_of_nan_is_the_same_twice() -> None:
    network = nn.Linear(2, 2)
    network.weight.data[0, 0] = float("nan")
    assert state_signature(network) == state_signature(network)
