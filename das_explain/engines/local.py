"""This machine: decoding processes and one process with the networks, or one for each of several devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from das_explain.batches.workers import killed_workers_told
from das_explain.engines import Shard
from das_explain.engines.devices import make_on_devices
from das_explain.engines.shard import make_shards, pieces_of
from das_explain.explain.explainer import Explainer
from das_explain.explain.plan import Plan
from das_explain.types import Progress


class LocalEngine:
    """Photos are decoded ahead by ``plan.workers`` processes."""

    def run(
        self, plan: Plan, missing: Sequence[int], explainer: Explainer | None, progress: Progress, finding: Progress
    ) -> Iterator[Shard]:
        """Shard by shard, in order; of several devices as they are done."""
        if len(plan.devices) > 1 and len(missing) > 1:
            yield from make_on_devices(plan, missing, progress)
            return
        with killed_workers_told():
            yield from make_shards(
                explainer or plan.explainer(),
                plan,
                pieces_of(plan, missing),
                workers=plan.workers,
                progress=progress,
                finding=finding,
            )
