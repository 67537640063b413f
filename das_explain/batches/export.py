"""Masks as files, for people and for other programs: what ``das-explain segment`` writes.

masks.csv     image,label,mask and how the mask came about: ``sfd`` and ``--masks`` take it as it is
regions.jsonl all that is known of how: every box with its score, which were used, SAM's predicted IoU, seconds
masks/        one PNG per image, 255 on the object; all 0 where no object was found
coco.json     the same for annotation tools
overlays/     the photos with masks, boxes and prompts drawn in
photos/       only of data that does not lie in files, or whose names a CSV cannot hold
against.csv, against.json     agreement with human masks
segment.json  where all this comes from
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from das_explain.batches.ahead import can_overlap, fill_regions, in_a_thread
from das_explain.batches.workers import killed_workers_told, read_ahead
from das_explain.data.coco.write import SHAPES, CocoWriter
from das_explain.data.dataset import Dataset
from das_explain.errors import UsageError
from das_explain.files import json_line, open_new, package_versions, write_json
from das_explain.folders import inside
from das_explain.segment import NetworkSegmenter, Segmenter
from das_explain.segment.compare import AGAINST, summarize_agreement
from das_explain.segment.masks import DataMasks, assume_of_regions
from das_explain.segment.names import FileNames
from das_explain.segment.writers import (
    COLUMNS,
    STORY,
    MaskItem,
    MaskWriter,
    Row,
    claim_folder,
    unwritable,
    write_table,
)
from das_explain.types import Progress, Sample

Make = Callable[[MaskWriter, Sequence[MaskItem], "int | None", Progress], Iterator[MaskItem]]
"""Called with a writer, the items, how many processes decode, and who is told of masks found: the items, done, in order."""


def make_masks(
    writer: MaskWriter, tasks: Sequence[MaskItem], workers: int | None, finding: Progress
) -> Iterator[MaskItem]:
    """The items, done, in order, on this machine."""
    items = read_ahead(writer, tasks, workers)
    if writer.segmenter.needs_networks:
        finder = cast(NetworkSegmenter, writer.segmenter)
        items = fill_regions(items, finder, finding, len(tasks))
        if tasks and can_overlap(finder, torch.device("cpu")):  # which writes
            items = in_a_thread(items, finder.batch)
    for item in items:
        if item.photo is not None:
            writer.write(item, item.photo)
            item.photo = None
        yield item


@dataclass(frozen=True)
class Exported:
    """What was written: the rows of masks.csv, images by status, the agreement if it was asked for, and what was assumed of
    masks that came with the data or with ``against``."""

    rows: list[Row]
    counts: dict[str, int]
    against: list[Row]
    agreement: dict[str, Any] | None
    assumptions: list[str]


def export_masks(
    dataset: Dataset,
    samples: Sequence[Sample],
    segmenter: Segmenter,
    out: Path,
    *,
    against: Dataset | None = None,
    shapes: str = "polygons",
    overlays: bool = True,
    overwrite: bool = False,
    workers: int | None = None,
    finding: Progress = lambda done, of: None,
    writing: Progress = lambda done, of: None,
    make: Make | None = None,
) -> Exported:
    """Finds the region of every sample and writes it to ``out``; nothing is ever written anywhere else.

    ``against``: the same data set with human masks. ``shapes``: of coco.json, see ``coco.annotation``. ``make`` makes
    the items: ``make_masks`` unless other machines do.

    Raises:
        UsageError: an unknown ``shapes``, or ``out`` holds something that may not be replaced.
        DasExplainError: the disk cannot be written.
    """
    if shapes not in SHAPES:
        raise UsageError(f"--coco {shapes!r} is unknown; choose among {', '.join(SHAPES)}")
    human = None if against is None else DataMasks(against)
    assumptions = assume_of_regions(segmenter, samples)
    if against is not None:
        assumptions += assume_of_regions(human, [against.samples[sample.index] for sample in samples])
    story = {
        "command": sys.argv,
        "data": {"spec": dataset.spec, "fingerprint": dataset.fingerprint, "images": len(samples)},
        "segmenter": {"name": segmenter.name, **segmenter.identity()},
        "against": None if against is None else against.fingerprint,
        "versions": package_versions(),
        "assumptions": list(dict.fromkeys(assumptions)),
    }
    names = FileNames()
    stems = [names.give(sample.name) for sample in samples]
    try:
        claim_folder(out, overwrite)
        write_json(inside(out, STORY), {**story, "complete": False, "stems": stems})
        tasks = [
            MaskItem(sample, stem, None if against is None else against.samples[sample.index])
            for sample, stem in zip(samples, stems)
        ]
        exporter = MaskWriter(dataset.source, segmenter, human, out.resolve(), shapes, overlays)
        categories = dataset.labels or ("object",)
        rows: list[Row] = []
        agreements: list[Row] = []
        items = (make or make_masks)(exporter, tasks, workers, finding)
        with (
            killed_workers_told(),
            CocoWriter(out / "coco.json", categories, {"description": f"R by {segmenter.name}"}) as coco,
            open_new(out / "regions.jsonl") as regions,
        ):
            for number, item in enumerate(items, 1):
                rows.append(item.row)
                if item.agreement is not None:
                    agreements.append(item.agreement)
                if item.listed is not None:
                    listed = item.listed
                    coco.add(listed["name"], listed["size"], item.row["label"] or categories[0], listed["shape"])
                regions.write(json_line(item.record))
                writing(number, len(tasks))
        write_table(out / "masks.csv", COLUMNS, rows)
        summary = None
        if against is not None:
            summary = summarize_agreement(agreements)
            write_table(out / "against.csv", AGAINST, agreements)
            write_json(out / "against.json", summary)
        counts = dict(sorted(Counter(row["status"] for row in rows).items()))
        write_json(out / STORY, {**story, "counts": counts, "complete": True, "stems": stems})
    except OSError as error:
        raise unwritable(out, error) from None
    return Exported(rows, counts, agreements, summary, story["assumptions"])
