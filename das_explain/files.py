"""Files: whole-or-nothing writing, what identifies a content, six digits, and the versions that results depend on."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGES = ("das-explain", "torch", "torchvision", "numpy", "pandas", "pyarrow", "scipy", "pillow", "grad-cam")


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in parts."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """``write`` makes a file beside ``path``, which then takes its place: whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """A JSON file for people, whole or not at all."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def json_line(record: dict[str, Any]) -> bytes:
    """A record as a line of a ``.jsonl`` file. Raises ValueError for NaN, which JSON does not have."""
    return (json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n").encode()


def six_digits(value: float) -> float | None:
    """Six significant digits: what float32 carries, and the same on every run. NaN and infinity become None."""
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None


def package_versions() -> dict[str, str]:
    """Python, the platform and the packages that results depend on."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
