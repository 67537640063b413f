"""Files that are whole or not there, what identifies their content, and how numbers are written into them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from das_explain.errors import UsageError

PACKAGES = ("das-explain", "torch", "torchvision", "numpy", "pandas", "pyarrow", "scipy", "pillow", "grad-cam")


def replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Has ``write`` make a file under a temporary name beside ``path``, then gives it that name in one step.

    Whoever reads ``path`` finds the old file or the new one, never a part. Where ``write`` raises, ``path`` is left as
    it was and nothing else stays behind. The temporary name is the process's own and ends like ``path``, for writers
    that go by the suffix.
    """
    part = path.with_name(f".{path.stem[:100]}.{os.getpid()}.part{path.suffix}")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text_whole(path: Path, text: str) -> None:
    """A text as UTF-8, whole or not at all, with line ends as they are; lone surrogates become the bytes they stand for."""
    data = text.encode("utf-8", "surrogateescape")
    replace_file(path, lambda part: part.write_bytes(data))


def write_json(path: Path, content: Any) -> None:
    """A JSON file for people, whole or not at all. What is no Unicode (a path of odd bytes) becomes JSON's escape of it."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_text_whole(path, text.encode("utf-8", "backslashreplace").decode())


def json_line(record: dict[str, Any]) -> bytes:
    """A record as a line of a ``.jsonl`` file. Raises ValueError for NaN, which JSON does not have."""
    return (json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "surrogateescape")


def six_digits(value: float) -> float | None:
    """Six significant digits: what float32 carries, and the same on every run. NaN and infinity become ``None``."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in parts."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


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


def check_folder(out: Path) -> None:
    """Raises UsageError unless files can be written to ``out``, be it there or still to be made. Leaves no trace."""
    try:
        there = next(path for path in (out, *out.absolute().parents) if path.exists())
        if not there.is_dir():
            raise UsageError(f"--out {there} is a file; name a folder")
        tempfile.TemporaryDirectory(dir=there).cleanup()
    except OSError as error:
        raise UsageError(f"cannot write to --out {out}: {error.strerror or error}; choose another folder") from None
