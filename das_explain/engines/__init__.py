"""Whatever makes the shards that a run lacks, in any order: one file each, and one line in ``ENGINES``."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from das_explain.errors import UsageError
from das_explain.types import Progress

if TYPE_CHECKING:
    import pyarrow as pa

    from das_explain.engines.cluster import Cluster
    from das_explain.explain.explainer import Explainer
    from das_explain.explain.plan import Plan

ENGINES = {  # name -> class, called without arguments (ray's: with what is asked of the cluster); imported when asked for
    "local": "das_explain.engines.local:LocalEngine",
    "inline": "das_explain.engines.inline:InlineEngine",
    "ray": "das_explain.engines.ray:RayEngine",
}


class Shard(NamedTuple):
    """A shard's number, and its table as ``evidence.codec.encode`` makes it."""

    number: int
    table: pa.Table


class Engine(Protocol):
    """Makes shards of a plan. What it needs besides (processes, machines) is its own affair."""

    def run(
        self, plan: Plan, missing: Sequence[int], explainer: Explainer | None, progress: Progress, finding: Progress
    ) -> Iterator[Shard]:
        """Yields the missing shards, in any order.

        ``explainer`` is the plan's, if this process has it; workers elsewhere build their own from the plan.
        ``progress`` is told of images explained, of those that were missing; ``finding`` of masks made on the way.
        """
        ...


def check_engine(name: str) -> None:
    """Raises UsageError for an engine that there is not."""
    if name not in ENGINES:
        raise UsageError(f"--engine {name!r} is unknown; choose among {', '.join(ENGINES)}")


def create_engine(name: str, cluster: Cluster | None = None) -> Engine:
    """The engine of that name, on a cluster if there is one. Raises UsageError."""
    check_engine(name)
    module, kind = ENGINES[name].split(":")
    create = getattr(importlib.import_module(module), kind)
    return create() if cluster is None else create(cluster)
