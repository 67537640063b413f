"""Whether the numbers that a file of ``torch.save`` names are all there: PyTorch maps as many as its pickle claims, whatever
lies behind a record that is shorter."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

from das_explain.checkpoint.pickled import StandIn

BYTES = {"Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "ComplexDouble": 16,
    "ComplexFloat": 8}  # fmt: skip
"""Of a number in a storage of that kind; 1 of all others."""


class _Inert(StandIn):
    """Stands for an object of any class, dictionaries among them; nothing that it is filled with is kept."""

    bytes = 1

    def __setitem__(self, *_: Any) -> None:
        pass


class _Storages(pickle._Unpickler):  # the one in C takes memory for whatever place a pickle names
    """Which storages a pickle names: key -> bytes. Nothing else is made of it."""

    def __init__(self, pickled: bytes) -> None:
        super().__init__(io.BytesIO(pickled))
        self.bytes_of: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        return type(name, (_Inert,), {"bytes": BYTES.get(name.removesuffix("Storage"), 1)})

    def persistent_load(self, identity: Any) -> _Inert:
        _, kind, key, _, count = identity
        self.bytes_of[str(key)] = count * kind.bytes
        return _Inert()


def missing_bytes(path: Path) -> str:
    """The first record of a zip of PyTorch's that has fewer bytes than are made of it, in words; empty if there is none."""
    try:
        with zipfile.ZipFile(path) as file:
            sizes = {info.filename: info.file_size for info in file.infolist()}
            (pickled,) = [name for name in sizes if name.count("/") == 1 and name.endswith("/data.pkl")]
            named = _Storages(file.read(pickled))
        named.load()
    except Exception:  # PyTorch has read it: whatever else is in it, there is nothing to compare
        return ""
    folder = pickled.removesuffix("data.pkl")
    for key, wanted in named.bytes_of.items():
        if (there := sizes.get(f"{folder}data/{key}", 0)) < wanted:
            return f"its record data/{key} has {there:,} of {wanted:,} bytes"
    return ""
