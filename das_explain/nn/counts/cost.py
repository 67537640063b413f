"""What a network costs to run: the memory its activations need at most, and its time beside another network's."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from das_explain.nn.running import as_found


class _Live(TorchDispatchMode):
    """Adds up the bytes of the tensors that operators made and that are still alive."""

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.seen = {id(tensor.untyped_storage()): weakref.ref(tensor.untyped_storage()) for tensor in known}

    def __torch_dispatch__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key in self.seen and self.seen[key]() is storage:
            return

        def gone(_: Any) -> None:
            self.now -= size
            self.seen.pop(key, None)

        self.seen[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def peak_activations(network: nn.Module, size: tuple[int, int, int] = (3, 224, 224)) -> int:
    """Bytes: the most that activations take at any moment of a forward pass of one image without gradients.

    Workspaces inside an operator are not seen; the parameters and the image are not counted. A network on the meta
    device is counted without memory or time.
    """
    like = next(network.parameters())
    image = torch.zeros(1, *size, device=like.device, dtype=like.dtype)
    live = _Live([image, *network.parameters(), *network.buffers()])
    with as_found(network), torch.no_grad(), live:
        network(image)
    return live.peak


def relative_time(
    network: nn.Module, base: nn.Module, size: tuple[int, int, int] = (3, 224, 224), repeats: int = 7
) -> tuple[float, float]:
    """(seconds for one image, that divided by the time of ``base``), medians of alternating runs in this process."""
    times: list[list[float]] = [[], []]
    image = torch.zeros(1, *size)
    with as_found(network), as_found(base), torch.no_grad():
        for run in range(repeats + 1):
            for each, spent in zip((network, base), times):
                start = perf_counter()
                each(image)
                if run:  # the first warms up
                    spent.append(perf_counter() - start)
    seconds, reference = map(median, times)
    return seconds, seconds / reference
