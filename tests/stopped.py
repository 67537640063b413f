"""Commands that are asked to stop: each in a process of its own, forked so that it begins at once, as from a terminal."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

SECONDS = 240  # on a busy machine
GRACE = 20  # until workers have noticed; within ``batches.workers.WATCHED_EVERY`` on an idle one


class Ended(NamedTuple):
    """How a process ended, what it said at last on stderr, and the processes that it left behind."""

    status: int
    line: str
    said: str
    orphans: list[int]


def stop(words: Sequence[object], working: Callable[[], bool], number: int, log: Path) -> Ended:
    """Runs ``das-explain WORDS`` and sends it a signal as soon as ``working()``; Ctrl-C goes to its workers as well."""
    child = _start([str(word) for word in words], log)
    deadline = time.monotonic() + SECONDS
    try:
        while not working():
            ended, status = os.waitpid(child, os.WNOHANG)
            assert not ended, f"it ended by itself with {status}: {log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"it has not begun: {log.read_text()[-2000:]}"
            time.sleep(0.002)
        (os.killpg if number == signal.SIGINT else os.kill)(child, number)
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            assert time.monotonic() < deadline, f"it does not stop: {log.read_text()[-2000:]}"
            time.sleep(0.01)
    except AssertionError:
        _left_of(child, 0)
        raise
    said = log.read_text()
    return Ended(os.waitstatus_to_exitcode(ended[1]), (said.splitlines() or [""])[-1], said, _left_of(child))


def _start(words: list[str], log: Path) -> int:
    child = os.fork()
    if child:
        return child
    code = 3
    try:
        os.setsid()
        to = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(to, number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        sys.argv = ["das-explain", *words]
        from das_explain.commands import main

        main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _left_of(session: int, grace: float = GRACE) -> list[int]:
    """The processes that a session has left after that many seconds, for those that are ending; they are killed."""
    deadline = time.monotonic() + grace
    while (left := [each for each in _processes() if _session_of(each) == session]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for each in left:
        os.kill(each, signal.SIGKILL)
    return left


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _session_of(process: int) -> int | None:
    """``None`` for one that has ended, or is a zombie that somebody else will fetch."""
    try:
        state, _, _, session = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:4]
    except (OSError, ValueError):
        return None
    return None if state == "Z" else int(session)
