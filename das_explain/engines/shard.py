"""From batches to shards, whatever the engine: batches never reach over the edge of a shard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from das_explain.devices import describe_device
from das_explain.engines import Shard
from das_explain.evidence.codec import SCHEMA, encode
from das_explain.evidence.provenance import maker, stamped
from das_explain.evidence.shards import shard_range
from das_explain.explain.explainer import Explainer
from das_explain.explain.plan import Plan
from das_explain.types import Progress, no_progress


def make_shards(
    explainer: Explainer,
    plan: Plan,
    numbers: Sequence[int],
    *,
    workers: int | None,
    progress: Progress = no_progress,
    finding: Progress = no_progress,
) -> Iterator[Shard]:
    """Explains the images of these shards in this process, with ``workers`` decoding processes; yields each when whole."""
    ranges = {number: shard_range(number, len(plan.samples)) for number in numbers}
    parts = {
        number: [wanted[start : start + plan.batch] for start in range(0, len(wanted), plan.batch)]
        for number, wanted in ranges.items()
    }
    order = [[plan.samples[i] for i in part] for number in numbers for part in parts[number]]
    batches = explainer.batches(plan.source, order, plan.segmenter, workers=workers, finding=finding)
    made_by = maker(describe_device(explainer.contest.contestants[0].device))
    done, total = 0, sum(map(len, ranges.values()))
    for number in numbers:
        tables = []
        for _ in parts[number]:
            batch = next(batches)
            tables.append(encode(explainer.explain(batch)))
            done += len(batch)
            progress(done, total)
        table = pa.concat_tables(tables).combine_chunks() if tables else SCHEMA.empty_table()
        yield Shard(number, stamped(table, made_by))
