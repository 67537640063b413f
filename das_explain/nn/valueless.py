"""Networks built for their shapes alone: on PyTorch's meta device, which has no memory and draws no numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class _NoDraws(TorchFunctionMode):
    """PyTorch "draws" normal numbers of meta tensors by Python code for its compiler, which it imports for it: a second."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.normal_ and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


@contextmanager
def without_values() -> Iterator[None]:
    """What is built inside has shapes and no values.

    >>> with without_values():
    ...     weight = torch.nn.init.normal_(torch.nn.Linear(10**6, 10**6).weight)
    >>> weight.shape, weight.is_meta
    (torch.Size([1000000, 1000000]), True)
    """
    with torch.device("meta"), _NoDraws():
        yield
