"""Commands that are asked to stop: each in a process and session of its own, as from a terminal.

Not forked from the tests' process: that one has threads, and what they hold at that moment is never let go in the child.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

SECONDS = 240  # on a busy machine
GRACE = 20  # until workers have noticed; within ``batches.workers.WATCHED_EVERY`` on an idle one
HEARS = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"


class Ended(NamedTuple):
    """How a process ended, what it said at last on stderr, and the processes that it left behind."""

    status: int
    line: str
    said: str
    orphans: list[int]


def stop(words: Sequence[object], working: Callable[[], bool], number: int, log: Path) -> Ended:
    """Runs ``das-explain WORDS`` and sends it a signal as soon as ``working()``; Ctrl-C goes to its workers as well."""
    command = [sys.executable, str(Path(__file__).parents[1] / "cli.py"), *map(str, words)]
    with log.open("w") as to:
        # A session of its own, in which Ctrl-C is heard also where the tests run in the background.
        process = subprocess.Popen(
            [sys.executable, "-c", HEARS, *command], stdout=to, stderr=to, start_new_session=True
        )
    child = process.pid
    deadline = time.monotonic() + SECONDS
    try:
        while not working():
            assert process.poll() is None, f"it ended by itself with {process.poll()}: {log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"it has not begun: {log.read_text()[-2000:]}"
            time.sleep(0.002)
        (os.killpg if number == signal.SIGINT else os.kill)(child, number)
        while process.poll() is None:
            assert time.monotonic() < deadline, f"it does not stop: {log.read_text()[-2000:]}"
            time.sleep(0.01)
    except AssertionError:
        _left_of(child, 0)
        raise
    said = log.read_text()
    return Ended(process.returncode, (said.splitlines() or [""])[-1], said, _left_of(child))


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
