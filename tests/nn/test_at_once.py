"""Every network may run more than once at a time: in threads, with recomputed stages, as replicas.

No module keeps an activation on itself, so the passes have nothing in common but the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from das_explain.nn import attentions_of, create_model
from das_explain.nn.backbones.resnet import STAGES, block_places
from das_explain.nn.interventions import INTERVENTIONS, intervene
from tests.nn.lively import maps
from tests.nn.replicas import replicate

RESNET18 = {
    **{attention: {} for attention in ("none", *attentions_of("resnet18"))},
    "emca, every": {"scales": "every"},
    "emca, published code": {"scales": "every", "excitation": "eca", "gates": block_places("resnet18")},
    "defcon1, weighted": {"offsets": "correlation-maps", "weighted": True},
    "das, d": {"variant": "d"},
}
NETWORKS = [*(("resnet18", name) for name in RESNET18), ("mobilenet_v2", "das"), ("mobilenet_v2", "triplet")]


@cache
def network_of(backbone: str, name: str) -> nn.Module:
    """As after some training, so that every part of a gate has an effect; in float64 and eval mode."""
    torch.manual_seed(0)
    arguments = RESNET18[name] if backbone == "resnet18" else {}
    network = create_model(backbone, name.partition(",")[0], num_classes=3, **arguments).double()
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if "gate" in key:
                parameter.normal_(std=0.3)
    return network.eval()


def images(n: int, seed: int = 1) -> Tensor:
    return maps(n, 3, 33, 40, seed=seed)


def outputs(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(result) if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize(("backbone", "name"), NETWORKS)
def test_four_threads_equal_one(backbone: str, name: str) -> None:
    network, batches = network_of(backbone, name), [images(1, seed) for seed in range(8)]
    with torch.no_grad():
        expected = [network(batch) for batch in batches]

    def run(batch: Tensor) -> Tensor:
        with torch.no_grad():  # a thread's own setting
            return network(batch)

    with ThreadPoolExecutor(4) as threads:
        for got, wanted in zip(threads.map(run, batches), expected):
            torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)


class Checkpointed(nn.Module):
    """Keeps the input of a stage and runs it again for the gradients."""

    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        return checkpoint(self.stage, x, use_reentrant=False)


@pytest.mark.parametrize(("backbone", "name"), NETWORKS)
def test_checkpointing_equals_none(backbone: str, name: str) -> None:
    network = network_of(backbone, name)
    buffers = {key: value.clone() for key, value in network.named_buffers()}
    network.train()
    parent, stages = (network, STAGES) if backbone == "resnet18" else (network.features, [str(i) for i in range(1, 18)])
    kept = {stage: getattr(parent, stage) for stage in stages}
    try:
        torch.manual_seed(0)  # for dropout
        expected = gradients(network, images(2))
        for stage, module in kept.items():
            setattr(parent, stage, Checkpointed(module))
        torch.manual_seed(0)
        got = gradients(network, images(2))
    finally:
        for stage, module in kept.items():
            setattr(parent, stage, module)
        network.eval().load_state_dict(buffers, strict=False)
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def gradients(network: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Outputs, then their squares' gradients by ``learning(network)``."""
    out = outputs(network(x))
    return (*out, *gradients_of(out, network))


def gradients_of(out: Iterable[Tensor], network: nn.Module) -> tuple[Tensor, ...]:
    loss = sum(each.square().sum() for each in out)
    found = torch.autograd.grad(loss, learning(network), allow_unused=True)
    return tuple(torch.zeros(()) if gradient is None else gradient for gradient in found)


def learning(network: nn.Module) -> list[nn.Parameter]:
    """Those of the gates and of all norms: every gradient passes by them, and the convolutions' own take the time."""
    return [parameter for name, parameter in network.named_parameters() if "gate" in name or parameter.ndim == 1]


@pytest.mark.parametrize(("backbone", "name"), NETWORKS)
def test_replicate_and_gather_equals_one(backbone: str, name: str) -> None:
    network, x = network_of(backbone, name), images(2)
    expected = gradients(network, x)
    replicas = replicate(network, 2)
    assert not any(isinstance(parameter, nn.Parameter) for parameter in replicas[0].parameters())
    with ThreadPoolExecutor(2) as threads:
        parts = list(threads.map(lambda pair: outputs(pair[0](pair[1])), zip(replicas, x.chunk(2))))
    gathered = [torch.cat(part) for part in zip(*parts)]
    for mine, theirs in zip((*gathered, *gradients_of(gathered, network)), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_a_replica_of_an_attention_branch_gives_its_second_logits() -> None:
    network = network_of("resnet18", "abn").train()
    try:
        for replica, part in zip(replicate(network, 2), images(4).chunk(2)):
            got, expected = replica(part), replicate(network, 1)[0](part)
            assert len(got) == 2
            assert got.branch.shape == (2, 3)
            for mine, theirs in zip(got, expected):
                torch.testing.assert_close(mine, theirs)
    finally:
        network.eval()


def tensors_on(network: nn.Module) -> Iterator[str]:
    """Names of attributes that hold tensors, which are no parameters and no buffers."""
    for name, module in network.named_modules():
        for key, value in vars(module).items():
            if key not in ("_parameters", "_buffers", "_modules") and any(holds_tensor(value)):
                yield f"{name}.{key}"


def holds_tensor(value: object) -> Iterator[bool]:
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from holds_tensor(each)
    elif isinstance(value, dict):
        yield from holds_tensor(list(value.values()))
    else:
        yield isinstance(value, Tensor)


@pytest.mark.parametrize(("backbone", "name"), NETWORKS)
def test_no_module_keeps_an_activation(backbone: str, name: str) -> None:
    network = network_of(backbone, name)
    buffers = {key: value.clone() for key, value in network.named_buffers()}
    network(images(1))
    assert list(tensors_on(network)) == []
    network.train()(images(2))
    assert list(tensors_on(network.eval())) == []
    network.load_state_dict(buffers, strict=False)


def test_the_look_for_kept_tensors_finds_one() -> None:
    network = nn.Sequential(nn.ReLU())
    network[0].kept = ({"map": [torch.zeros(1)]},)
    assert list(tensors_on(network)) == ["0.kept"]


@pytest.mark.parametrize("kind", INTERVENTIONS)
def test_replaced_gates_leave_nothing_behind(kind: str) -> None:
    for name in ("emca", "abn", "das"):
        twin = intervene(network_of("resnet18", name), kind)
        twin(images(1))
        assert list(tensors_on(twin)) == []
