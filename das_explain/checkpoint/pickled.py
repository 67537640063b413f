"""Tensors out of a pickle without running what is in it.

A pickle is a program: it may call any function it names. PyTorch's restricted unpickler (``weights_only=True``) makes
tensors, containers and numbers and stops at any other name. Training loops leave plenty of those beside the weights
(NumPy's random states, paths, arguments, configurations), so here each such name stands for an inert class: what the
pickle would have called is never looked up, its arguments are kept or dropped as data, and the tensors are read.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

MOST_NAMES = 128  # several times as many different ones as training loops have classes
MOST_MODULES = 100_000
LONGEST_NAME = 1000
_NAMED = re.compile(r"Unsupported global: GLOBAL (\S+) was not an allowed global")
_NOT_A_DICT = re.compile(r"Can only SETITEMS? for dict.*<class '(?:.*\.)?StandIn:(.+)'>")


class _Brief:
    """``re`` for PyTorch's message on a file that it refuses, whose patterns take the square of the message's length: a name
    in a hostile pickle may be megabytes long, and its search would take hours."""

    @staticmethod
    def search(pattern: str, text: str) -> re.Match[str] | None:
        return re.search(pattern, text[: 2 * LONGEST_NAME])

    def __getattr__(self, name: str) -> Any:
        return getattr(re, name)


class StandIn(list):
    """Stands for an object of a class that is not made: takes any argument, state and item, and does nothing.

    ``state`` is what the object would have been given as its attributes, data like any other.
    """

    state: Any = None

    def __new__(cls, *args: Any, **keywords: Any) -> StandIn:
        return super().__new__(cls)

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        self.state = state


def load_tensors(path: Path, *, mmap: bool) -> Any:
    """What a file of ``torch.save`` holds; stand-ins in place of everything but tensors, containers, texts and numbers.

    Raises:
        pickle.UnpicklingError: it is no such file, or is damaged, or names what no checkpoint has reason to
            (``os``, ``posix``, ``nt``, ``sys``: PyTorch blocks these).
    """
    known: dict[str, Callable[..., Any]] = {}
    while True:
        inert = [(stand_in, name) for name, stand_in in known.items()]
        try:
            with (
                torch.serialization.safe_globals(inert),
                warnings.catch_warnings(),
                patch.object(torch.serialization, "re", _Brief(), create=True),
            ):
                warnings.simplefilter("ignore")  # of torch about files that it refuses anyway
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        except pickle.UnpicklingError as error:
            if len(known) >= MOST_NAMES or not _learn(known, str(error)):
                raise


def _learn(known: dict[str, Callable[..., Any]], error: str) -> bool:
    """Adds what the unpickler stopped at; whether there was anything new."""
    if named := _NAMED.search(error):
        name = named[1] if "." in named[1] else f"builtins.{named[1]}"  # which PyTorch leaves out of its message
        if name not in known and len(name) <= LONGEST_NAME:
            known[name] = _stand_in(name)
            return True
    if (filled := _NOT_A_DICT.search(error)) and isinstance(known.get(filled[1]), type):
        known[filled[1]] = _dictionary()  # a class whose objects are filled as dictionaries are
        return True
    return False


def _stand_in(name: str) -> type[StandIn]:
    return type(f"StandIn:{name}", (StandIn,), {})


def _dictionary() -> Callable[..., Any]:
    class Dictionary:
        """PyTorch fills no subclass of ``dict``; an ``OrderedDict`` takes items and attributes alike."""

        def __new__(cls, *args: Any, **keywords: Any) -> OrderedDict:
            return OrderedDict()

    return Dictionary


def state_of_module(network: StandIn) -> dict[str, Tensor]:
    """The state dict of a network that was pickled whole: parameters and buffers by name. Empty for anything else."""
    found: dict[str, Tensor] = {}
    waiting: list[tuple[str, Any]] = [("", network)]
    for _ in range(MOST_MODULES):
        if not waiting:
            break
        prefix, module = waiting.pop()
        state = module.state if isinstance(module, StandIn) else None
        if not isinstance(state, Mapping):
            continue
        temporary = state.get("_non_persistent_buffers_set") or ()
        for kind in ("_parameters", "_buffers"):
            tensors = state.get(kind)
            for name, tensor in tensors.items() if isinstance(tensors, Mapping) else ():
                if isinstance(tensor, Tensor) and name not in temporary:
                    found[f"{prefix}{name}"] = tensor
        children = state.get("_modules")
        if isinstance(children, Mapping):
            waiting += [(f"{prefix}{name}.", child) for name, child in reversed(children.items())]
    return found
