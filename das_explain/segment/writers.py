"""What ``das-explain segment`` writes of each photo, and the folder that it writes into.

The workers write a photo's files themselves (``MaskWriter``); ``batches.export`` has the photos come by and writes what
is about all of them.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from das_explain.data.coco.write import annotation
from das_explain.data.images import MAX_MASK_PIXELS, full_size, printable
from das_explain.errors import DasExplainError, UsageError, one_line
from das_explain.files import PART, json_object, replace_file
from das_explain.folders import check_folder, inside, remove_parts, remove_written, write_inside
from das_explain.segment import Segmenter
from das_explain.segment.compare import against_row, agreement
from das_explain.segment.masks import DataMasks
from das_explain.segment.overlay import draw_overlay
from das_explain.types import Region, Sample

COLUMNS = ("image", "label", "mask", "status", "prompt", "score", "iou", "boxes", "message", "name")
STORY = "segment.json"  # written first and removed last: it names whose folder this is, and the files of each photo
FILES = ("masks.csv", "regions.jsonl", "coco.json", "against.csv", "against.json")
ENDINGS = {"masks": ".png", "overlays": ".jpg", "photos": ".png"}  # folder -> of its files
Row = dict[str, Any]


@dataclass
class MaskItem:
    """One image: first what is to be done (``stem`` names its files), then what it became.

    ``photo`` is there while ``region`` is still to be found; ``record`` is its line of ``regions.jsonl``. ``files``: what
    is to be written elsewhere than where it was made, name -> bytes.
    """

    sample: Sample
    stem: str
    human: Sample | None
    row: Row = field(default_factory=dict)
    agreement: Row | None = None
    listed: Row | None = None
    record: Row = field(default_factory=dict)
    region: Region | None = None
    photo: Image.Image | None = None
    files: dict[str, bytes] = field(default_factory=dict)


class MaskWriter:
    """item -> the same, done, in a worker, which writes the image's files; ``write`` does it for those left over.

    With ``here`` set to false they are put into the item: ``out`` is on another machine, which writes them.
    """

    def __init__(
        self, source: Any, segmenter: Segmenter, human: DataMasks | None, out: Path, shapes: str, overlays: bool
    ):
        self.source, self.segmenter, self.human = source, segmenter, human
        self.out, self.shapes, self.overlays = out, shapes, overlays
        self.here = True

    def __getitem__(self, item: MaskItem) -> MaskItem:
        item = replace(item, row=dict.fromkeys(COLUMNS, "") | {"image": self._cell(item.sample)})
        item.row |= {"label": item.sample.label or "", "name": item.sample.name}
        try:
            image = self.source.read(item.sample)
        except Exception as error:  # one image never stops a run
            item.row |= {"image": item.row["image"] or item.sample.name}
            item.row |= {"status": "unreadable", "message": one_line(error)}
            if item.human is not None:
                item.agreement = against_row(item.row, "unreadable")
            return _record(item, {}, (0, 0))
        try:
            item.region = self.segmenter.region(item.sample, image)
        except Exception as error:
            item.region = Region(None, "mask_unreadable", {"message": one_line(error)})
        if item.region is None:
            item.photo = image
            return item
        try:
            return self.write(item, image)
        except OSError as error:
            raise unwritable(self.out, error) from None

    def write(self, item: MaskItem, image: Image.Image) -> MaskItem:
        """Writes the files of an image whose region is known, fills the item in, and takes its region. Raises OSError."""
        region, item.region = item.region, None
        if not item.row["image"]:
            item.row["image"] = f"photos/{item.stem}.png"
            self._save(item, image, item.row["image"])
        item.row |= _columns_of(region)
        shape = self._write_mask(item, region, image)
        human = self.human.region(item.human, image) if self.human is not None else None
        if human is not None:
            item.agreement = agreement(item.row, region, human)
        if self.overlays:
            overlay = f"overlays/{item.stem}.jpg"
            drawn = draw_overlay(image, region, human.mask if human is not None else None)
            self._save(item, drawn, overlay, quality=88)
            if item.agreement is not None:
                item.agreement["overlay"] = overlay
        item.listed = {"name": self._listed_name(item.sample, item.row), "size": full_size(image), "shape": shape}
        return _record(item, region.detail, full_size(image))

    def _cell(self, sample: Sample) -> str:
        """The photo's path relative to ``out``; empty if it is in no file or its path cannot stand in a CSV."""
        if sample.path is None:
            return ""
        path = os.path.realpath(sample.path)
        with contextlib.suppress(ValueError):  # another drive
            path = os.path.relpath(path, self.out)
        path = Path(path).as_posix()
        return path if printable(path) == path and path == path.strip() and "\\" not in path else ""

    def _listed_name(self, sample: Sample, row: Row) -> str:
        return Path(row["image"]).name if row["image"].startswith("photos/") else sample.name

    def _write_mask(self, item: MaskItem, region: Region, image: Image.Image) -> Row | None:
        """Writes the PNG and returns the COCO annotation; the mask of a photo that was decoded smaller is enlarged."""
        if region.mask is None and region.status != "no_object":
            return None
        size = full_size(image)
        mask = region.mask if region.mask is not None else np.zeros((image.height, image.width), bool)
        if size[0] * size[1] > MAX_MASK_PIXELS:
            item.row |= {"status": "mask_unreadable", "message": f"a mask of {size[0]} x {size[1]} pixels is too large"}
            return None
        if mask.shape != size[::-1]:
            mask = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        item.row["mask"] = f"masks/{item.stem}.png"
        self._save(item, Image.fromarray(mask.astype(np.uint8) * 255), item.row["mask"], optimize=True)
        return annotation(mask, self.shapes) if mask.any() else None

    def _save(self, item: MaskItem, image: Image.Image, name: str, **how: Any) -> None:
        if self.here:
            write_inside(self.out, name, lambda part: image.save(part, **how))
            return
        buffer = io.BytesIO()
        image.save(buffer, "JPEG" if name.endswith(".jpg") else "PNG", **how)
        item.files[name] = buffer.getvalue()


def _record(item: MaskItem, detail: dict[str, Any], size: tuple[int, int]) -> MaskItem:
    """Fills in ``record``, with the names that the journal of ``sfd`` has."""
    item.record = {
        "index": item.sample.index,
        "image": item.sample.name,
        "label": item.sample.label,
        "status": item.row["status"],
        "message": item.row["message"],
        "width": size[0],
        "height": size[1],
        "region": detail,
    }
    return item


def unwritable(out: Path, error: OSError) -> DasExplainError:
    """The error for a folder that cannot be written."""
    return DasExplainError(f"cannot write to {printable(out)}: {error.strerror or error}")


def _columns_of(region: Region) -> Row:
    """The columns that say how a mask came about; boxes in pixels of the upright photo."""
    detail = region.detail
    boxes, scores, iou = (detail.get(name) or [] for name in ("boxes", "scores", "iou"))
    used = [i for i in detail.get("used", range(len(boxes))) if i < len(boxes)]
    drawn = [boxes[i] for i in used if boxes[i][2] > boxes[i][0] and boxes[i][3] > boxes[i][1]]
    return {
        "status": region.status,
        "prompt": detail.get("prompt", ""),
        "score": round(max((scores[i] for i in used if i < len(scores)), default=0), 6) if scores and used else "",
        "iou": round(min(iou), 6) if iou else "",
        "boxes": ";".join(" ".join(f"{edge:.7g}" for edge in box) for box in drawn),
        "message": detail.get("message", ""),
    }


def check_claim(out: Path, overwrite: bool) -> Row | None:
    """What ``segment.json`` says of masks that may be replaced in ``out``; ``None`` if the folder is new or empty.

    Raises UsageError for a folder that cannot be written, or that holds anything else; DasExplainError for links in it
    that lead elsewhere.
    """
    check_folder(out)
    if not out.is_dir() or all(PART.fullmatch(entry.name) for entry in out.iterdir()):
        return None
    story = json_object(inside(out, STORY), STORY)
    if not _is_ours(story):
        raise UsageError(f"--out {printable(out)} is not empty and holds no masks; choose another")
    if story["complete"] and not overwrite:
        raise UsageError(
            f"{printable(out)} holds masks, perhaps corrected by hand: choose another --out, or --overwrite"
        )
    return story


def claim_folder(out: Path, overwrite: bool) -> None:
    """Makes ``out``, or removes what this command wrote there before, and nothing else. Raises as ``check_claim``."""
    story = check_claim(out, overwrite)
    out.mkdir(parents=True, exist_ok=True)
    for folder in (out, *(path for name in ("masks", "overlays", "photos") for path in _folders(inside(out, name)))):
        remove_parts(folder)
    if story is not None:
        stems = [stem for stem in story["stems"] if isinstance(stem, str) and ".." not in stem.split("/")]
        files = [f"{folder}/{stem}{end}" for folder, end in ENDINGS.items() for stem in stems]
        remove_written(out, [*files, *FILES])


def _is_ours(story: Row) -> bool:
    """Whether this command wrote that ``segment.json``."""
    known = isinstance(story.get("complete"), bool) and isinstance(story.get("stems"), list)
    return known and isinstance(story.get("versions"), dict) and "das-explain" in story["versions"]


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir() or folder.is_symlink():
        return []
    return [folder, *(below for entry in sorted(folder.iterdir()) for below in _folders(entry))]


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Rows as CSV, whole or not at all; text is quoted, bytes that are no UTF-8 are spelt out."""

    def write(part: Path) -> None:
        with part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
            writer.writeheader()
            writer.writerows(rows)

    replace_file(path, write)
