"""Several devices of this machine: a process with the networks for each, and its share of the missing shards."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import replace
from queue import Empty
from typing import Any

from das_explain.batches.workers import default_workers, end_with_parent
from das_explain.engines import Shard
from das_explain.engines.shard import make_shards, pieces_of
from das_explain.errors import DasExplainError, one_line
from das_explain.evidence.shards import shard_range
from das_explain.explain.plan import Plan
from das_explain.signals import leave_to_parent
from das_explain.types import Progress

WAIT = 1.0  # seconds after which it is looked whether a process has died


def make_on_devices(plan: Plan, missing: Sequence[int], progress: Progress) -> Iterator[Shard]:
    """Shards as they are done.

    Raises:
        DasExplainError: what a process raises, or one was killed.
    """
    count = min(len(plan.devices), len(missing))
    workers = default_workers() // count if plan.workers is None else plan.workers
    context = multiprocessing.get_context("spawn")  # what has used a graphics card cannot be forked
    made: Any = context.Queue(count)
    processes = [
        context.Process(target=_make, args=(replace(plan, device=device, workers=workers), missing[place::count], made))
        for place, device in enumerate(plan.devices[:count])
    ]
    done, total = 0, sum(len(shard_range(number, len(plan.samples))) for number in missing)
    try:
        for process in processes:
            process.start()
        for _ in missing:
            shard = _next(made, processes, plan)
            done += shard.table.num_rows
            progress(done, total)
            yield shard
    finally:
        for process in processes:
            if process.pid is not None:
                process.terminate()
                process.join()


def _make(plan: Plan, numbers: Sequence[int], made: Any) -> None:
    """A process: the shards it was given, or in their place the message of a clear error."""
    leave_to_parent()
    end_with_parent()
    try:
        for shard in make_shards(plan.explainer(), plan, pieces_of(plan, numbers), workers=plan.workers):
            made.put(shard)
    except DasExplainError as error:
        made.put(one_line(error))


def _next(made: Any, processes: Sequence[Any], plan: Plan) -> Shard:
    while True:
        try:
            item = made.get(timeout=WAIT)
        except Empty:
            for process, device in zip(processes, plan.devices):
                if process.exitcode:
                    why = "was killed, probably for lack of memory" if process.exitcode < 0 else "failed, see above"
                    raise DasExplainError(
                        f"the process of --device {device} {why}: the same command goes on, with a smaller --batch if need be"
                    ) from None
            continue
        if isinstance(item, str):
            raise DasExplainError(item)
        return Shard(*item)
