"""Heatmaps of single images: a figure in the manner of the paper's Figure 4, the raw maps, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from das_explain.batches.load import Batch
from das_explain.batches.workers import killed_workers_told
from das_explain.data.dataset import Dataset
from das_explain.errors import DasExplainError, one_line
from das_explain.evidence.run import SCORE_COLUMNS, check_folder, json_line, write_dicts
from das_explain.explain.evaluate import (
    Contestant,
    Options,
    Record,
    Scored,
    empty_rows,
    region_record,
    score_batch,
    table_row,
)
from das_explain.explain.pipeline import batches_for
from das_explain.figures import plots as figures
from das_explain.segment import Segmenter
from das_explain.types import Progress

LONGEST_STEM = 200  # bytes: a file name may have 255, and "-heatmap.png" and the like are still to come


def write_heatmaps(
    dataset: Dataset,
    segmenter: Segmenter | None,
    contestants: Sequence[Contestant],
    options: Options,
    out: Path,
    *,
    batch: int = 8,
    workers: int | None = None,
    finding: Progress = lambda done, of: None,
) -> list[Record]:
    """Writes, per image, ``NAME-heatmap.png``, ``.pdf`` and ``.npz`` to ``out``, and ``heatmaps.csv`` for all.

    ``regions.jsonl`` has a line per image: how its region R was found, as the journal of ``sfd`` has it. ``finding``
    tells of masks that are made on the way.

    The ``.npz`` holds for each ``MODEL/BLOCK`` the map float32 (h, w) in [0, 1] at the block's own size, and under
    ``MODEL/BLOCK/cam_max`` its maximum before normalisation; ``frame`` is the network's view, uint8 (H, W, 3), ``mask``
    bool (H, W) where one is known. They are the first model's: a model of another input geometry has its own view under
    ``MODEL/frame`` and ``MODEL/mask``.

    Returns:
        The rows of the table (columns as in scores.csv). An image that cannot be read is a row with a status.

    Raises:
        DasExplainError: a file cannot be written. If it is one image's, the others and the tables are written first.
    """
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    rows: list[Record] = []
    regions: list[Record] = []
    taken: set[str] = set()
    failed: list[str] = []
    with killed_workers_told():
        batches = batches_for(
            contestants, dataset, dataset.samples, segmenter, batch_size=batch, workers=workers, finding=finding
        )
        for loaded in batches:
            readable, models = score_batch(contestants, loaded, options)
            for position, sample in enumerate(loaded.samples):
                regions.append(region_record(loaded, position))
                if position not in readable:
                    rows += empty_rows(contestants, loaded, position)
                    continue
                row = readable.index(position)
                records = {
                    (scored.contestant.name, block): table_row(scored, block, row, loaded, position)
                    for scored in models
                    for block in scored.scores
                }
                rows += records.values()
                # The suffix keeps a photo from being overwritten where --out is its own folder.
                stem = out / f"{unique_stem(sample.name, taken)}-heatmap"
                figure = _figure(models, records, loaded, position, row)
                try:
                    figures.save(figure, stem)
                    _save_maps(stem, models, loaded, position, row)
                except (OSError, DasExplainError) as error:  # one image's files: the others' are still worth having
                    failed.append(f"{sample.name}: {one_line(error)}")
    write_dicts(out / "heatmaps.csv", SCORE_COLUMNS, rows)
    (out / "regions.jsonl").write_bytes(b"".join(map(json_line, regions)))
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise DasExplainError(f"{failed[0]}{more}; everything else is in {out}")
    return rows


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


def _view(geometry: str, batch: Batch, position: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The frame that models of this geometry see, uint8 (H, W, 3), and the object's mask on it, bool (H, W)."""
    frame = batch.frames[geometry][position].permute(1, 2, 0).numpy()
    has_mask = bool(batch.masks) and batch.statuses[position] == "ok"
    return frame, batch.masks[geometry][position].numpy() if has_mask else None


def _figure(models: Sequence[Scored], records: dict[tuple[str, str], Record], batch: Batch, position: int, row: int):
    views = {scored.contestant.geometry: _view(scored.contestant.geometry, batch, position) for scored in models}
    frame, mask = views[models[0].contestant.geometry]
    lines, boxes = [], {}
    for scored in models:
        name = scored.contestant.name
        own = len(views) > 1  # else one photo is enough for all rows
        own_frame, own_mask = views[scored.contestant.geometry] if own else (None, None)
        mine = {block: records[name, block] for block in scored.scores}
        maps = {block: cam.native[row].cpu().numpy() for block, cam in scored.explanation.cams.items()}
        first = next(iter(mine.values()))
        lines.append(
            figures.HeatmapRow(
                model=name,
                cams={block: each if np.isfinite(each).all() else None for block, each in maps.items()},
                sfd={block: record["sfd"] for block, record in mine.items()} if mask is not None else {},
                status={block: record["status"] for block, record in mine.items()} if mask is not None else {},
                predicted=first["predicted"],
                confidence=first["confidence"],
                target=first["target"],
                photo=own_frame,
                mask=own_mask,
            )
        )
        boxes[name] = {
            block: tuple(record[edge] for edge in ("b_x0", "b_y0", "b_x1", "b_y1"))
            for block, record in mine.items()
            if record["sfd"] is not None
        }
    return figures.heatmap_figure(frame, lines, batch.samples[position].label, mask, boxes)


def _save_maps(stem: Path, models: Sequence[Scored], batch: Batch, position: int, row: int) -> None:
    arrays: dict[str, np.ndarray] = {}
    first = models[0].contestant.geometry
    for scored in models:
        name, geometry = scored.contestant.name, scored.contestant.geometry
        prefix = "" if geometry == first else f"{name}/"
        frame, mask = _view(geometry, batch, position)
        arrays[f"{prefix}frame"] = frame
        if mask is not None:
            arrays[f"{prefix}mask"] = mask
        for block, cam in scored.explanation.cams.items():
            arrays[f"{name}/{block}"] = cam.native[row].cpu().numpy()
            arrays[f"{name}/{block}/cam_max"] = cam.raw_max[row].cpu().numpy()
    np.savez_compressed(stem.with_name(stem.name + ".npz"), **arrays)
