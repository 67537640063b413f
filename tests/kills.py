"""Kills that are aimed: a process that dies at its n-th step on the disk, for every n.

A step is opening a file to write, renaming, removing, linking, making a folder, below one folder; Python tells of each
before it is done (``sys.addaudithook``), whoever asks for it. The child is forked, so that it begins at once, and ends
by SIGKILL: nothing is cleaned up. Files that were half-written then are cut in the middle, as a kill within a write
would have left them.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from das_explain.batches.workers import one_opencv_thread
from das_explain.files import PART

STEPS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def kills(stride: int) -> pytest.MarkDecorator:
    """Every so many steps of the work, and in ``make stress`` at each of them."""
    return pytest.mark.parametrize("stride", [stride, pytest.param(1, marks=pytest.mark.stress)])


def kill_at(step: int, folder: Path, work: Callable[[], object]) -> bool:
    """Does ``work`` in a child that dies before that step (0 is the first); whether it lived to have one."""
    with one_opencv_thread():  # of others the child would wait for ever
        child = os.fork()
    if child == 0:
        code = 1
        try:
            _arm(step, str(folder))
            work()
            code = 0
        except BaseException as error:
            print(f"step {step}: {type(error).__name__}: {error}", file=sys.__stderr__, flush=True)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        _tear(folder)
        return True
    assert os.WEXITSTATUS(status) == 0, "the work itself failed"
    return False


def every_kill(
    folder: Path, prepare: Callable[[], None], work: Callable[[], object], *, stride: int = 1
) -> Iterator[int]:
    """Yields after each kill, with the number of its step; ``prepare`` makes the folder anew before each."""
    step = 0
    while True:
        prepare()
        if not kill_at(step, folder, work):
            return
        yield step
        step += stride


def _arm(step: int, folder: str) -> None:
    left = [step]

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            path, _, flags = arguments
            counts = isinstance(flags, int) and flags & WRITING and isinstance(path, (str, bytes, os.PathLike))
        else:
            path = arguments[0] if arguments else ""
            counts = event in STEPS and isinstance(path, (str, bytes, os.PathLike))  # not what is open already
        if counts and os.fsdecode(path).startswith(folder):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

    sys.addaudithook(hook)


def _tear(folder: Path) -> None:
    for path in folder.rglob("*") if folder.is_dir() else ():
        if path.is_file() and not path.is_symlink() and (PART.fullmatch(path.name) or path.suffix == ".partial"):
            os.truncate(path, path.stat().st_size // 2)
