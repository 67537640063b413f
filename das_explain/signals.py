"""Ctrl-C and SIGTERM: one handler for both, so that whoever is asked to stop puts away what is open and says one line."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_received: list[int] = []


class Stopped(BaseException):
    """The process was asked to end. No ``KeyboardInterrupt``: Typer and Lightning would take that for themselves."""


def exit_status() -> int:
    """What a stopped process ends with: 128 and the number of the signal, of Ctrl-C unless another one came."""
    return 128 + (_received[0] if _received else signal.SIGINT)


@contextmanager
def heard_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise ``Stopped`` in the main thread; later ones are not heard, so that cleaning up ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _NUMBERS}
    _received.clear()
    try:
        for number in _NUMBERS:
            if before[number] is not signal.SIG_IGN:  # nohup, and jobs in the background
                signal.signal(number, _stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def was_asked_to_stop() -> bool:
    """Whether a signal came, whatever became of it: libraries in C drop what is raised in what they call, or make another
    error of it."""
    return bool(_received)


def stop_if_asked() -> None:
    """Raises ``Stopped`` where one was lost; called wherever work goes on, and nowhere in what puts things away."""
    heard = _received and signal.getsignal(_received[0]) is _stop
    if heard and threading.current_thread() is threading.main_thread():
        raise Stopped


def ignore_signals() -> None:
    """Of a process that has nothing left to do but to end."""
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)


def leave_to_parent() -> None:
    """In a worker: Ctrl-C, which all processes of a terminal get, is the parent's affair, and SIGTERM ends it at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> Any:
    _received.append(number)
    if len(_received) == 1:
        sys.unraisablehook = _nothing  # of objects that were half made, torch's loaders among them
        raise Stopped


def _nothing(_: Any) -> None:
    """Whoever was asked to stop tells no more than that."""
