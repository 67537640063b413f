"""Processes for work that is handed out piece by piece: fresh ones, deaf to Ctrl-C, gone when the work is given up."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from das_explain.batches.workers import end_with_parent
from das_explain.devices import use_threads
from das_explain.signals import leave_to_parent


@contextmanager
def process_pool(
    count: int, threads: int, prepare: Callable[..., object] | None = None, *given: Any
) -> Iterator[ProcessPoolExecutor]:
    """A pool of ``count`` processes of so many threads, each of which calls ``prepare(*given)`` first.

    They are started, not forked: Arrow and torch have threads here, of which a fork may wait for ever. Where the block
    is left by an exception they are killed: whoever stops does not wait for them.
    """
    others = set(multiprocessing.active_children())
    start = (threads, prepare, given)
    pool = _Pool(count, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare, initargs=start)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        raise
    finally:
        pool.shutdown()


class _Pool(ProcessPoolExecutor):
    def submit(self, *work: Any, **named: Any) -> Future[Any]:
        """Starts a process where there are too few. Until that is known here, nothing stops this one; and it inherits that
        Ctrl-C, which a terminal sends to all, is held back: it would die of it with a traceback."""
        if not hasattr(signal, "pthread_sigmask"):
            return super().submit(*work, **named)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            return super().submit(*work, **named)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare(threads: int, prepare: Callable[..., object] | None, given: tuple[Any, ...]) -> None:
    leave_to_parent()
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    end_with_parent()
    use_threads(threads)
    if prepare is not None:
        prepare(*given)
