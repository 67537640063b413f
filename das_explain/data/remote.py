"""Files that lie in a store, ``s3://``, ``gs://``, ``hf://`` or Azure's, read by fsspec through a cache on this machine.

A remote file is a path in the cache, ``CACHE/remote-files/s3/BUCKET/KEY``, whether it is there yet or not; whoever opens
an image asks ``fetched`` for it first, in the process that reads. So samples, masks and CSVs go on being paths, and each
machine has a cache of its own. ``CACHE`` is ``$DAS_EXPLAIN_CACHE``, else the user's cache folder.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from das_explain.errors import DasExplainError, UsageError, first_line, missing_package
from das_explain.files import replace_file
from das_explain.folders import cache_root
from das_explain.text import spelled

MARKER = "remote-files"
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface-hub", "az": "adlfs", "memory": "fsspec"}
"""Scheme -> what fsspec needs for it. No others: a CSV may come from anybody, and must not have us call anywhere."""
_URL = re.compile(rf"({'|'.join(PACKAGES)})://(.+)", re.DOTALL)
_told: dict[str, str] = {}
"""What listings told of files' contents, by path: a photo's size, a checksum where the store has one."""


def is_remote(spec: str | os.PathLike[str]) -> bool:
    """Whether this is a URL, such as ``s3://bucket/photos``."""
    return isinstance(spec, str) and _URL.fullmatch(spec) is not None


def place(url: str) -> Path:
    """Where the file of a URL is in the cache, or will be. Raises UsageError for one that leads out of it."""
    scheme, rest = _split(url)
    parts = [part for part in rest.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or "\0" in rest:
        raise UsageError(f"no such data: {spelled(url)} (SCHEME://PLACE/FOLDER)")
    return cache_root() / MARKER / scheme / Path(*parts)


def url_of(path: str | os.PathLike[str]) -> str | None:
    """The URL of a path in the cache, of any machine's; ``None`` for a file of this one."""
    if MARKER not in os.fspath(path):
        return None
    parts = Path(os.path.normpath(path)).parts
    at = len(parts) - 1 - parts[::-1].index(MARKER) if MARKER in parts else len(parts)
    return f"{parts[at + 1]}://{'/'.join(parts[at + 2 :])}" if len(parts) > at + 2 else None


def fetched(path: str | os.PathLike[str], *, again: bool = False) -> str | os.PathLike[str]:
    """The path itself, or, of a remote file, the one in this machine's cache, where it is by then, whole.

    ``again``: also if it is there already. Raises DasExplainError for a file that cannot be had.
    """
    url = url_of(path)
    if url is None:
        return path
    target = place(url)
    if again or not target.exists():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_file(target, lambda part: _get(url, part))
        except OSError as error:
            raise DasExplainError(f"cannot write to {spelled(str(target))}: {reason(error)}") from None
    return target


def _get(url: str, part: Path) -> None:
    files = store(url)
    try:
        files.get_file(url, str(part))
    except Exception as error:  # each store has exceptions of its own
        raise DasExplainError(f"{spelled(url)}: {reason(error)}") from None


def tell_content(path: Path, told: str) -> None:
    """Keeps what a listing tells of a remote file's content."""
    _told[str(path)] = told


def told_content(path: Path) -> str | None:
    """What stands for a remote file's content in a fingerprint, as far as a listing told it; ``None`` for a file here."""
    return None if url_of(path) is None else _told.get(str(path), "")


def _split(url: str) -> tuple[str, str]:
    match = _URL.fullmatch(url)
    if match is None:
        raise UsageError(f"no such data: {spelled(url)} (SCHEME://PLACE/FOLDER)")
    return match[1], match[2]


def store(url: str) -> Any:
    """fsspec's view of the store; it keeps one per process. Raises DasExplainError without the package for it."""
    import fsspec

    scheme = _split(url)[0]
    try:
        return fsspec.filesystem(scheme)
    except ImportError:
        raise missing_package(PACKAGES[scheme], "remote", f"{scheme}://") from None
    except Exception as error:
        raise UsageError(f"no such data: {spelled(url)} ({reason(error)})") from None


def reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return spelled(getattr(error, "strerror", None) or first_line(error))
