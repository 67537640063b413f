"""The blocks of a network that are worth explaining: its stages, or any modules by their names."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import torch
from torch import nn

from das_explain.errors import DasExplainError, UsageError
from das_explain.nn.stages import SCRIPTED, find_stages
from das_explain.nn.stages.find import parts_first


def find_blocks(
    network: nn.Module, architecture: str, size: tuple[int, int], wanted: Sequence[str] | None = None
) -> dict[str, nn.Module]:
    """Name -> module, in the order in which the network is written down, parts before their whole: forward order.

    Args:
        size: (height, width) of an image that the network takes.
        wanted: dotted names of modules, of which any may be one; ``None``: the network's stages (``nn.stages``).

    Raises:
        UsageError: a wanted block does not exist; the message lists close names.
        DasExplainError: the network does not take a blank image, has no map at all, or a block is TorchScript.
    """
    if wanted:
        modules = dict(parts_first(network))
        if unknown := [name for name in wanted if name not in modules]:
            usual = list(find_blocks(network, architecture, size))
            close = [name for name in get_close_matches(unknown[0], modules, 4, 0.5) if name not in usual]
            also = f"; modules with a similar name: {', '.join(close)}" if close else ""
            raise UsageError(f"{architecture} has no block {unknown[0]!r}; its blocks are {', '.join(usual)}{also}")
        found = {name: module for name, module in modules.items() if name in wanted}
    else:
        found = find_stages(network, size, architecture)
        if not found:
            raise DasExplainError(f"{architecture} has no module with a map (N, C, H, W) of the image to explain")
    if scripted := [name for name, module in found.items() if isinstance(module, torch.jit.ScriptModule)]:
        raise DasExplainError(f"block {scripted[0]} of {architecture} is {SCRIPTED}")
    return found
