"""Decoding processes: started at once, ended with their parent, and heard of in one line when they are killed."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from das_explain.errors import DasExplainError
from das_explain.signals import leave_to_parent

PREFETCH = 2  # batches ahead, per worker
HANDFUL = 4  # photos that are decoded before a process has started
WATCHED_EVERY = 1.0  # seconds in which a worker notices that its parent is gone


def read_ahead(
    reader: Any, order: Sequence[Any], workers: int | None = None, *, ahead: int = PREFETCH
) -> Iterator[Any]:
    """Yields ``reader[item]`` for the items of ``order``, in order, computed in ``workers`` processes.

    ``workers`` as in ``load_batches``; each works up to ``ahead`` items ahead. They start at once, from the caller's
    thread, whichever thread asks for the items. Raises ``DasExplainError`` if one of them is killed, and what the
    reader raises.
    """
    if workers is None:
        workers = default_workers() if len(order) > HANDFUL else 0
    workers = min(workers, len(order))
    if not workers:
        return (reader[item] for item in order)
    loader = DataLoader(
        _Told(reader),
        sampler=order,
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_prepare_worker,
        prefetch_factor=max(PREFETCH, ahead),
    )
    with one_opencv_thread():
        items = iter(loader)
    return _checked(items)


def _checked(items: Iterator[Any]) -> Iterator[Any]:
    with killed_workers_told():
        for item in items:
            if isinstance(item, DasExplainError):
                raise item
            yield item


@contextmanager
def killed_workers_told() -> Iterator[None]:
    """Makes one clear line of the death of a worker process, which torch reports wherever the main thread happens to be."""
    try:
        yield
    except RuntimeError as error:
        if "killed by signal" not in str(error) and "exited unexpectedly" not in str(error):
            raise
        raise DasExplainError(
            "a decoding worker was killed, probably for lack of memory: run the same command again with fewer --workers"
        ) from None


def available_cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers() -> int:
    """Half of the processors this process may use, between 1 and 8; 0 if it may use only one."""
    usable = available_cpus()
    return 0 if usable == 1 else max(1, min(8, usable // 2))


class _Told(TorchDataset):
    """Hands a clear error over as an item: torch would wrap its message into a traceback."""

    def __init__(self, reader: Any) -> None:
        self.reader = reader

    def __getitem__(self, item: Any) -> Any:
        try:
            return self.reader[item]
        except DasExplainError as error:
            return error


def _as_it_is(item: Any) -> Any:
    return item


def _prepare_worker(_: int) -> None:
    """One thread in an OpenCV that the worker loads itself (torch's loader has done the same for torch); no orphans."""
    os.environ["OPENCV_FOR_THREADS_NUM"] = "1"
    leave_to_parent()
    end_with_parent()


def end_with_parent() -> None:
    """Lets this process end within ``WATCHED_EVERY`` seconds of its parent, also where that one is killed.

    torch's own watchdog only ends the worker's loop; the process then waits for its queue to be emptied, which nobody
    does any more, and keeps its memory for ever. ``os._exit`` does not wait.
    """
    parent, process = os.getppid(), multiprocessing.parent_process()

    def watch() -> None:
        if os.name == "nt" and process is not None:  # there a parent's number outlives it
            process.join()
        else:
            while os.getppid() == parent:
                time.sleep(WATCHED_EVERY)
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """While workers are forked, which inherit the setting (set in a worker it may wait for threads it lacks)."""
    cv2 = sys.modules.get("cv2")
    if cv2 is None:
        yield
        return
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
