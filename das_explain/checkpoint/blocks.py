"""The blocks of a network that are worth explaining: by name where the architecture is known, else by a look at it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from das_explain.errors import DasExplainError, UsageError
from das_explain.nn.backbones.resnet import STAGES
from das_explain.nn.registry import BLOCKS
from das_explain.nn.running import as_found

NOT_BLOCKS = (nn.AdaptiveAvgPool2d, nn.Dropout, nn.Softmax)
SCRIPTED = "TorchScript, which cannot be watched at work; give the Python network that it was made from"


@dataclass(frozen=True)
class Probe:
    """One forward pass of a blank image: ``num_classes``, and the modules that gave a map, in order of finishing."""

    num_classes: int
    maps: tuple[tuple[str, tuple[int, int]], ...]


def find_blocks(
    network: nn.Module, architecture: str, size: tuple[int, int], wanted: Sequence[str] | None = None
) -> dict[str, nn.Module]:
    """Name -> module, in the order in which the network is written down, parts before their whole: forward order.

    A backbone of the registry has its own (``nn.registry.BLOCKS``); a network with ``layer1`` .. ``layer4`` has those.
    Of any other, each spatial resolution gives one: the outermost module with a map of that resolution, and of these
    the last to finish; ``size`` is the blank image's (height, width).

    Args:
        wanted: dotted names of modules instead; any module may be one.

    Raises:
        UsageError: a wanted block does not exist; the message lists close names.
        DasExplainError: the network does not take a blank image, has no map at all, or a block is TorchScript.
    """
    modules = dict(_parts_first(network))
    if wanted:
        found = set(wanted)
        if unknown := [name for name in wanted if name not in modules]:
            usual = list(find_blocks(network, architecture, size))
            close = [name for name in get_close_matches(unknown[0], modules, 4, 0.5) if name not in usual]
            also = f"; modules with a similar name: {', '.join(close)}" if close else ""
            raise UsageError(f"{architecture} has no block {unknown[0]!r}; its blocks are {', '.join(usual)}{also}")
    elif architecture in BLOCKS:
        found = set(BLOCKS[architecture])
    elif all(stage in modules for stage in STAGES):
        found = set(STAGES)
    else:
        found = set(_last_of_each_resolution(probe(network, size).maps))
        if not found:
            raise DasExplainError(f"{architecture} has no module with a map (N, C, H, W) of the image to explain")
    if scripted := [name for name in modules if name in found and isinstance(modules[name], torch.jit.ScriptModule)]:
        raise DasExplainError(f"block {scripted[0]} of {architecture} is {SCRIPTED}")
    return {name: module for name, module in modules.items() if name in found}


def probe(network: nn.Module, size: tuple[int, int]) -> Probe:
    """Runs one blank image of ``size`` (height, width) through ``network``, in eval mode, and leaves it as it was.

    Raises:
        DasExplainError: the network refuses the image, or does not return logits (N, classes).
    """
    finished: list[tuple[str, tuple[int, int]]] = []
    calls: Counter[str] = Counter()

    def watch(name: str):
        def note(module: nn.Module, inputs: tuple, output: object) -> None:
            calls[name] += 1
            if isinstance(output, Tensor) and _is_map(output, size) and not isinstance(module, NOT_BLOCKS):
                finished.append((name, (output.shape[2], output.shape[3])))

        return note

    like = next(network.parameters(), torch.empty(0))
    handles = [
        module.register_forward_hook(watch(name))
        for name, module in network.named_modules()
        if name and not isinstance(module, torch.jit.ScriptModule)  # takes no hook
    ]
    try:
        with as_found(network), torch.no_grad():
            logits = network(torch.zeros(1, 3, *size, device=like.device, dtype=like.dtype))
    except Exception as error:  # somebody else's network: whatever it raises is the answer
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DasExplainError(f"the network does not take an image of 3x{size[0]}x{size[1]}: {reason}") from error
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 1:
        got = f"a tensor of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise DasExplainError(f"the network must return logits (N, classes); for one image it returned {got}")
    return Probe(logits.shape[1], tuple((name, shape) for name, shape in finished if calls[name] == 1))


def _parts_first(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    for child_name, child in module.named_children():
        path = f"{name}.{child_name}" if name else child_name
        yield from _parts_first(child, path)
        yield path, child


def _is_map(output: Tensor, size: tuple[int, int]) -> bool:
    """(N, C, H, W) with the image's aspect, up to a pixel of rounding: not (N, H, W, C), not pooled to a pixel."""
    if output.dim() != 4:
        return False
    height, width = output.shape[2:]
    return height * width > 1 and abs(height * size[1] - width * size[0]) <= max(size)


def _last_of_each_resolution(maps: Sequence[tuple[str, tuple[int, int]]]) -> list[str]:
    chosen: dict[tuple[int, int], str] = {}
    for name, shape in maps:
        if shape not in chosen or name.count(".") <= chosen[shape].count("."):
            chosen[shape] = name
    return list(chosen.values())
