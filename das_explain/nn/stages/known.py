"""What networks of timm, torchvision and transformers say of themselves: their stages, and how their outputs read.

Nothing is imported: a network of theirs brings its library along. It may stand inside somebody's own module.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from das_explain.errors import DasExplainError
from das_explain.nn.answers import itself
from das_explain.nn.running import first_convolution
from das_explain.nn.stages.layout import Hints, Size

TORCHVISION = {
    "ConvNeXt": ("features.1", "features.3", "features.5", "features.7"),
    "SwinTransformer": ("features.1", "features.3", "features.5", "features.7"),
    "RegNet": tuple(f"trunk_output.block{stage}" for stage in range(1, 5)),
    "MaxVit": tuple(f"blocks.{stage}" for stage in range(4)),
    "VisionTransformer": ("encoder.layers",),
}
"""Class of torchvision's -> its stages; a sequence stands for its members."""
TOKENS_BEFORE = re.compile(r"(^|\.)(cls|class|dist|distillation|reg|register)_?(tokens?|embedding)(_?\d+)?$")
"""Parameters that become tokens before the patches."""
SMALLEST_PATCH = 4  # pixels


@dataclass(frozen=True)
class Known:
    """What is known of a network: ``stages`` in forward order (none: nothing is), and the hints of its layouts."""

    stages: tuple[str, ...]
    hints: Hints


def known_of(network: nn.Module) -> Known:
    """What the one network of timm's or torchvision's in ``network`` says of itself, or ``network`` by its parameters."""
    network = itself(network)
    inner = list(_known_networks(network))
    if len(inner) != 1:
        return Known((), _hints(network, ""))
    prefix, module, stages = inner[0]
    names = tuple(f"{prefix}.{stage}".lstrip(".") for stage in stages)
    return Known(names, _hints(module, prefix))


def _known_networks(network: nn.Module) -> Iterator[tuple[str, nn.Module, tuple[str, ...]]]:
    """Name, module and stages of the outermost ones."""
    found: list[str] = []
    for name, module in network.named_modules():
        if any(name.startswith(f"{outer}." if outer else "") for outer in found):
            continue
        library = type(module).__module__.partition(".")[0]
        stages = _STAGES[library](module) if library in _STAGES else ()
        if stages:
            found.append(name)
            yield name, module, stages


def _stages_of_timm(module: nn.Module) -> tuple[str, ...]:
    info = getattr(module, "feature_info", None)
    info = getattr(info, "info", info)
    if not isinstance(info, (list, tuple)) or not all(isinstance(each, dict) for each in info):
        return ()
    return tuple(dict.fromkeys(each["module"] for each in info if each.get("module")))


def _stages_of_torchvision(module: nn.Module) -> tuple[str, ...]:
    stages = TORCHVISION.get(type(module).__name__, ())
    if len(stages) == 1:
        inside = module.get_submodule(stages[0])
        return tuple(f"{stages[0]}.{child}" for child, _ in inside.named_children())
    return stages


_STAGES: dict[str, Callable[[nn.Module], tuple[str, ...]]] = {
    "timm": _stages_of_timm,
    "torchvision": _stages_of_torchvision,
}


def _hints(module: nn.Module, prefix: str) -> Hints:
    return Hints(_prefixes(module), lambda frame: _grid(module, frame), _ordered(module, prefix), _widths(module))


def _widths(module: nn.Module) -> frozenset[int]:
    """What layers work on as a last dimension: of layer norms, and of linear layers where there are such norms.

    Without them it is a convolutional network, whose linear layers work on vectors.
    """
    norms = [each for each in module.modules() if isinstance(each, nn.LayerNorm) or "RMSNorm" in type(each).__name__]
    linear = [each for each in module.modules() if isinstance(each, nn.Linear)] if norms else []
    widths = {parameter.shape[-1] for each in norms for parameter in each.parameters(recurse=False)}
    return frozenset(widths.union(*({each.in_features, each.out_features} for each in linear)))


def _prefixes(module: nn.Module) -> tuple[int, ...] | None:
    """How many tokens stand before the patches, and none, as in blocks that run before a class token enters."""
    told = getattr(module, "num_prefix_tokens", None)
    if not isinstance(told, int):
        counted: dict[str, int] = {}
        for name, parameter in module.named_parameters():
            if TOKENS_BEFORE.search(name):  # one of each kind: some networks have one per stage
                kind = re.sub(r"_?\d+$", "", name.rpartition(".")[2])
                counted[kind] = parameter.shape[-2] if parameter.dim() > 1 else 1
        told = sum(counted.values())
        if not told and _library(module) not in ("timm", "torchvision", "transformers"):
            return None  # somebody's own: it may keep them otherwise
    return (told, 0) if told else (0,)


def _library(module: nn.Module) -> str:
    """The package that a network comes from, or the one that it wraps."""
    while len(children := list(module.children())) == 1:
        (module,) = children
    return type(module).__module__.partition(".")[0]


def _grid(module: nn.Module, frame: Size) -> Size | None:
    """The patches of a frame, where the patch embedding tells, or a convolution that cuts photos into patches does.

    One that cuts a map into patches, as an attention with fewer keys has it (PVT), tells nothing of the frame.
    """
    embedding = getattr(module, "patch_embed", None)
    if getattr(embedding, "img_size", None) in (frame, frame[0] if frame[0] == frame[1] else None):
        grid = getattr(embedding, "grid_size", None)
        if isinstance(grid, tuple) and len(grid) == 2:
            return grid
    cut = next(_patch_convolutions(module), None)
    return None if cut is None else (frame[0] // cut.stride[0], frame[1] // cut.stride[1])


def _patch_convolutions(module: nn.Module) -> Iterator[nn.Conv2d]:
    """Those that cut photos into patches: they take as many channels as the first one."""
    first = first_convolution(module)
    for each in module.modules():
        cuts = isinstance(each, nn.Conv2d) and each.kernel_size == each.stride and min(each.stride) >= SMALLEST_PATCH
        if cuts and first is not None and each.in_channels == first.in_channels:
            yield each


Ordered = tuple[Size, Tensor]


def _ordered(module: nn.Module, prefix: str) -> Callable[[str, tuple[int, ...]], Ordered | None]:
    """Hiera keeps its patches in the order of mask units within units, NesT in blocks."""
    for path, each in module.named_modules(prefix=prefix):
        reroll, inside = getattr(each, "reroll", None), "stages" if hasattr(each, "stages") else "blocks"
        schedule = getattr(reroll, "schedule", getattr(each, "schedule", None))
        if callable(reroll) and isinstance(
            schedule, dict
        ):  # timm's has one for each block, transformers' for each stage
            return partial(_hiera, reroll, schedule, re.compile(rf"{re.escape(path)}\.?{inside}\.(\d+)(\.|$)"))
    return _nest if type(module).__name__ == "Nest" else lambda name, shape: None


def _hiera(
    reroll: Callable[..., Tensor],
    schedule: Mapping[int, tuple[object, list[int]]],
    pattern: re.Pattern[str],
    name: str,
    shape: tuple[int, ...],
) -> Ordered | None:
    match = pattern.match(name)
    if not match or len(shape) != 3:
        return None
    for place in (int(match[1]), int(match[1]) - 1):  # what comes in is in the order of the one before
        length = math.prod(schedule[place][1]) if place >= 0 else 0
        if shape[1] == length:
            placed = reroll(torch.arange(length).view(1, length, 1), place)
            return (placed.shape[1], placed.shape[2]), placed.flatten()
    raise DasExplainError(
        f"block {name} keeps its patches in an order that only whole blocks tell; choose one of these"
    )


def _nest(name: str, shape: tuple[int, ...]) -> Ordered | None:
    across, side = (round(number**0.5) for number in shape[1:3])
    if len(shape) != 4 or (across**2, side**2) != shape[1:3] or "levels" not in name:
        return None
    blocks = torch.arange(shape[1] * shape[2]).view(across, across, side, side)
    return (across * side, across * side), blocks.transpose(1, 2).flatten()
