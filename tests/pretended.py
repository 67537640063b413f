"""A graphics card that is not there: tensors on the processor that refuse what tensors on a card would refuse.

``with pretended_cuda():`` takes ``device="cuda"`` wherever torch takes a device. What is made there is computed on the
processor, says that it is on ``cuda``, does not go together with what is not, and NumPy gets it by ``.cpu()`` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
TO_NUMPY = {Tensor.numpy, Tensor.__array__}
INDEXING = {Tensor.__getitem__, Tensor.__setitem__}  # a card's tensor takes an index on the processor


class Pretended(Tensor):
    """A tensor that says it is on the card; the mode sees to the rest."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda _: CUDA)


def _is_cuda(value: Any) -> bool:
    return (isinstance(value, torch.device) and value.type == "cuda") or (isinstance(value, str) and value == "cuda")


class _Pretending(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.device:
            return func(*args, **kwargs)
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        there = [each for each in given if isinstance(each, Pretended)]
        if there and func in TO_NUMPY:
            raise TypeError("can't convert cuda:0 device type tensor to numpy: use Tensor.cpu() first")
        moves = func in (Tensor.cpu, Tensor.cuda) or func is Tensor.to
        if there and not moves and func not in INDEXING:
            others = [each for each in given if not isinstance(each, Pretended) and each.dim()]
            if others:
                raise RuntimeError(f"{func}: expected all tensors to be on the same device")
        asked = [_is_cuda(each) for each in tree_leaves((args, kwargs))]
        back = func is Tensor.cpu or (func is Tensor.to and any(each in (CPU, "cpu") for each in args[1:]))
        beside = func is Tensor.to and isinstance(args[1], Tensor) and not isinstance(args[1], Pretended)
        here = (bool(there) or any(asked)) and not back and not beside
        args, kwargs = tree_map(lambda each: CPU if _is_cuda(each) else each, (args, kwargs))
        args, kwargs = tree_map(
            lambda each: each.as_subclass(Tensor) if type(each) is Pretended else each, (args, kwargs)
        )
        result = func(*args, **kwargs)
        self.calls += here
        return tree_map(lambda each: each.as_subclass(Pretended) if here and type(each) is Tensor else each, result)


@contextmanager
def pretended_cuda() -> Iterator[_Pretending]:
    """The block's ``cuda``; ``calls`` of what is yielded: how many of torch's functions ran there."""
    with _Pretending() as mode:
        yield mode
