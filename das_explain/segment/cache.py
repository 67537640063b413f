"""The mask cache: what a finder found, one small file per photo, prompt and finder, shared by all runs.

    FOLDER/<finder>/finder.json       the finder's identity; <finder> is its name and the head of the identity's hash
    FOLDER/<finder>/ab/abcd....png    a 1-bit PNG of the mask (1 x 1 where there is none) and, one below the other, the
                                      alternatives; status, detail and the alternatives' names as its text

FOLDER is ``masks`` in ``$DAS_EXPLAIN_CACHE``, else in the user's cache folder. The file name is a hash of the decoded
photo and the prompt, so a photo that was renamed or moved is known again, and one that was edited is not.

There is no index and no lock. A file comes into being under another name and is then renamed, so that readers and
other processes, on this machine or another, see all of it or nothing; a process that is killed leaves at most a
``.partial`` file, which is never read. A file that was damaged (PNG carries checksums), or that is not what this
version writes, counts as missing and is made again; other versions that share the folder do so under other names.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from das_explain.data.images import full_size, printable
from das_explain.errors import DasExplainError, UsageError
from das_explain.files import is_regular, json_object, read_regular
from das_explain.folders import CACHE_VARIABLE, cache_root
from das_explain.types import Region

TEXT = "das-explain"  # the PNG's text entry
FORMAT = 2  # to be raised when what is stored changes, or what the same weights and settings find
STALE = 24 * 3600  # seconds after which a .partial file has surely lost its process
MOST = 1 << 20  # bytes of a finder's description
TRIES = 3  # at writing a file while another process clears the cache
_FINDER = re.compile(r"[a-z0-9+-]{1,40}-[0-9a-f]{16}")
_ENTRY = re.compile(r"[0-9a-f]{64}\.png")
_PARTIAL = re.compile(r"\.[0-9a-z.]+\.partial")


def cache_folder() -> Path:
    """``$DAS_EXPLAIN_CACHE``, else the user's cache folder, and ``masks`` in it. Nothing is made here."""
    return cache_root() / "masks"


@dataclass(frozen=True)
class Shelf:
    """The cached masks of one finder with one set of settings."""

    folder: Path
    identity: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.identity.get("name", self.folder.name))

    def entries(self) -> Iterator[Path]:
        """The files of the masks, in no order."""
        for folder in _folders(self.folder):
            if re.fullmatch("[0-9a-f]{2}", folder.name):
                yield from (path for path in _files(folder) if _ENTRY.fullmatch(path.name))


def _decisive(identity: dict[str, Any]) -> dict[str, Any]:
    """Without where weights were found, if their hash is there: moved or copied, they are the same weights."""
    if "sha256" in identity:
        identity = {key: value for key, value in identity.items() if key != "weights"}
    return {key: _decisive(value) if isinstance(value, dict) else value for key, value in identity.items()}


class MaskCache:
    """The masks of one finder: ``identity`` is all that decides them besides photo and prompt. Picklable."""

    def __init__(self, identity: dict[str, Any], folder: Path | None = None) -> None:
        self.identity = json.loads(json.dumps(identity))  # as JSON gives it back: tuples are lists
        self.root = cache_folder() if folder is None else folder
        self._prepared = False

    @cached_property
    def folder(self) -> Path:
        """Where this finder's masks lie."""
        text = json.dumps({"format": FORMAT, "finder": _decisive(self.identity)}, sort_keys=True)
        name = re.sub("[^a-z0-9+-]", "-", str(self.identity.get("name", "finder")).lower())[:40] or "finder"
        return self.root / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def key(self, image: Image.Image, prompt: str) -> str:
        """SHA-256 over a decoded upright RGB photo, its size, and what is asked of it."""
        asked = f"{image.size} {full_size(image)} {len(prompt)} {prompt}\n"
        content = hashlib.sha256(asked.encode("utf-8", "surrogatepass"))
        content.update(np.ascontiguousarray(np.asarray(image)))
        return content.hexdigest()

    def load(self, key: str) -> Region | None:
        """The region stored under a key; ``None`` if there is none, or none that can be read."""
        path = self._path(key)
        if not is_regular(path):
            return None
        try:
            with Image.open(path, formats=["PNG"]) as image:
                image.load()
                entry = json.loads(image.text[TEXT])
                names = entry["alternatives"]
                mask, *others = np.split(np.asarray(image), 1 + len(names)) if entry["mask"] else [None]
        except Exception:  # missing or damaged: zlib, struct, Unicode, JSON, key and Pillow errors alike
            return None
        status, detail = entry.get("status"), entry.get("detail")
        known = isinstance(status, str) and isinstance(detail, dict) and (mask is None or mask.dtype == bool)
        named = isinstance(names, list) and all(isinstance(name, str) for name in names)
        return Region(mask, status, detail, dict(zip(names, others))) if known and named else None

    def store(self, key: str, region: Region) -> None:
        """Writes a region. Raises ``DasExplainError`` if the folder cannot be written."""
        entry = {
            "status": region.status,
            "mask": region.mask is not None,
            "detail": region.detail,
            "alternatives": list(region.alternatives),
        }
        text = PngImagePlugin.PngInfo()
        text.add_text(TEXT, json.dumps(entry))
        masks = [np.zeros((1, 1), bool)] if region.mask is None else [region.mask, *region.alternatives.values()]
        buffer = io.BytesIO()
        Image.fromarray(np.concatenate(masks)).save(buffer, "PNG", pnginfo=text, compress_level=9)
        self._write(self._path(key), buffer.getvalue())

    def prepare(self) -> None:
        """Makes the folder, and removes what killed processes left half-written in it. Raises as ``store``."""
        if self._prepared:
            return
        self._write(self.folder / "finder.json", self._description)
        for path in _partials(self.folder):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE:
                    path.unlink()
        self._prepared = True

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.png"

    @property
    def _description(self) -> bytes:
        return (json.dumps(self.identity, indent=1, sort_keys=True) + "\n").encode()

    def _write(self, path: Path, content: bytes) -> None:
        """Writes a file, and the shelf's description where another process has just cleared it away."""
        try:
            _write(path, content)
            if not (self.folder / "finder.json").exists():
                _write(self.folder / "finder.json", self._description)
        except OSError as error:
            raise _unwritable(self.root, error) from None


def shelves(root: Path | None = None) -> list[Shelf]:
    """What the cache holds, by finder; nothing in the folder that the cache did not make."""
    found = []
    for folder in _folders(cache_folder() if root is None else root):
        if _FINDER.fullmatch(folder.name):
            try:
                identity = json_object(folder / "finder.json", most=MOST)
            except DasExplainError:
                identity = {}
            found.append(Shelf(folder, identity))
    return sorted(found, key=lambda shelf: shelf.folder.name)


def clear(name: str | None = None, *, older_than: float | None = None, root: Path | None = None) -> tuple[int, int]:
    """Deletes masks (of the finder ``name`` only; made over ``older_than`` days ago only): (files, bytes).

    Deletes only files that the cache itself names so; whatever else lies in the folder stays.
    """
    files = size = 0
    before = None if older_than is None else time.time() - older_than * 86400
    for shelf in shelves(root):
        if name is not None and name not in (shelf.name, shelf.folder.name):
            continue
        for path in list(shelf.entries()):
            with contextlib.suppress(FileNotFoundError):  # another process may clear as well
                stat = path.stat()
                if before is None or stat.st_mtime < before:
                    path.unlink()
                    files, size = files + 1, size + stat.st_size
        for path in _partials(shelf.folder) if before is None else ():
            path.unlink(missing_ok=True)
        _remove_if_empty(shelf)
    return files, size


def export(out: Path, name: str | None = None, *, root: Path | None = None) -> int:
    """Copies the cache (of the finder ``name`` only) to ``out/masks``, a folder that ``$DAS_EXPLAIN_CACHE=out`` reads.

    Copying such a folder over another machine's cache merges the two. Returns the number of masks.

    Raises:
        UsageError: there is nothing to copy, or ``out`` holds something else.
    """
    chosen = [shelf for shelf in shelves(root) if name is None or name in (shelf.name, shelf.folder.name)]
    target = out / "masks"
    if not chosen:
        raise UsageError(f"the mask cache {printable(cache_folder() if root is None else root)} holds no such masks")
    if out.exists() and (not out.is_dir() or any(entry.name != "masks" for entry in out.iterdir())):
        raise UsageError(f"--out {printable(out)} holds something else: name a new folder, or an earlier export")
    count = 0
    try:
        for shelf in chosen:
            for source in [shelf.folder / "finder.json", *shelf.entries()]:
                with contextlib.suppress(FileNotFoundError, UsageError):  # cleared away, or put there by somebody else
                    content = read_regular(source)
                    _write(target / source.relative_to(shelf.folder.parent), content)
                    count += source.suffix == ".png"
    except OSError as error:
        raise _unwritable(out, error) from None
    return count


def _write(path: Path, content: bytes) -> None:
    """A file that is there whole, or as it was before. Raises ``OSError``."""
    for attempt in range(1, TRIES + 1):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.stem[:16].lower()}.{os.getpid()}.{secrets.token_hex(4)}.partial")
        try:
            with partial.open("xb") as file:
                file.write(content)
            try:
                os.replace(partial, path)
            except PermissionError:  # on Windows, where another process is reading the same mask just now
                if not path.exists():
                    raise
            return
        except FileNotFoundError:  # another process has cleared the cache, this folder or this partial file included
            if attempt == TRIES:
                raise
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)


def _unwritable(folder: Path, error: OSError) -> DasExplainError:
    reason = error.strerror or str(error)
    return DasExplainError(
        f"cannot write to {printable(folder)} ({reason}): set {CACHE_VARIABLE} to a folder with room"
    )


def _folders(folder: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    return []


def _files(folder: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        return [Path(entry.path) for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False)]
    return []


def _partials(folder: Path) -> list[Path]:
    return [path for each in [folder, *_folders(folder)] for path in _files(each) if _PARTIAL.fullmatch(path.name)]


def _remove_if_empty(shelf: Shelf) -> None:
    for folder in _folders(shelf.folder):
        with contextlib.suppress(OSError):
            folder.rmdir()
    if not _folders(shelf.folder):
        with contextlib.suppress(OSError):
            (shelf.folder / "finder.json").unlink(missing_ok=True)
            shelf.folder.rmdir()
