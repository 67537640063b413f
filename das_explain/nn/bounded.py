"""Networks that a stranger's file describes, not built any larger than its weights can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as registry
from torch.nn.parameter import is_lazy

from das_explain.errors import DasExplainError

MOST_MODULES = 50_000  # the largest networks of photos have a few thousand
ALLOWANCE = 10_000_000  # numbers that may be missing in a file of hardly any
LARGEST = 10_000_000  # of the whole numbers that describe a network


@contextmanager
def no_larger_than(weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Raises DasExplainError, as soon as what is built inside has over four times as many numbers as these weights."""
    there = sum(tensor.numel() for tensor in weights.values())
    most, numbers, modules = 4 * there + ALLOWANCE, 0, 0

    def count_numbers(_: nn.Module, name: str, values: Tensor | None) -> None:
        nonlocal numbers
        numbers += 0 if values is None or is_lazy(values) else values.numel()
        if numbers > most:
            raise DasExplainError(f"the network that it describes has over {most:,} numbers, and its weights {there:,}")

    def count_modules(_: nn.Module, name: str, child: nn.Module | None) -> None:
        nonlocal modules
        modules += 1
        if modules > MOST_MODULES:
            raise DasExplainError(f"the network that it describes has over {MOST_MODULES:,} layers")

    with ExitStack() as hooks:
        for register, hook in (
            (registry.register_module_parameter_registration_hook, count_numbers),
            (registry.register_module_buffer_registration_hook, count_numbers),
            (registry.register_module_module_registration_hook, count_modules),
        ):
            hooks.callback(register(hook).remove)
        yield


def too_large(described: Any) -> str:
    """The first whole number in what was read of a JSON file that no network has, as text; empty where there is none."""
    waiting = [described]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, (list, tuple)):
            waiting += value
        elif isinstance(value, int) and abs(value) > LARGEST:
            return f"{value:,}" if abs(value) < 10**18 else "a number of many digits"
    return ""
