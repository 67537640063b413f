"""The stages of a network: by name where the architecture is known, else by a look at it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from das_explain.nn.backbones.resnet import STAGES
from das_explain.nn.registry import BLOCKS
from das_explain.nn.stages.probe import probe


def find_stages(network: nn.Module, size: tuple[int, int], architecture: str = "") -> dict[str, nn.Module]:
    """Name -> module, in the order in which the network is written down, parts before their whole: forward order.

    A backbone of the registry has its own (``nn.registry.BLOCKS``); a network with ``layer1`` .. ``layer4`` has those.
    Of any other, each spatial resolution gives one: the outermost module with a map of that resolution, and of these
    the last to finish; ``size`` is the probing image's (height, width). The last two are explained by default.

    Raises:
        DasExplainError: the network does not take an image of that size.
    """
    modules = dict(parts_first(network))
    if architecture in BLOCKS:
        found = set(BLOCKS[architecture])
    elif all(stage in modules for stage in STAGES):
        found = set(STAGES)
    else:
        found = set(_last_of_each_resolution(probe(network, size).maps))
    return {name: module for name, module in modules.items() if name in found}


def parts_first(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Dotted name and module of all that a module holds, parts before their whole."""
    for child_name, child in module.named_children():
        path = f"{name}.{child_name}" if name else child_name
        yield from parts_first(child, path)
        yield path, child


def _last_of_each_resolution(maps: Sequence[tuple[str, tuple[int, int]]]) -> list[str]:
    chosen: dict[tuple[int, int], str] = {}
    for name, shape in maps:
        if shape not in chosen or name.count(".") <= chosen[shape].count("."):
            chosen[shape] = name
    return list(chosen.values())
