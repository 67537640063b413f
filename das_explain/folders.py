"""Folders that are written to: only inside of them, and nothing is removed but what was written by name."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from das_explain.errors import DasExplainError, UsageError
from das_explain.files import PART, expanded, is_regular, part_of, read_regular, replace_file, write_json
from das_explain.text import spelled

if TYPE_CHECKING:
    from filelock import AcquireReturnProxy

CLAIM = ".das-explain.json"
"""In a folder where others' files may lie: which of its files das-explain has written."""
LOCK = ".lock"
CACHE_VARIABLE = "DAS_EXPLAIN_CACHE"


def cache_root() -> Path:
    """``$DAS_EXPLAIN_CACHE``, else the user's cache folder. Nothing is made here."""
    root = os.environ.get(CACHE_VARIABLE)
    if not root:
        import platformdirs

        root = platformdirs.user_cache_dir("das-explain", appauthor=False)
    return Path(os.path.abspath(expanded(root)))


def check_folder(out: Path) -> None:
    """Raises UsageError unless files can be written to ``out``, be it there or still to be made. Leaves no trace."""
    try:
        if "\0" in os.fspath(out):
            raise ValueError("NUL in its name")
        there = next(path for path in (out, *out.absolute().parents) if path.exists() or path.is_symlink())
        if not there.is_dir():
            what = "a link that leads nowhere" if not there.exists() else "a file"
            raise UsageError(f"--out {spelled(str(there))} is {what}; name a folder")
        tempfile.TemporaryDirectory(prefix=f".das-explain-{os.getpid()}-", dir=there).cleanup()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot write to --out {spelled(str(out))}: {reason}; choose another folder") from None


def write_inside(folder: Path, relative: str, write: Callable[[Path], object]) -> None:
    """``files.replace_file`` of ``inside(folder, relative)``, whose own folder is made."""
    path = inside(folder, relative)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, write)


def put_inside(folder: Path, relative: str, content: bytes) -> None:
    """A file of these bytes, as ``write_inside``."""
    write_inside(folder, relative, lambda part: part.write_bytes(content))


def inside(folder: Path, relative: str) -> Path:
    """``folder / relative``. Raises DasExplainError if a link there leads out of ``folder``: what is asked for lies
    elsewhere then, and is neither read nor written."""
    path = folder / relative
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise DasExplainError(
            f"{spelled(str(path))} leads out of {spelled(str(folder))} by a link: remove the link, or choose another folder"
        )
    return path


def claim_files(folder: Path, names: Iterable[str]) -> None:
    """Makes ``folder``, and says in ``CLAIM`` that the files of these names are this program's, before they are written.

    Names are relative, with slashes. Raises UsageError where one is there that was not written here: it is somebody's own
    and stays; and for a folder that cannot be written.
    """
    check_folder(folder)
    wanted, known = dict.fromkeys(names), claimed_files(folder)
    if foreign := [name for name in wanted if name not in known and os.path.lexists(inside(folder, name))]:
        where = spelled(str(folder / foreign[0]))
        raise UsageError(f"{where} was not written by das-explain: move it elsewhere, or choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(inside(folder, CLAIM), {"written by das-explain": sorted({*known, *wanted})})


def claimed_files(folder: Path) -> set[str]:
    """The files in ``folder`` that are this program's and still there. Raises UsageError for a ``CLAIM`` that is not."""
    path = inside(folder, CLAIM)
    if not os.path.lexists(path):
        return set()
    try:
        names = json.loads(read_regular(path, "list of files"))["written by das-explain"] if is_regular(path) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{spelled(str(path))} is not das-explain's: choose another folder")
    return {name for name in names if ".." not in name.split("/") and os.path.lexists(folder / name)}


@contextmanager
def new_files(folder: Path) -> Iterator[Path]:
    """An empty folder whose files get into ``folder`` when it is left without an error. Raises as ``claim_files``."""
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    fresh = part_of(folder / "new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        yield fresh
        names = files_below(fresh)
        claim_files(folder, names)
        for name in names:
            target = inside(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(fresh / name, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def remove_written(folder: Path, names: Iterable[str]) -> None:
    """Removes files that were written under these names, relative to ``folder``, and folders that this leaves empty.

    Links are removed, never what they lead to; where a folder stands under a name, it is somebody else's and stays.
    """
    parents = set()
    for name in names:
        path = inside(folder, str(Path(name).parent)) / Path(name).name
        if path.is_symlink() or path.is_file():
            path.unlink(missing_ok=True)
        parents |= {parent for parent in Path(name).parents if parent.name}
    for parent in sorted(parents, key=lambda each: -len(each.parts)):
        if (folder / parent).is_dir() and not (folder / parent).is_symlink() and not any((folder / parent).iterdir()):
            (folder / parent).rmdir()


def lock_folder(folder: Path, patience: float = 0) -> AcquireReturnProxy:
    """Keeps other processes from writing to a folder until the block ends of which it is the context, or this process.

    Raises UsageError where it cannot be written, DasExplainError where another process is still writing to it after
    ``patience`` seconds.
    """
    from filelock import FileLock, Timeout

    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(inside(folder, LOCK)).acquire(timeout=patience)
    except Timeout:
        raise DasExplainError(f"another process is writing to {folder}; choose another --out") from None
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror or error}") from None


def remove_parts(folder: Path) -> None:
    """Removes what killed processes left half-written in ``folder``, which nobody else may be writing to."""
    for path in parts_in(folder):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def replace_folder(target: Path, is_ours: Callable[[str], bool]) -> Iterator[Path]:
    """An empty folder beside ``target`` that takes its place on success and vanishes on failure.

    What somebody else has put into ``target`` is kept: files whose name, relative to it, ``is_ours`` denies.
    """
    fresh, old = part_of(target), target.with_name(f".{target.name}.old")
    _settle(target, old, is_ours)  # what a killed process began
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        yield fresh
        if target.is_symlink() or target.exists():
            target.rename(old)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        _settle(target, old, is_ours)


def _settle(target: Path, old: Path, is_ours: Callable[[str], bool]) -> None:
    """Ends a replacement: ``old`` is back under its name if nothing new is there, else what is not ours moves over."""
    if not target.exists() and (old.exists() or old.is_symlink()):
        old.rename(target)
    if old.is_symlink():
        old.unlink()
    for name in files_below(old):
        if not is_ours(name) and not (target / name).exists():  # else the new one has written a file of that name
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (old / name).rename(target / name)
    shutil.rmtree(old, ignore_errors=True)


def files_below(folder: Path) -> list[str]:
    """The files and links in a folder and its subfolders, relative, with slashes; nothing behind a link."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            found += [f"{entry.name}/{name}" for name in files_below(entry)]
        else:
            found.append(entry.name)
    return found


def parts_in(folder: Path) -> list[Path]:
    """What is there half-written: files and folders whose name says so."""
    return [path for path in folder.iterdir() if PART.fullmatch(path.name)] if folder.is_dir() else []
