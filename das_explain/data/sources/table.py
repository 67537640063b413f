"""Photos listed in a CSV file: ``image[,label][,mask]`` and rectangles around the object.

Paths are relative to the CSV's folder (absolute ones are read as well). Rectangles come as four columns
``x0,y0,x1,y1``, several rows for several rectangles of one image, or as one column ``boxes`` with
``x0 y0 x1 y1;x0 y0 x1 y1``; pixels of the upright photo, x1 and y1 exclusive. Other columns are ignored.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from das_explain.data.images import printable
from das_explain.data.rows import read_rows, resolve, row_boxes
from das_explain.data.sources import Listing, file_listing, file_size, path_of
from das_explain.errors import UsageError
from das_explain.types import Sample


def list_table(path: Path) -> Listing:
    """The samples of a CSV in its order. A missing file is still a sample; a malformed CSV is a ``UsageError``.

    So is a CSV of which not one image is there: its paths are relative to another folder.
    """
    samples: dict[str, Sample] = {}
    lines: dict[str, int] = {}
    for line, row in read_rows(path):
        where = f"{printable(path)}, line {line}"
        name, file = resolve(path.parent, row["image"])
        mask = resolve(path.parent, row["mask"])[1] if row.get("mask") else None
        boxes = row_boxes(row, where)
        sample = Sample(name, len(samples), row.get("label") or None, file, mask, boxes)
        place = _place(file)
        known = samples.get(place)
        if known is None:
            samples[place], lines[place] = sample, line
            continue
        if not boxes or not known.boxes:
            raise UsageError(
                f"{where}: {name} is listed before, in line {lines[place]}; only rows with boxes may repeat"
            )
        if (known.label, known.mask_path) != (sample.label, sample.mask_path):
            raise UsageError(f"{where}: {name} has another label or mask than in line {lines[place]}")
        samples[place] = replace(known, boxes=known.boxes + boxes)
    if not samples:
        raise UsageError(f"{printable(path)} lists no images: it has a header but no rows")
    if all(file_size(sample.path) < 0 for sample in samples.values()):
        first = printable(path_of(next(iter(samples.values()))))
        raise UsageError(f"none of the images in {printable(path)} is there, the first is looked for at {first}")
    return file_listing(list(samples.values()))


def _place(path: Path) -> str:
    """One spelling of a path that has several. A link to a file is another image: some caches keep all files as links."""
    return os.path.join(os.path.realpath(path.parent), path.name)
