"""What runs on the machines of a cluster: the actor that makes pieces, and a look at a few photos."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from das_explain.devices import use_threads
from das_explain.engines.cluster import Layout
from das_explain.engines.pieces import Job, Make
from das_explain.errors import DasExplainError, one_line

RESTARTS = 4  # of an actor that dies; more deaths at the same are no accident


class Actor:
    """What a task of Ray Data calls: the job, begun once per actor."""

    def __init__(self, job: Any, counter: Any, layout: Layout, folder: str) -> None:
        import ray

        with suppress(OSError):  # paths may be relative to where the command was given
            os.chdir(folder)
        use_threads(max(1, int(layout.cpus)))
        self.node = ray.get_runtime_context().get_node_id()
        self.counter, self.get = counter, ray.get
        self.make: Make | None = None
        self.error = DasExplainError()
        try:
            self._try(-1, "loading the models", RESTARTS + layout.actors)
            self.make = ray.get(job).begin(layout.cpus, layout.gpus)
            self.counter.live.remote(-1)
        except DasExplainError as error:  # which Ray would wrap into a traceback
            self.error = error

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """A row for each piece of the block as soon as it is done: ``number``, ``node``, ``table`` as an Arrow stream,
        whose metadata and nested columns no batching touches, or ``error``."""
        if self.make is None:
            yield failure_of(self.error, self.node)
            return
        pieces = [(row["number"], pickle.loads(row["piece"])) for row in block.to_pylist()]
        try:
            self._try(pieces[0][0], f"making part {pieces[0][0]} or one of the {len(pieces) - 1} after it", RESTARTS)
            for number, table in self.make(pieces, self.counter.tell.remote):
                yield row_of(number, self.node, table)
        except DasExplainError as error:
            yield failure_of(error, self.node)

    def _try(self, what: int, doing: str, most: int) -> None:
        """Ray starts an actor anew without end. Raises DasExplainError where too many have died at the same."""
        if self.get(self.counter.die.remote(what)) > most:
            raise DasExplainError(
                f"the process of an actor died again and again while {doing}, probably for lack of memory: give fewer "
                "actors (--concurrency) or a smaller --batch"
            )


def failure_of(error: DasExplainError, node: str) -> pa.Table:
    return row_of(-error.exit_code, node, error=one_line(error))


def row_of(number: int, node: str, table: pa.Table | None = None, error: str = "") -> pa.Table:
    content = None
    if table is not None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        content = sink.getvalue().to_pybytes()
    columns = {
        "number": pa.array([number], pa.int64()),
        "node": pa.array([node], pa.string()),
        "table": pa.array([content], pa.large_binary()),
        "error": pa.array([error], pa.string()),
    }
    return pa.table(columns)


def unread_there(job: Job, piece: Any, rows: Sequence[int], folder: str) -> int:
    """``job.unread`` on another machine."""
    with suppress(OSError):
        os.chdir(folder)
    return job.unread(piece, rows)
