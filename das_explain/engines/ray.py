"""Many processes or machines through Ray: each actor loads the models once and makes shards; this process writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from das_explain.batches.load import count_unread
from das_explain.batches.workers import killed_workers_told
from das_explain.engines import Shard
from das_explain.engines.cluster import Cluster
from das_explain.engines.pieces import Make, Piece, Tell, by_piece, on_actor
from das_explain.engines.shard import make_shards, pieces_of
from das_explain.engines.spread import spread
from das_explain.explain.explainer import Explainer
from das_explain.explain.plan import Plan
from das_explain.types import Progress, Sample


class RayEngine:
    """Actors on a Ray cluster."""

    def __init__(self, cluster: Cluster = Cluster()) -> None:  # noqa: B008 - frozen
        self.cluster = cluster

    def run(
        self, plan: Plan, missing: Sequence[int], explainer: Explainer | None, progress: Progress, finding: Progress
    ) -> Iterator[Shard]:
        """In the order in which they are done."""
        pieces = pieces_of(plan, missing)
        made = spread(
            Shards(replace(plan, samples=())),
            pieces,
            lambda: partial(_make, explainer or plan.explainer(), plan, plan.workers),
            self.cluster,
            images=sum(map(len, pieces.values())),
            on_cpu=plan.device == "cpu",
            progress=progress,
            finding=finding,
        )
        for number, table in made:
            yield Shard(number, table)


@dataclass(frozen=True)
class Shards:
    """The making of a plan's shards; a piece is the samples of one. ``plan`` has no samples of its own."""

    plan: Plan

    def begin(self, cpus: float, gpus: float) -> Make:
        """Loads the models."""
        plan, workers = on_actor(self.plan, cpus, gpus)
        return partial(_make, plan.explainer(), plan, workers)

    def unread(self, piece: Sequence[Sample], rows: Sequence[int]) -> int:
        """Of photos and their masks."""
        return count_unread(self.plan.source, [piece[row] for row in rows], self.plan.segmenter)


def _make(
    explainer: Explainer, plan: Plan, workers: int | None, pieces: Iterable[Piece], tell: Tell
) -> Iterator[tuple[int, pa.Table]]:
    parts = dict(pieces)
    progress, finding = by_piece(parts, tell)
    with killed_workers_told():
        yield from make_shards(explainer, plan, parts, workers=workers, progress=progress, finding=finding)
