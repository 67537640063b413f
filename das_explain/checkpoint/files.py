"""Reading a weight file without running what is in it. ``wrappers`` finds the weights in what a file held."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from das_explain.checkpoint.pickled import load_tensors
from das_explain.checkpoint.records import missing_bytes
from das_explain.checkpoint.wrappers import Candidate, candidates
from das_explain.errors import DasExplainError, UsageError, first_line
from das_explain.files import opened_by_name


def read_weights(path: Path, entry: str | None = None) -> list[Candidate]:
    """The readings of a weight file, from the file's own keys to the most peeled.

    Args:
        path: ``.safetensors``, or anything ``torch.save`` wrote.
        entry: the entry of the file to take, or a prefix of its keys, where it has several; otherwise the one that
            ``entries`` chooses.

    Raises:
        UsageError: no such file.
        DasExplainError: not a weight file; it names what no checkpoint has reason to; no state dict in it.
    """
    return candidates(_read(Path(path)), str(path), entry)


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


def _read(path: Path) -> Any:
    if path.is_dir():
        raise DasExplainError(f"{path} is a folder, not a weight file{_what_folder(path)}")
    if not path.is_file():
        raise UsageError(f"no such weight file: {path}")
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise DasExplainError(f"{path} cannot be read: {error.strerror}") from None
    if start.startswith(b"version https://git-lfs"):
        raise DasExplainError(f"{path} is a Git LFS pointer, not the weights: run `git lfs pull` where it came from")
    try:
        with opened_by_name(path) as name:
            if path.suffix.lower() == ".safetensors":
                return load_file(name)
            packed = zipfile.is_zipfile(name)
            found = load_tensors(name, mmap=packed)
            missing = missing_bytes(name) if packed else ""
    except pickle.UnpicklingError as error:
        raise DasExplainError(_refusal(path, start, str(error))) from None
    except Exception as error:  # whatever the readers run into in bytes that make no sense
        if "TorchScript" in str(error):
            raise DasExplainError(f"{path} is a TorchScript archive; save model.state_dict() instead") from None
        reason = _kind(start) if path.suffix.lower() != ".safetensors" else first_line(error)
        raise DasExplainError(f"{path} cannot be read as weights ({reason})") from None
    if missing:
        raise DasExplainError(f"{path} cannot be read as weights (it is damaged or cut short: {missing})")
    return found


def _refusal(path: Path, start: bytes, error: str) -> str:
    named = re.search(r"GLOBAL ([\w.]+)", error)
    if named or re.search("unrecognized function|Can only|Only persistent_load", error):
        return (
            f"{path} holds Python objects{f' ({named[1]})' if named else ''}, not only tensors, and reading those can run any code, "
            "so nothing was read; have it saved with torch.save(model.state_dict(), ...) or as safetensors"
        )
    if "Unsupported operand" in error and start.startswith((b"PK", b"\x80")):
        return f"{path} is pickled in a protocol that is not read; save it again with torch.save and no pickle_protocol"
    if "torch.distributed.tensor" in error:
        return f"{path} holds a part of distributed tensors; save the whole state dict on one process (FSDP: full_state_dict)"
    return f"{path} is not a PyTorch weight file ({_kind(start)})"


def _what_folder(path: Path) -> str:
    """What to do about the folders in which distributed training leaves its checkpoints."""
    if (path / ".metadata").is_file():
        return f": python -m torch.distributed.checkpoint.format_utils dcp_to_torch {path} FILE.pth makes one of it"
    if (path / "zero_to_fp32.py").is_file():
        return f": its own zero_to_fp32.py makes one of it: python {path / 'zero_to_fp32.py'} {path} FILE.pth"
    return ""


def _kind(start: bytes) -> str:
    if not start:
        return "the file is empty"
    if start.lstrip().startswith((b"<", b"{")):
        return "it begins like a web page or a text"
    return "it is damaged or cut short" if start.startswith((b"PK", b"\x80")) else "unknown content"
