"""Networks that have forgotten what they learned: the sanity check of Adebayo et al. 2018 as a model of its own.

A map that looks the same after its network's weights were drawn anew shows the network's architecture, or the photo, but
nothing that was learned ("cascading randomization": from the top down to a block, Sec. 3.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from das_explain.errors import DasExplainError
from das_explain.nn.answers import refusal
from das_explain.nn.running import as_found, channels_of

SEED = 0


@contextmanager
def seeded(seed: int = SEED) -> Iterator[None]:
    """Draws on the CPU are the same each time inside, and as if nothing had been drawn outside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@torch.no_grad()
def randomize(network: nn.Module, size: tuple[int, int], block: str | None = None) -> None:
    """Draws a network's weights anew, in place, the same ones each time; running statistics are forgotten, too.

    A module with ``reset_parameters`` (convolutions, linear and normalising layers) is given the weights that PyTorch
    starts it with. Parameters that no such method reaches (a class token, a layer's scale, a weight norm's parts) have
    their values permuted: they keep what they are like and lose where they belong.

    Args:
        network: on the CPU.
        size: (height, width) of a blank image that it takes; only looked at with ``block``.
        block: down to which one, from the classifier on; everything that runs before it keeps its weights. ``None``: all.

    Raises:
        DasExplainError: the network does not take the image, or ``block`` does not run in it.
    """
    modules = list(network.modules()) if block is None else _from_block_on(network, size, block)
    with seeded():
        for module in reversed(modules):  # from the top, each with draws of its own
            before = [(parameter, parameter.clone()) for parameter in module.parameters(recurse=False)]
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
            for parameter, learned in before:
                if torch.equal(parameter, learned):
                    order = torch.randperm(parameter.numel())
                    parameter.copy_(learned.flatten()[order].view_as(parameter))


def _from_block_on(network: nn.Module, size: tuple[int, int], block: str) -> list[nn.Module]:
    """The modules that begin to run when ``block`` does, or later, in the order in which they begin."""
    begun: dict[nn.Module, None] = {}

    def note(module: nn.Module, inputs: tuple[object, ...]) -> None:
        begun.setdefault(module)

    like = next(network.parameters())
    handles = [module.register_forward_pre_hook(note) for module in network.modules()]
    try:
        with as_found(network):
            network(torch.zeros(1, channels_of(network), *size, device=like.device, dtype=like.dtype))
    except Exception as error:  # somebody else's network: whatever it raises is the answer
        raise DasExplainError(refusal(network, size, error)) from error
    finally:
        for handle in handles:
            handle.remove()
    order = list(begun)
    first = network.get_submodule(block)
    if first not in begun:
        raise DasExplainError(f"block {block} did not run in the forward pass, so no module runs after it")
    return order[order.index(first) :]
