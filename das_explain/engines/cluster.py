"""A Ray cluster: what is asked of it, and whether there is room for that."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

from das_explain.errors import DasExplainError, UsageError, missing_package

CPUS = 4  # of an actor without a GPU; or all that the largest node has


class Node(NamedTuple):
    """What a machine of the cluster has for tasks and actors."""

    cpus: float
    gpus: float


class Layout(NamedTuple):
    """How many actors there are, and what each claims."""

    actors: int
    cpus: float
    gpus: float

    def fit(self, node: Node) -> int:
        """How many of them a node has room for."""
        # In thousandths, since 1 / 0.1 is no whole number to a computer.
        shares = ((node.cpus, self.cpus), (node.gpus, self.gpus))
        return min((round(has * 1000) // round(wants * 1000) for has, wants in shares if wants), default=0)


@dataclass(frozen=True)
class Cluster:
    """``address``: HOST:PORT of a cluster; ``None``: ``$RAY_ADDRESS``, else Ray is started here. ``concurrency``: actors;
    ``None``: as many as there is room for. ``gpus``, ``cpus``: what each claims, fractions included; ``None``: one GPU
    where there are any and its share of the processors, else ``CPUS`` processors.
    """

    address: str | None = None
    concurrency: int | None = None
    gpus: float | None = None
    cpus: float | None = None

    def check(self, engine: str) -> None:
        """Raises UsageError: something was said of a cluster, and none is used; or something that cannot be."""
        flags = {
            "--ray-address": self.address,
            "--concurrency": self.concurrency,
            "--gpus-per-actor": self.gpus,
            "--cpus-per-actor": self.cpus,
        }
        given = [flag for flag, value in flags.items() if value is not None]
        if given and engine != "ray":
            raise UsageError(f"{given[0]} goes with --engine ray, not with {engine}")
        if self.gpus is not None and self.gpus > 1 and self.gpus % 1:
            raise UsageError(f"--gpus-per-actor {self.gpus:g}: a share of one GPU, or whole ones")

    def lay_out(self, nodes: Sequence[Node], pieces: int, *, on_cpu: bool = False) -> Layout:
        """Actors for so many pieces of work. Ray would wait for ever for one that no node has room for.

        ``on_cpu``: the networks are to run on the processor, whatever there is. Raises UsageError.
        """
        with_gpus = [node for node in nodes if node.gpus]
        gpus = self.gpus if self.gpus is not None else float(bool(with_gpus) and not on_cpu)
        cpus = self.cpus
        if cpus is None and gpus:
            cpus = min((max(1, node.cpus * gpus // node.gpus) for node in with_gpus), default=1)
        elif cpus is None:
            cpus = min(CPUS, max((node.cpus for node in nodes), default=1))
        layout = Layout(self.concurrency or 0, cpus, gpus)
        room = sum(map(layout.fit, nodes))
        each = f"{cpus:g} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
        there = " + ".join(f"{node.cpus:g} CPUs" + (f", {node.gpus:g} GPUs" if node.gpus else "") for node in nodes[:4])
        there += " ..." if len(nodes) > 4 else ""
        if not room:
            raise UsageError(
                f"no machine of the cluster ({there}) has room for an actor of {each}: "
                f"give {'fewer --gpus-per-actor or ' if gpus else ''}fewer --cpus-per-actor; fractions will do"
            )
        if self.concurrency is not None and self.concurrency > room:
            raise UsageError(
                f"--concurrency {self.concurrency}: the cluster ({there}) has room for {room} actors of {each}; "
                "the others would be waited for without end: give fewer, or a fraction as --cpus-per-actor"
            )
        return layout._replace(actors=min(pieces, self.concurrency or room))


@contextmanager
def connect(address: str | None = None) -> Iterator[ModuleType]:
    """The module ``ray``, connected; what is started for it here ends with the block.

    Raises:
        DasExplainError: Ray is not installed, the cluster does not answer, or an error of Ray's within the block, in one
            line.
    """
    try:
        import ray
    except ImportError:
        raise missing_package("ray", "ray", "--engine ray") from None
    mine = not ray.is_initialized()
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        if mine:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody that was not asked
            os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what goes wrong reaches us as an exception
            quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
            with _silent_stderr():
                ray.init(address=address, **quiet, **({} if address else {"include_dashboard": False}))
        yield ray
    except ConnectionError as error:
        raise DasExplainError(f"no Ray cluster answers at {address}: {_reason(error)}") from None
    except ray.exceptions.RayError as error:
        raise DasExplainError(f"--engine ray: {_reason(error)}") from None
    finally:
        if mine:
            ray.shutdown()


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """While Ray's C++ starts, which tells its log level there, past Python."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _reason(error: Exception) -> str:
    """In one line: what the innermost error of a worker's tracebacks is called and says, else the message's last line."""
    innermost = str(error).split("\nThe above exception was the direct cause")[0]
    lines = str(error).strip().splitlines() or [type(error).__name__]
    named = [line for line in innermost.splitlines() if re.match(r"[A-Za-z_][\w.]*: ", line)]
    return named[-1] if named else lines[-1]
