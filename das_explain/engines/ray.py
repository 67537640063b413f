"""Many processes or machines through Ray: each actor loads the models once and makes shards; this process writes them.

Photos, weights and the mask cache must lie under the same paths on every machine. How many actors there are follows
from what the cluster has: one per GPU, or one per ``CPUS`` processors. ``RAY_ADDRESS`` names the cluster; without one,
Ray is started on this machine.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

from das_explain.engines import Shard
from das_explain.engines.shard import make_shards
from das_explain.errors import DasExplainError, missing_package, one_line
from das_explain.evidence.shards import shard_range
from das_explain.explain.explainer import Explainer
from das_explain.explain.plan import Plan
from das_explain.types import Progress

CPUS = 4  # of one actor without a GPU, or all there are


@contextmanager
def cluster() -> Iterator[ModuleType]:
    """The module ``ray``, connected; what is started for it here ends with the block.

    Raises:
        DasExplainError: Ray is not installed, or an error of Ray's within the block, in one line.
    """
    try:
        import ray
    except ImportError:
        raise missing_package("ray", "ray", "--engine ray") from None
    mine = not ray.is_initialized()
    if mine:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    try:
        yield ray
    except ray.exceptions.RayError as error:
        raise DasExplainError(f"--engine ray: {str(error).strip().splitlines()[-1]}") from None
    finally:
        if mine:
            ray.shutdown()


class Maker:
    """A worker: the models of a plan, and the shards it is asked for."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.explainer = plan.explainer()

    def make(self, number: int) -> Shard | str:
        """A shard; a clear error as its message, which Ray would wrap into a traceback."""
        try:
            (shard,) = make_shards(self.explainer, self.plan, [number], workers=0)
        except DasExplainError as error:
            return one_line(error)
        return shard


class RayEngine:
    """Actors on a Ray cluster."""

    def run(
        self, plan: Plan, missing: Sequence[int], explainer: Explainer | None, progress: Progress, finding: Progress
    ) -> Iterator[Shard]:
        """In the order in which they are done."""
        with cluster() as ray:
            from ray.util import ActorPool

            has = ray.cluster_resources()
            gpus, cpus = int(has.get("GPU", 0)), int(has.get("CPU", 1))
            each = min(CPUS, cpus)
            count = min(len(missing), gpus or max(1, cpus // each))
            kind = ray.remote(num_cpus=each if not gpus else 1, num_gpus=1 if gpus else 0)(Maker)
            shared = ray.put(plan)
            pool = ActorPool([kind.remote(shared) for _ in range(count)])
            done, total = 0, sum(len(shard_range(number, len(plan.samples))) for number in missing)
            for result in pool.map_unordered(lambda actor, number: actor.make.remote(number), list(missing)):
                if isinstance(result, str):
                    raise DasExplainError(result)
                shard = Shard(*result)
                done += shard.table.num_rows
                progress(done, total)
                yield shard
