"""Everything in this process and thread, the last shard first: for tests, and to debug a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from das_explain.engines import Shard
from das_explain.engines.shard import make_shards, pieces_of
from das_explain.explain.explainer import Explainer
from das_explain.explain.plan import Plan
from das_explain.types import Progress


class InlineEngine:
    """No process is started."""

    def run(
        self, plan: Plan, missing: Sequence[int], explainer: Explainer | None, progress: Progress, finding: Progress
    ) -> Iterator[Shard]:
        """From the last missing shard to the first: nothing may depend on the order."""
        backwards = sorted(missing, reverse=True)
        explainer = explainer or plan.explainer()
        yield from make_shards(
            explainer, plan, pieces_of(plan, backwards), workers=0, progress=progress, finding=finding
        )
