"""Running a network that belongs to somebody else: it is left as it was found, its answer is looked at."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass

import torch
from torch import Tensor, nn

from das_explain.errors import DasExplainError

NAMES = (
    "logits",
    "out",
    "output",
    "pred",
    "preds",
    "prediction",
    "predictions",
    "scores",
    "y_hat",
    "cls",
    "class_logits",
)
"""What dictionaries call their logits, the surest name first."""


@contextmanager
def as_found(network: nn.Module) -> Iterator[None]:
    """Eval mode and frozen parameters inside, everything as before outside."""
    training = [module for module in network.modules() if module.training]
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        for module in training:
            module.training = False
        for parameter in learning:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        for module in training:
            module.training = True


def copy_of(network: nn.Module) -> nn.Module:
    """A copy of the modules, hooks included, that shares the network's parameters and buffers."""
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, memo=shared)


def in_copy(twin: nn.Module, network: nn.Module, blocks: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Blocks of a network as they are in a copy of it, by the same names."""
    modules = dict(twin.named_modules())
    places = {id(module): place for place, module in network.named_modules()}
    return {name: modules[places[id(block)]] for name, block in blocks.items()}


class OneByOne(nn.Module):
    """A network that is shown a batch image by image, because it answers differently in company."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        return torch.cat([check_logits(self.network(image[None]), 1) for image in images])


def check_logits(output: object, count: int) -> Tensor:
    """The logits (N, K) of whatever the network returned.

    Of a tuple or list the first, of a dictionary or dataclass what is called ``logits``, else its only tensor that may be
    logits. One number per image, (N,) or (N, 1), is the logit z of a class against another: (N, 2), -z and z.

    Raises:
        DasExplainError: they are no tensor (``count``, K).
    """
    tensor = find_answer(output)
    logits = None if tensor is None else _flat(tensor, count)
    if logits is None:
        raise DasExplainError(f"the network must return logits (N, classes); it returned {describe_output(output)}")
    return torch.cat([-logits, logits], 1) if logits.shape[1] == 1 else logits


def find_answer(output: object) -> Tensor | None:
    """The tensor that a network's output is about, as ``check_logits`` finds it; ``None`` where there is none, or several."""
    if isinstance(output, Tensor):
        return output
    if isinstance(getattr(output, "logits", None), Tensor):  # transformers' dataclasses
        return output.logits  # type: ignore[attr-defined]
    if isinstance(output, Mapping):
        named = [output[name] for name in NAMES if isinstance(output.get(name), Tensor)]
        tensors = [each for each in output.values() if isinstance(each, Tensor) and _rows(each) is not None]
        return named[0] if named else tensors[0] if len(tensors) == 1 else None
    if isinstance(output, (tuple, list)) and output:
        return find_answer(output[0])
    if is_dataclass(output) and not isinstance(output, type):
        return find_answer({each.name: getattr(output, each.name) for each in fields(output)})
    return None


def describe_output(output: object) -> str:
    """What a network returned, for messages: shapes, and names where it has some."""
    if isinstance(output, Tensor):
        return f"a tensor {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return "a dictionary of " + ", ".join(f"{key}: {describe_output(value)}" for key, value in output.items())
    if isinstance(output, (tuple, list)) and len(output) <= 4:
        return f"a {type(output).__name__} of " + ", ".join(map(describe_output, output))
    return f"a {type(output).__name__}"


def _rows(tensor: Tensor) -> int | None:
    """K of (N, K) and of what is as good: (N, K, 1, 1), (N, 1, K); 1 of (N,); ``None`` of anything else."""
    wide = [side for side in tensor.shape[1:] if side != 1]
    return None if tensor.dim() == 0 or len(wide) > 1 else wide[0] if wide else 1


def _flat(tensor: Tensor, count: int) -> Tensor | None:
    rows = _rows(tensor)
    fits = rows is not None and len(tensor) == count and tensor.is_floating_point()
    return tensor.reshape(count, rows) if fits and rows is not None else None


def channels_of(network: nn.Module) -> int:
    """How many channels its images have: 1 where the first convolution takes so many, else 3."""
    first = first_convolution(network)
    return 1 if first is not None and first.in_channels == 1 else 3


def first_convolution(network: nn.Module) -> nn.Conv2d | None:
    """The first that is written down, if there is one."""
    return next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
