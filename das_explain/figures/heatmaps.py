"""Heatmaps of single images: a figure in the manner of the paper's Figure 4, the raw maps, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from das_explain import figures
from das_explain.batches.workers import killed_workers_told
from das_explain.data.dataset import Dataset
from das_explain.errors import DasExplainError, one_line
from das_explain.evidence.tables import SCORES, write_rows
from das_explain.evidence.values import Evidence, Key, Photo
from das_explain.explain.explainer import Explainer, pixels
from das_explain.files import json_line, replace_file
from das_explain.folders import claim_files, inside
from das_explain.scoring.memory import model_facts
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.rows import score_rows
from das_explain.scoring.scorer import Scorer
from das_explain.segment import Segmenter
from das_explain.signals import Stopped
from das_explain.types import Progress, no_progress

Row = dict[str, Any]
KINDS, TABLES = ("png", "pdf", "npz"), ("heatmaps.csv", "regions.jsonl")
"""What is written: of each image, and of all."""
LONGEST_STEM = 200  # bytes: a file name may have 255, and "-heatmap.png" and the like are still to come


def write_heatmaps(
    dataset: Dataset,
    segmenter: Segmenter | None,
    explainer: Explainer,
    scoring: ScoreOptions,
    out: Path,
    *,
    batch: int = 8,
    workers: int | None = None,
    finding: Progress = no_progress,
) -> list[Row]:
    """Writes, per image, ``NAME-heatmap.png``, ``.pdf`` and ``.npz`` to ``out``, and ``heatmaps.csv`` for all.

    ``regions.jsonl`` has a line per image: how its region R was found, as the evidence of ``sfd`` has it. ``finding``
    tells of masks that are made on the way.

    The ``.npz`` holds for each ``MODEL/BLOCK`` the map float32 (h, w) in [0, 1] at the block's own size, and under
    ``MODEL/BLOCK/cam_max`` its maximum before normalisation; ``frame`` is the network's view, uint8 (H, W, 3), ``mask``
    bool (H, W) where one is known. They are the first model's: a model of another input geometry has its own view under
    ``MODEL/frame`` and ``MODEL/mask``.

    Returns:
        The rows of the table (columns as in scores.csv). An image that cannot be read is a row with a status.

    Raises:
        UsageError: ``out`` has a file of such a name that is somebody's own.
        DasExplainError: a file cannot be written. If it is one image's, the others and the tables are written first.
    """
    taken: set[str] = set()
    # The suffix keeps a photo from being overwritten where --out is its own folder.
    stems = [f"{unique_stem(sample.name, taken)}-heatmap" for sample in dataset.samples]
    claim_files(out, [*(f"{stem}.{kind}" for stem in stems for kind in KINDS), *TABLES])
    scorer = Scorer(model_facts(explainer), replace(scoring, measures=(), nulls=()))
    rows: list[Row] = []
    regions: list[Row] = []
    failed: list[str] = []
    done = 0
    try:
        with killed_workers_told():
            batches = explainer.batches(
                dataset.source, dataset.samples, segmenter, batch=batch, workers=workers, finding=finding
            )
            for loaded in batches:
                _, seen = loaded.readable()
                evidence = explainer.explain(loaded, frames=False)
                frames = {geometry: pixels(seen, geometry) for geometry in seen.frames}
                table = score_rows(scorer.models, evidence, scorer.score(evidence)).astype(object)
                records = table.where(table.notna(), None).to_dict("records")
                rows += records
                regions += [asdict(photo) for photo in evidence.photos]
                per_image = len(records) // len(evidence)
                for row, position in enumerate(evidence.shown):
                    mine = records[position * per_image : (position + 1) * per_image]
                    view = _View(evidence.one(row), {geometry: each[row] for geometry, each in frames.items()})
                    stem = out / stems[done + position]
                    try:
                        figures.save(_figure(view, mine), stem)
                        _save_maps(stem, view)
                    except (OSError, DasExplainError) as error:  # one image's files: the others' are still worth having
                        failed.append(f"{view.photo.image}: {one_line(error)}")
                done += len(evidence)
    except Stopped:  # the figures so far keep their table
        _write_tables(out, rows, regions)
        raise
    _write_tables(out, rows, regions)
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise DasExplainError(f"{failed[0]}{more}; everything else is in {out}")
    return rows


def _write_tables(out: Path, rows: Sequence[Row], regions: Sequence[Row]) -> None:
    write_rows(inside(out, TABLES[0]), SCORES, rows)
    replace_file(inside(out, TABLES[1]), lambda part: part.write_bytes(b"".join(map(json_line, regions))))


def unique_stem(name: str, taken: set[str]) -> str:
    """A file name for an image's name, without directories, not yet in ``taken`` (and added to it).

    Of a name that is too long for a file the end is kept, where names in one folder differ most.
    """
    parts = str(Path(name.replace("\\", "/")).with_suffix("")).split("/")
    stem = "-".join(part for part in parts if part not in ("", ".", ".."))
    if _bytes(stem) > LONGEST_STEM:
        stem = stem[-LONGEST_STEM:]
        while _bytes(stem) > LONGEST_STEM:
            stem = stem[1:]
        stem = stem.lstrip("-. ")  # where the cut fell
    stem = stem or "image"
    candidate, number = stem, 1
    while candidate.lower() in taken:
        number += 1
        candidate = f"{stem}-{number}"
    taken.add(candidate.lower())
    return candidate


def _bytes(name: str) -> int:
    return len(name.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class _View:
    """One image: its evidence, and what models of each geometry saw, uint8 (H, W, 3)."""

    evidence: Evidence
    frames: dict[str, np.ndarray]

    @property
    def photo(self) -> Photo:
        """What is known of it before any model."""
        return self.evidence.photos[0]

    def keys(self, model: str) -> list[Key]:
        """The model's maps, in order."""
        return [key for key in self.evidence.maps if key.model == model]

    def mask(self, geometry: str) -> np.ndarray | None:
        """The object on that frame, bool (H, W), where it is known."""
        known = bool(self.evidence.masks) and self.photo.status == "ok"
        return self.evidence.masks[geometry][0] if known else None


def _figure(view: _View, records: Sequence[Row]):
    geometries = view.evidence.geometries
    first, own = next(iter(geometries.values())), len(set(geometries.values())) > 1  # else one photo is enough
    frame, mask = view.frames[first], view.mask(first)
    lines, boxes = [], {}
    for name, geometry in geometries.items():
        mine = {record["block"]: record for record in records if record["model"] == name}
        maps = {key.block: view.evidence.maps[key].native[0] for key in view.keys(name)}
        about = next(iter(mine.values()))
        lines.append(
            figures.HeatmapRow(
                model=name,
                cams={block: each if np.isfinite(each).all() else None for block, each in maps.items()},
                sfd={block: record["sfd"] for block, record in mine.items()} if mask is not None else {},
                status={block: record["status"] for block, record in mine.items()} if mask is not None else {},
                predicted=about["predicted"],
                confidence=about["confidence"],
                target=about["target"],
                photo=view.frames[geometry] if own else None,
                mask=view.mask(geometry) if own else None,
            )
        )
        boxes[name] = {
            block: tuple(record[edge] for edge in ("b_x0", "b_y0", "b_x1", "b_y1"))
            for block, record in mine.items()
            if record["sfd"] is not None
        }
    return figures.heatmap_figure(frame, lines, view.photo.label, mask, boxes)


def _save_maps(stem: Path, view: _View) -> None:
    arrays: dict[str, np.ndarray] = {}
    geometries = view.evidence.geometries
    for name, geometry in geometries.items():
        prefix = "" if geometry == next(iter(geometries.values())) else f"{name}/"
        arrays[f"{prefix}frame"] = view.frames[geometry]
        if (mask := view.mask(geometry)) is not None:
            arrays[f"{prefix}mask"] = mask
        for key in view.keys(name):
            maps = view.evidence.maps[key]
            arrays[f"{name}/{key.block}"] = maps.native[0]
            arrays[f"{name}/{key.block}/cam_max"] = maps.raw_max[0]
    replace_file(stem.with_name(stem.name + ".npz"), lambda part: np.savez_compressed(part, **arrays))
