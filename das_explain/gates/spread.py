"""``gate`` on many machines: gates are looked at and drawn there, figures and tables are written here."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from das_explain.batches.load import count_unread
from das_explain.batches.workers import killed_workers_told
from das_explain.engines.cluster import Cluster
from das_explain.engines.pieces import Make, Piece, Tell, by_piece, in_order, on_actor
from das_explain.engines.spread import spread
from das_explain.evidence import shards
from das_explain.explain.plan import Plan
from das_explain.folders import put_inside
from das_explain.gates.part import Gates, Part
from das_explain.scoring.options import ScoreOptions
from das_explain.types import Progress, Sample

Photos = Sequence[tuple[Sample, "tuple[str, ...]"]]
"""Samples, each with what its files are called."""


def spread_gates(
    cluster: Cluster,
    plan: Plan,
    scoring: ScoreOptions,
    at: Sequence[tuple[float, float]],
    stems: Sequence[tuple[str, ...]],
    out: Path,
    progress: Progress,
    finding: Progress,
) -> Iterator[Part]:
    """The parts of ``plan.samples`` in order, by the actors of a cluster; files are written here as they come."""
    photos = list(zip(plan.samples, stems, strict=True))
    step = plan.batch * max(1, shards.SIZE // plan.batch)  # batches are those of one machine
    pieces = {start // step: photos[start : start + step] for start in range(0, len(photos), step)}
    looking = Looking(replace(plan, samples=()), scoring, tuple(at))
    made = spread(
        looking,
        pieces,
        lambda: looking.on(plan, plan.workers),
        cluster,
        images=len(photos),
        on_cpu=plan.device == "cpu",
        progress=progress,
        finding=finding,
    )
    yield from in_order((number, [_written(table, out)]) for number, table in made)


def _written(table: pa.Table, out: Path) -> Part:
    for row in table["files"].to_pylist():
        for file in row or ():
            put_inside(out, file["name"], file["content"])
    return Part.joined([pickle.loads(row) for row in table["part"].to_pylist() if row is not None])


@dataclass(frozen=True)
class Looking:
    """The looking at gates; a piece is some photos. ``plan`` has no samples of its own."""

    plan: Plan
    scoring: ScoreOptions
    at: tuple[tuple[float, float], ...]

    def begin(self, cpus: float, gpus: float) -> Make:
        """Loads the models."""
        return self.on(*on_actor(self.plan, cpus, gpus))

    def on(self, plan: Plan, workers: int | None) -> Make:
        """The same on a device, with so many decoding processes."""
        explainer = plan.explainer()
        gates = Gates(explainer, self.scoring, self.at)

        def make(pieces: Iterable[Piece], tell: Tell) -> Iterator[tuple[int, pa.Table]]:
            parts = dict(pieces)
            progress, finding = by_piece(parts, tell)
            batches = [
                photos[start : start + plan.batch]
                for photos in parts.values()
                for start in range(0, len(photos), plan.batch)
            ]
            order = [[sample for sample, _ in photos] for photos in batches]
            done, total = 0, sum(map(len, order))
            with killed_workers_told(), tempfile.TemporaryDirectory() as folder:
                loaded = zip(
                    explainer.batches(plan.source, order, plan.segmenter, workers=workers, finding=finding), batches
                )
                for number, photos in parts.items():
                    tables = []
                    for _ in range(0, len(photos), plan.batch):
                        batch, named = next(loaded)
                        part = gates.part(batch, [stems for _, stems in named], Path(folder))
                        tables.append(_table(part, Path(folder)))
                        done += len(batch)
                        progress(done, total)
                    yield number, pa.concat_tables(tables)

        return make

    def unread(self, piece: Photos, rows: Sequence[int]) -> int:
        """Of photos and their masks."""
        return count_unread(self.plan.source, [piece[row][0] for row in rows], self.plan.segmenter)


FILES = pa.list_(pa.struct([("name", pa.string()), ("content", pa.large_binary())]))


def _table(part: Part, folder: Path) -> pa.Table:
    """A row for each photo; the part and the files that were written to ``folder``, which is emptied, are in the first."""
    files = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        files.append({"name": path.relative_to(folder).as_posix(), "content": path.read_bytes()})
        path.unlink()
    others = [None] * (len(part.regions) - 1)
    columns = {
        "status": pa.array([region["status"] for region in part.regions], pa.string()),
        "message": pa.array([region["message"] for region in part.regions], pa.string()),
        "part": pa.array([pickle.dumps(part), *others], pa.large_binary()),
        "files": pa.array([files, *others], FILES),
    }
    return pa.table(columns)
