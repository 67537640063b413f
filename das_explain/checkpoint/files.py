"""Reading a weight file without running what is in it, and peeling the wrappers that training loops put around it.

A pickle is a program. Only tensors, containers, numbers and a handful of inert types are let through
(``torch.load(weights_only=True)``); everything else is refused before it is executed.
"""

from __future__ import annotations

import argparse
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from das_explain.errors import DasExplainError
from das_explain.nn.registry import ATTENTION

ENTRIES = (
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema",
    "state_dict",
    "model_state_dict",
    "model",
    "network",
    "net",
    "module",
)
"""Where training loops keep the weights, best first: an average of the weights is what its recipe is judged by."""
PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
"""DistributedDataParallel's and AveragedModel's, torch.compile's, and what Lightning modules call their network."""
_SCALAR = np.float64(0).__reduce__()[0]
_INERT: list[Any] = [  # training loops store their arguments and best scores beside the weights
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float32", "float64", "int32", "int64", "bool")),
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
]


@dataclass(frozen=True)
class Candidate:
    """One reading of a file as a state dict; ``peeled`` says which wrappers were taken off to get there."""

    state: dict[str, Tensor]
    peeled: tuple[str, ...] = ()
    left_out: tuple[str, ...] = field(default=(), repr=False)


def read_weights(path: Path, entry: str | None = None) -> list[Candidate]:
    """The readings of a weight file, from the file's own keys to the most peeled.

    Args:
        path: ``.safetensors``, or anything ``torch.save`` wrote.
        entry: the entry of the file to take, where the file has several; otherwise the first of ``ENTRIES``.

    Raises:
        DasExplainError: no such file; not a weight file; it holds more than data; no state dict in it.
    """
    return candidates(_read(Path(path)), str(path), entry)


def candidates(content: Any, source: str, entry: str | None = None) -> list[Candidate]:
    """The readings of what a file held. ``source`` is for messages."""
    first, lightning = _state_dict(content, source, entry)
    readings = [first]
    while True:
        last = readings[-1]
        keys = [key for key in last.state if key != "n_averaged"]
        prefix = next((prefix for prefix in PREFIXES if all(key.startswith(prefix) for key in keys)), None)
        if prefix is None and lightning:  # beside the network a Lightning module may hold losses, metrics, a teacher
            prefix = next((p for p in PREFIXES if any(key.startswith(p) for key in keys)), None)
        if prefix is None:
            break
        inside = {key.removeprefix(prefix): last.state[key] for key in keys if key.startswith(prefix)}
        outside = tuple(key for key in keys if not key.startswith(prefix))
        readings.append(Candidate(inside, (*last.peeled, f"prefix {prefix}"), (*last.left_out, *outside)))
    if any("_orig_mod." in key for key in readings[-1].state):  # parts compiled one by one
        last = readings[-1]
        inside = {key.replace("_orig_mod.", ""): tensor for key, tensor in last.state.items()}
        readings.append(Candidate(inside, (*last.peeled, "prefix _orig_mod."), last.left_out))
    return [*readings, *_with_our_names(readings[-1])]


def _with_our_names(reading: Candidate) -> Iterator[Candidate]:
    """The same weights under our keys, where they have those of an attention's authors."""
    for attention, kind in ATTENTION.items():
        ours = kind.rename_published(reading.state) if kind.rename_published else reading.state
        if ours.keys() != reading.state.keys():
            yield Candidate(dict(ours), (*reading.peeled, f"keys of {attention}'s authors"), reading.left_out)


def best_reading(readings: Sequence[Candidate], expected: Mapping[str, Any]) -> Candidate:
    """The reading that shares most keys with ``expected``; of equals the least peeled."""
    return max(readings, key=lambda reading: len(reading.state.keys() & expected.keys()))


@contextmanager
def tensors_only() -> Iterator[None]:
    """Nobody's ``torch.load`` below runs a pickle, whatever it is called with."""
    before = os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        yield
    finally:
        del os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"]
        if before is not None:
            os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = before


def hub_cache() -> str:
    """Where the Hugging Face Hub's client keeps what it has fetched."""
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def _state_dict(content: Any, source: str, entry: str | None) -> tuple[Candidate, bool]:
    """The first reading, and whether Lightning wrote it.

    Where no entry holds the weights and most entries are tensors, these are the weights; what a training loop put
    among them (``epoch``) is left out. A tensor that the network does not have is still foreign.
    """
    peeled: list[str] = []
    lightning = False
    while isinstance(content, Mapping):
        lightning |= "pytorch-lightning_version" in content
        if entry is not None:
            if not isinstance(content.get(entry), Mapping):
                raise DasExplainError(f"{source} has no entry {entry!r} with weights; it has {_names(content)}")
            inner, entry = entry, None
        else:
            found = next((key for key in ENTRIES if isinstance(content.get(key), Mapping)), None)
            named = {key: value for key, value in content.items() if isinstance(key, str)}
            tensors = {key: value for key, value in named.items() if isinstance(value, Tensor)}
            if found is None and len(tensors) > len(content) / 2:
                left_out = tuple(str(key) for key in content if key not in tensors)
                return Candidate(tensors, tuple(peeled), left_out), lightning
            if found is None:
                nested = any(map(_is_mapping, content.values()))
                hint = "; ?entry=NAME after the architecture names one" if nested else ""
                raise DasExplainError(f"{source} holds no state dict: its entries are {_names(content)}{hint}")
            inner = found
        peeled.append(f"entry {inner}")
        content = content[inner]
    raise DasExplainError(f"{source} holds a {type(content).__name__} where a state dict is needed")


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _names(content: Mapping) -> str:
    names = [str(key) for key in content]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "none"


def _read(path: Path) -> Any:
    if not path.is_file():
        raise DasExplainError(f"no such weight file: {path}")
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise DasExplainError(f"{path} cannot be read: {error.strerror}") from None
    if start.startswith(b"version https://git-lfs"):
        raise DasExplainError(f"{path} is a Git LFS pointer, not the weights: run `git lfs pull` where it came from")
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_INERT), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about files that it refuses anyway
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if named := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise DasExplainError(
                f"{path} holds Python objects ({named[1]}), not only tensors, and reading those can run any code, "
                "so nothing was read; have it saved with torch.save(model.state_dict(), ...) or as safetensors"
            ) from None
        raise DasExplainError(f"{path} is not a PyTorch weight file ({_kind(start)})") from None
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        if "TorchScript" in str(error):
            raise DasExplainError(f"{path} is a TorchScript archive; save model.state_dict() instead") from None
        reason = _kind(start) if path.suffix.lower() != ".safetensors" else str(error).splitlines()[0]
        raise DasExplainError(f"{path} cannot be read as weights ({reason})") from None


def _kind(start: bytes) -> str:
    if not start:
        return "the file is empty"
    if start.lstrip().startswith((b"<", b"{")):
        return "it begins like a web page or a text"
    return "it is damaged or cut short" if start.startswith((b"PK", b"\x80")) else "unknown content"
