"""Pieces of work over the actors of a Ray cluster, with Ray Data: the pieces are the data set, what becomes of each comes
back as an Arrow table, and this process writes it. Machines share the photos and the weights, and no folder of results.

An actor that dies is started again, and what it had not handed over is done again. A photo that one machine cannot read
is read by another one, or here; it is called unreadable only if nobody can.
"""

from __future__ import annotations

import logging
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import pyarrow as pa

from das_explain.engines.actor import Actor, unread_there
from das_explain.engines.cluster import Cluster, Layout, Node, connect
from das_explain.engines.counter import Counter
from das_explain.engines.pieces import Job, Make
from das_explain.errors import DasExplainError, UsageError
from das_explain.statuses import UNREAD
from das_explain.types import Progress

PIECES = 16  # of a task at most: an actor goes through them in one go, and decodes ahead
TOLD_EVERY = 0.5  # seconds


class _Done(NamedTuple):
    """A piece, and the node that made it."""

    number: int
    table: pa.Table
    node: str


def spread(
    job: Job,
    pieces: Mapping[int, Any],
    here: Callable[[], Make],
    cluster: Cluster,
    *,
    images: int,
    on_cpu: bool = False,
    progress: Progress,
    finding: Progress,
) -> Iterator[tuple[int, pa.Table]]:
    """Yields each piece's number and table, in the order in which they are done. ``here``: as ``job.begin``, in this
    process, for what no actor could read. ``progress`` and ``finding`` are told of ``images`` in all.

    Raises:
        UsageError: the cluster has no room for what is asked of it.
        DasExplainError: as the job does, or an error of Ray's, in one line.
    """
    if not pieces:
        return
    with connect(cluster.address) as ray:
        alive = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
        nodes = {node: Node(has.get("CPU", 0), has.get("GPU", 0)) for node, has in alive.items()}
        layout = cluster.lay_out(list(nodes.values()), len(pieces), on_cpu=on_cpu)
        able = [node for node, has in nodes.items() if layout.fit(has)]
        mine = _on(ray.get_runtime_context().get_node_id())  # other machines may go away
        shared, counter = ray.put(job), ray.remote(num_cpus=0, label_selector=mine)(Counter).remote()
        with _watched(ray, counter, images, {"progress": progress, "finding": finding}):
            again: dict[str, dict[int, Any]] = {}
            for done in _stream(ray, shared, counter, pieces, layout):
                better = _who_reads_more(ray, job, shared, pieces[done.number], done, able)
                if better == done.node:
                    yield done.number, done.table
                else:
                    again.setdefault(better, {})[done.number] = pieces[done.number]
            if left := again.pop("", None):
                yield from here()(left.items(), counter.tell.remote)
            for node, left in again.items():
                fewer = layout._replace(actors=1)
                for done in _stream(ray, shared, counter, left, fewer, node):
                    yield done.number, done.table


def _stream(
    ray: Any, shared: Any, counter: Any, pieces: Mapping[int, Any], layout: Layout, node: str | None = None
) -> Iterator[_Done]:
    """The pieces as they are done, by actors anywhere or on one node."""
    from ray import data as ray_data

    tasks = -(-len(pieces) // max(1, min(PIECES, len(pieces) // (4 * layout.actors))))
    with _quiet_context(ray_data):
        rows = [{"number": number, "piece": pickle.dumps(piece)} for number, piece in pieces.items()]
        data = ray_data.from_items(rows, override_num_blocks=tasks).map_batches(
            Actor,
            fn_constructor_args=(shared, counter, layout, os.getcwd()),
            compute=ray_data.ActorPoolStrategy(size=layout.actors),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=layout.cpus,
            num_gpus=layout.gpus,
            label_selector=_on(node) if node else None,
        )
        for block in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in block.to_pylist():
                if row["error"]:
                    raise (UsageError if row["number"] == -UsageError.exit_code else DasExplainError)(row["error"])
                yield _Done(row["number"], pa.ipc.open_stream(row["table"]).read_all(), row["node"])


def _who_reads_more(ray: Any, job: Job, shared: Any, piece: Any, done: _Done, nodes: Sequence[str]) -> str:
    """The node that is to make a piece: the one that made it, unless another can read more of its images; "" for here."""
    status = done.table["status"].to_pylist()
    rows = [row for row, each in enumerate(status) if each in UNREAD]
    best, fewest = done.node, len(rows)
    for node in ("", *nodes) if rows else ():
        if node == done.node or _unread(ray, job, shared, piece, rows, node) == len(rows):
            continue
        unread = _unread(ray, job, shared, piece, range(len(status)), node)
        if unread < fewest:
            best, fewest = node, unread
    return best


def _unread(ray: Any, job: Job, shared: Any, piece: Any, rows: Sequence[int], node: str) -> int:
    """How many of these images of a piece a node cannot read; "" for here."""
    try:
        if not node:
            return job.unread(piece, rows)
        look = ray.remote(num_cpus=0, label_selector=_on(node))(unread_there)
        return ray.get(look.remote(shared, piece, rows, os.getcwd()))
    except ray.exceptions.RayError:  # a machine that has gone reads nothing
        return len(rows)


def _on(node: str) -> dict[str, str]:
    return {"ray.io/node-id": node}


@contextmanager
def _watched(ray: Any, counter: Any, images: int, listeners: Mapping[str, Progress]) -> Iterator[None]:
    """Passes on what the counter knows, every ``TOLD_EVERY`` seconds and at the end, to those who have news."""
    told = dict.fromkeys(listeners, 0)
    end = threading.Event()

    def tell() -> None:
        for kind, done in ray.get(counter.sums.remote()).items():
            if done != told[kind]:
                told[kind] = done
                listeners[kind](done, images)

    def watch() -> None:
        while not end.wait(TOLD_EVERY):
            with suppress(ray.exceptions.RayError):
                tell()

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield
        end.set()
        thread.join()
        tell()
    finally:
        end.set()
        thread.join()


@contextmanager
def _quiet_context(data: Any) -> Iterator[None]:
    """Ray Data without bars and words of its own, handing over each row as soon as it is there; as it was, afterwards."""
    logger = logging.getLogger("ray.data")
    streams = [handler for handler in logger.handlers if isinstance(handler, logging.StreamHandler)]
    spoken = [handler for handler in streams if not isinstance(handler, logging.FileHandler)]
    context = data.DataContext.get_current()
    wanted = {"enable_progress_bars": False, "print_on_execution_start": False, "target_max_block_size": 1}
    before = {name: getattr(context, name) for name in wanted}
    for name, value in wanted.items():
        setattr(context, name, value)
    for handler in spoken:
        logger.removeHandler(handler)
    try:
        yield
    finally:
        for handler in spoken:
            logger.addHandler(handler)
        for name, value in before.items():
            setattr(context, name, value)
