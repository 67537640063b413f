"""``segment`` on many machines: masks are found and drawn there, and written here."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from das_explain.batches.export import make_masks
from das_explain.batches.load import count_unread
from das_explain.batches.workers import killed_workers_told
from das_explain.engines.cluster import Cluster
from das_explain.engines.pieces import Make, Piece, Tell, by_piece, in_order
from das_explain.engines.spread import spread
from das_explain.evidence import shards
from das_explain.folders import put_inside
from das_explain.segment.writers import MaskItem, MaskWriter
from das_explain.types import Progress, no_progress


def spread_masks(
    cluster: Cluster, writer: MaskWriter, tasks: Sequence[MaskItem], workers: int | None, finding: Progress
) -> Iterator[MaskItem]:
    """As ``make_masks``, by the actors of a cluster; what they send is written here as it comes."""
    elsewhere = copy.copy(writer)
    elsewhere.here = False
    masks = Masks(elsewhere, workers)
    size = shards.SIZE
    pieces = {start // size: tasks[start : start + size] for start in range(0, len(tasks), size)}
    made = spread(
        masks,
        pieces,
        lambda: partial(_make, elsewhere, workers),
        cluster,
        images=len(tasks),
        on_cpu=not writer.segmenter.needs_networks,
        progress=no_progress,
        finding=finding,
    )
    yield from in_order((number, list(_written(table, writer))) for number, table in made)


def _written(table: pa.Table, writer: MaskWriter) -> Iterator[MaskItem]:
    for row in table["item"]:
        item = pickle.loads(row.as_py())
        for name, content in item.files.items():
            put_inside(writer.out, name, content)
        yield replace(item, files={})


@dataclass(frozen=True)
class Masks:
    """The making of masks; a piece is some items."""

    writer: MaskWriter
    workers: int | None

    def begin(self, cpus: float, gpus: float) -> Make:
        """Networks are loaded with the first photo that needs them."""
        return partial(_make, self.writer, int(cpus) // 2 if self.workers is None else self.workers)

    def unread(self, piece: Sequence[MaskItem], rows: Sequence[int]) -> int:
        """Of photos and their masks."""
        return count_unread(self.writer.source, [piece[row].sample for row in rows], self.writer.segmenter)


def _make(
    writer: MaskWriter, workers: int | None, pieces: Iterable[Piece], tell: Tell
) -> Iterator[tuple[int, pa.Table]]:
    parts = dict(pieces)
    _, finding = by_piece(parts, tell)
    with killed_workers_told():
        items = make_masks(writer, [item for part in parts.values() for item in part], workers, finding)
        for number, part in parts.items():
            done = [next(items) for _ in part]
            columns = {
                "status": pa.array([item.row["status"] for item in done], pa.string()),
                "message": pa.array([item.row["message"] for item in done], pa.string()),
                "item": pa.array([pickle.dumps(item) for item in done], pa.large_binary()),
            }
            yield number, pa.table(columns)
