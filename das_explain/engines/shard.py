"""From batches to shards, whatever the engine: batches never reach over the edge of a shard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from das_explain.devices import describe_device
from das_explain.engines import Shard
from das_explain.evidence.codec import SCHEMA, encode
from das_explain.evidence.provenance import maker, stamped
from das_explain.evidence.shards import shard_range
from das_explain.explain.explainer import Explainer
from das_explain.explain.plan import Plan
from das_explain.types import Progress, Sample, no_progress


def pieces_of(plan: Plan, numbers: Sequence[int]) -> dict[int, tuple[Sample, ...]]:
    """The images of these shards of a plan."""
    ranges = {number: shard_range(number, len(plan.samples)) for number in numbers}
    return {number: plan.samples[wanted.start : wanted.stop] for number, wanted in ranges.items()}


def batches_of(plan: Plan, numbers: Sequence[int]) -> dict[int, list[Sequence[Sample]]]:
    """The images of these shards, in batches."""
    return {number: _cut(samples, plan.batch) for number, samples in pieces_of(plan, numbers).items()}


def _cut(samples: Sequence[Sample], size: int) -> list[Sequence[Sample]]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def make_shards(
    explainer: Explainer,
    plan: Plan,
    pieces: Mapping[int, Sequence[Sample]],
    *,
    workers: int | None,
    progress: Progress = no_progress,
    finding: Progress = no_progress,
) -> Iterator[Shard]:
    """Explains the images of these shards in this process, with ``workers`` decoding processes; yields each when whole."""
    parts = {number: _cut(samples, plan.batch) for number, samples in pieces.items()}
    order = [part for each in parts.values() for part in each]
    batches = explainer.batches(plan.source, order, plan.segmenter, workers=workers, finding=finding)
    made_by = maker(describe_device(explainer.contest.contestants[0].device))
    done, total = 0, sum(map(len, pieces.values()))
    for number, part in parts.items():
        tables = []
        for _ in part:
            batch = next(batches)
            tables.append(encode(explainer.explain(batch)))
            done += len(batch)
            progress(done, total)
        table = pa.concat_tables(tables).combine_chunks() if tables else SCHEMA.empty_table()
        yield Shard(number, stamped(table, made_by, explainer.fitting.most))
