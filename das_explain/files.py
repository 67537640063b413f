"""Files that are whole or not there, what identifies their content, and how numbers are written into them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from das_explain.errors import DasExplainError, UsageError
from das_explain.text import is_unicode, spelled

PART = re.compile(r"\.das-explain-[0-9]+-.+")
"""What a file or folder is called until it is whole. One that is still called so has lost its process."""
MOST_BYTES = 1 << 30  # of a file that is read as a whole: COCO's own have 500 MB
PACKAGES = ("das-explain", "torch", "torchvision", "numpy", "pandas", "pyarrow", "scipy", "pillow", "grad-cam")


def replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Has ``write`` make a file under a temporary name beside ``path``, then gives it that name in one step.

    Whoever reads ``path`` finds the old file or the new one, never a part. Where ``write`` raises, ``path`` is left as
    it was and nothing else stays behind. The temporary name is the process's own and ends like ``path``, for writers
    that go by the suffix. An OSError names ``path``, whatever the writer knew of it.
    """
    part = part_of(path)
    try:
        part.unlink(missing_ok=True)  # a dead process may have had our number; nothing is written through a link
        write(part)
        os.replace(part, path)
    except OSError as error:
        raise naming(error, path) from None
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def open_new(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write part by part, under its name when it is left without an error. As ``replace_file``."""
    part = part_of(path)
    try:
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            yield file
        os.replace(part, path)
    except OSError as error:
        raise naming(error, path) if error.filename in (None, str(part)) else error from None
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def opened_by_name(path: Path, mode: str = "rb") -> Iterator[Path]:
    """A name by which libraries in C++ open a file, as they take Unicode only: its own, or one for an open file on it.

    Arrow would take the open file itself, but gives it up in threads that may outlive Python.
    """
    if is_unicode(str(path)):
        yield path
        return
    with path.open(mode) as file:
        yield Path(f"/dev/fd/{file.fileno()}")


def part_of(path: Path) -> Path:
    """What this process calls ``path`` until it is whole; ``PART`` matches it."""
    return path.with_name(f".das-explain-{os.getpid()}-{path.stem[:100]}{path.suffix}")


def naming(error: OSError, path: Path) -> OSError:
    """The same error of ``path``: a full disk, for one, is reported without a name by most who write files."""
    if error.errno is None:
        return OSError(*error.args)
    return OSError(error.errno, os.strerror(error.errno), str(path))


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with a home folder for its ``~``; as it is where nobody has that name, for a file may begin so.

    Raises UsageError for a name with NUL, which no file has.
    """
    if "\0" in os.fspath(path):
        raise UsageError(f"no file can be called {spelled(os.fspath(path))}")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def is_regular(path: str | os.PathLike[str]) -> bool:
    """Whether a file is there that can be read to its end: no folder, no pipe, no device, which may never end."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):  # ValueError: NUL in the name
        return False


def read_regular(path: Path, what: str = "file", *, most: int = MOST_BYTES) -> bytes:
    """All bytes of a file that somebody else made: of a regular one, and of no more than ``most``. ``what`` it should be.

    Raises:
        UsageError: there is no such file, or it is a folder, a pipe, a device.
        DasExplainError: it is too large, or cannot be read.
    """
    where = spelled(str(path), backslash=False)
    try:
        told = os.stat(path)
        if not stat.S_ISREG(told.st_mode):
            kind = "a folder" if stat.S_ISDIR(told.st_mode) else "a device or a pipe"
            raise UsageError(f"{where} is {kind} where a {what} is expected")
        if told.st_size > most:
            raise DasExplainError(f"{where} is too large for a {what} ({told.st_size:,} bytes, at most {most:,})")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: NUL in the name
        raise UsageError(f"no such {what}: {where}") from None
    except OSError as error:
        raise DasExplainError(f"cannot read {where}: {error.strerror or error}") from None


def json_object(path: Path, what: str = "file", *, most: int = MOST_BYTES) -> dict[str, Any]:
    """What a JSON file holds in a folder that may be anybody's; nothing where there is no such file, or it holds no object.

    Raises DasExplainError for one that is too large, or cannot be read.
    """
    try:
        content = json.loads(read_regular(path, what, most=most)) if is_regular(path) else None
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def write_text_whole(path: Path, text: str) -> None:
    """A text as UTF-8, whole or not at all, with line ends as they are; lone surrogates become the bytes they stand for."""
    data = text.encode("utf-8", "surrogateescape")
    replace_file(path, lambda part: part.write_bytes(data))


def write_json(path: Path, content: Any) -> None:
    """A JSON file for people, whole or not at all. What is no Unicode (a path of odd bytes) becomes JSON's escape of it."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_text_whole(path, text.encode("utf-8", "backslashreplace").decode())


def json_line(record: Any) -> bytes:
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
    versions = {package: _version(package) for package in PACKAGES}
    return {"python": platform.python_version(), "platform": platform.platform(), **versions}


@cache  # a package's description is a page of text, and a run asks three times for nine
def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
