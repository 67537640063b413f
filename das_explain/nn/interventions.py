"""What a gate does, by taking it away: the same network with other attentions in the place of its own.

    ones       A is left out, X_out = X: the network without its gates
    mean       A keeps how strong it is and loses where: each channel's mean over the positions
    shuffled   A keeps its values and loses where they belong: positions permuted, all channels alike

An attention that weighs channels and knows no positions (``Gate.per_channel``: SE, ECA, DEFCON-1 ...) is treated along
its channels instead: their mean, their permutation. Where the gate adds (X + X A: BAM, ABN, EMCA), ``ones`` leaves X.

The permutation is one cycle (Sattolo 1986), so no value stays where it was unless there is only one. It depends on the
gate's number and the size of its map and on nothing else: not on the other images of a batch, nor on when it is asked
for. A run that was cut off therefore ends with the same bytes, and each gate has one permutation for all images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import torch
from torch import Tensor, nn

from das_explain.errors import UsageError
from das_explain.nn.gate import Gate
from das_explain.nn.running import copy_of

INTERVENTIONS = ("ones", "mean", "shuffled")


def gates_of(network: nn.Module) -> dict[str, Gate]:
    """Name -> gate, in the order in which the network is written down; a gate that is part of another is not listed."""
    return dict(_outermost(network))


def intervene(network: nn.Module, kind: str) -> nn.Module:
    """A copy of ``network`` with every gate's attention replaced; its parameters are the original's, not copies.

    Args:
        kind: of ``INTERVENTIONS``.

    Raises:
        UsageError: an unknown kind, or a network without a gate that multiplies.
    """
    if kind not in INTERVENTIONS:
        raise UsageError(f"gates={kind} is unknown; choose among {', '.join(INTERVENTIONS)}")
    if not gates_of(network):
        raise UsageError("no gate in it multiplies a map by an attention, so there is nothing to replace")
    if kind == "ones":
        return with_gates(network, lambda gate, number: nn.Identity())
    change = mean if kind == "mean" else shuffled
    return with_gates(network, lambda gate, number: Replaced(gate, change, number))


def with_gates(network: nn.Module, make: Callable[[Gate, int], nn.Module]) -> nn.Module:
    """A copy, with shared parameters, in which ``make(gate, number)`` stands in each gate's place, numbered from 0."""
    twin = copy_of(network)
    if isinstance(twin, Gate):
        return make(twin, 0)
    for number, (name, gate) in enumerate(gates_of(twin).items()):
        parent, _, child = name.rpartition(".")
        setattr(twin.get_submodule(parent), child, make(gate, number).train(gate.training))
    return twin


class Replaced(nn.Module):
    """A gate that multiplies by ``change(A, per_channel, number)`` instead of A. (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, gate: Gate, change: Callable[[Tensor, bool, int], Tensor], number: int) -> None:
        super().__init__()
        self.gate, self.change, self.number = gate, change, number

    def forward(self, x: Tensor) -> Tensor:
        return self.gate.weigh(x, self.change(self.gate.attention(x), self.gate.per_channel, self.number))


def mean(attention: Tensor, per_channel: bool = False, number: int = 0) -> Tensor:
    """(N, C, H, W) -> (N, C, 1, 1), the mean over the positions; of a channel attention (N, 1, 1, 1), over channels."""
    return attention.mean(1 if per_channel else (2, 3), keepdim=True)


def shuffled(attention: Tensor, per_channel: bool = False, number: int = 0) -> Tensor:
    """(N, C, H, W) with its positions permuted, the same way in all channels and images; or its channels."""
    if per_channel:
        return attention[:, permutation(attention.shape[1], number).to(attention.device)]
    flat = attention.flatten(2)
    return flat[:, :, permutation(flat.shape[2], number).to(attention.device)].reshape(attention.shape)


@lru_cache(maxsize=1024)
def permutation(count: int, number: int) -> Tensor:
    """int64 (count,), a random cycle of all positions: none keeps its place, unless it is the only one."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(number))
    cycle = torch.empty_like(order)
    cycle[order] = order.roll(1)
    return cycle


def _outermost(module: nn.Module, name: str = "") -> Iterator[tuple[str, Gate]]:
    if isinstance(module, Gate) and type(module).forward is Gate.forward:
        yield name, module
        return
    for child_name, child in module.named_children():
        yield from _outermost(child, f"{name}.{child_name}" if name else child_name)
