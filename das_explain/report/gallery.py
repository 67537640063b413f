"""From the journal to the gallery: one compact JavaScript file, and the frames copied beside it.

The journal is read twice as a stream (first where each image's last record starts, then record by record), so that
memory does not grow with the number of images. Nothing that a record says becomes a file name of the report.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from das_explain.data.geometry import Preprocess
from das_explain.report.payload import (
    checked_map,
    colour_table,
    dump_js,
    finite,
    journal_record,
    mask_outline,
    plain_text,
    safe_frame,
)
from das_explain.report.regions import first_geometry, region_entry
from das_explain.report.run import Run, dicts

GALLERY_LIMIT = 2000


@dataclass
class GalleryCounts:
    """What went into the gallery: ``shown`` of ``images`` in the journal; ``broken`` journal lines were skipped."""

    images: int = 0
    shown: int = 0
    broken: int = 0
    without_frame: int = 0


class Geometries:
    """The networks' views of a photo that occur in a run, numbered; number 0 belongs to the first model."""

    def __init__(self, run: Run) -> None:
        self.keys: list[str] = []
        self.sizes: list[tuple[int, int] | None] = []
        for entry in run.model_entries():
            try:
                geometry = Preprocess.from_config(entry["preprocess"]).geometry
            except (KeyError, TypeError, ValueError, IndexError):
                break  # then the maps themselves tell, in the order of the models
            self.number(geometry.key, geometry.size)

    def number(self, key: Any, size: tuple[int, int] | None = None) -> int:
        """The number of a geometry's key, which is given the next free one if it is new."""
        key = str(key)
        if key not in self.keys:
            if size is None and (match := re.match(r"(\d{1,4})x(\d{1,4})-", key)):
                size = (int(match[1]), int(match[2]))
            self.keys.append(key)
            self.sizes.append(size)
        number = self.keys.index(key)
        if self.sizes[number] is None:
            self.sizes[number] = size
        return number


class Gallery:
    """Turns journal records into the gallery's entries and copies their frames to ``images``."""

    def __init__(self, run: Run, images: Path) -> None:
        self.run = run
        self.images = images
        self.geometries = Geometries(run)
        self.geometry = first_geometry(run)
        self.statuses: list[str] = ["ok"]
        self.counts = GalleryCounts()

    def _status(self, value: Any) -> int:
        name = plain_text(value, 40) or "unknown"
        if name not in self.statuses:
            self.statuses.append(name)
        return self.statuses.index(name)

    def _frame(self, index: int, number: int, name: Any) -> str | None:
        """Copy one frame; returns its path relative to the report, or None if there is none that may be copied."""
        source = safe_frame(self.run.folder, name)
        if source is None:
            return None
        copy = f"{index:06d}.jpg" if number == 0 else f"{index:06d}-{number}.jpg"
        try:
            os.link(source, self.images / copy)
        except OSError:
            shutil.copyfile(source, self.images / copy)
        return f"images/{copy}"

    def _cells(self, record: dict[str, Any]) -> tuple[list[Any], set[int]]:
        """[[model facts or None, one cell or None per block] per model] and the geometries that the maps use."""
        rows = {(str(row.get("model")), str(row.get("block"))): row for row in dicts(record.get("scores"))}
        maps = record.get("maps") if isinstance(record.get("maps"), dict) else {}
        used: set[int] = set()
        models = []
        for model in self.run.models:
            own = maps.get(model) if isinstance(maps.get(model), dict) else {}
            facts, cells = None, []
            for block in self.run.blocks:
                row = rows.get((model, block))
                if row is None:
                    cells.append(None)
                    continue
                if facts is None:
                    correct = row.get("correct")
                    facts = [
                        plain_text(row.get("target")),
                        plain_text(row.get("predicted")),
                        finite(row.get("confidence")),
                        None if correct is None or correct == "" else int(bool(correct)),
                    ]
                entry = own.get(block)
                painted = checked_map(entry)
                number = self.geometries.number(entry.get("geometry")) if painted else 0
                if painted:
                    used.add(number)
                box = [finite(row.get(f"b_{side}"), 6) for side in ("x0", "y0", "x1", "y1")]
                cells.append(
                    [
                        finite(row.get("sfd")),
                        self._status(row.get("status")),
                        *(finite(row.get(name)) for name in ("w_r", "w_n", "cam_max", "r_area")),
                        None if None in box else box,
                        painted,
                        number,
                    ]
                )
            models.append([facts, cells])
        return models, used

    def entry(self, index: int, record: dict[str, Any]) -> list[Any]:
        """One image for the page: [index, name, label, status, message, frames, outlines, models, region]."""
        models, used = self._cells(record)
        masks = record.get("mask") if isinstance(record.get("mask"), dict) else {}
        outlines: dict[int, str] = {}
        for key, encoded in masks.items():
            traced = mask_outline(encoded)
            if traced is not None:
                number = self.geometries.number(key, (int(traced[1][0]), int(traced[1][1])))
                outlines[number] = traced[0]
        frames: dict[int, str | None] = {0: self._frame(index, 0, record.get("frame"))}
        stem = str(record.get("frame", "")).removesuffix(".jpg")
        for number in sorted(used - {0}):
            frames[number] = self._frame(index, number, f"{stem}.{self.geometries.keys[number]}.jpg")
        if not any(frames.values()):
            self.counts.without_frame += 1
        width = 1 + max([0, *frames, *outlines])
        return [
            index,
            plain_text(record.get("image")) or f"image {index}",
            plain_text(record.get("label")),
            self._status(record.get("status")),
            plain_text(record.get("message")),
            [frames.get(number) for number in range(width)],
            [outlines.get(number) for number in range(width)],
            models,
            region_entry(record, self.geometry),
        ]

    def write(self, path: Path) -> GalleryCounts:
        """Write ``window.DAS = {...}`` to ``path``, one image a line."""
        offsets = self._offsets()
        self.counts.images = len(offsets)
        chosen = sorted(offsets)
        if len(chosen) > GALLERY_LIMIT:
            chosen = [chosen[i * len(chosen) // GALLERY_LIMIT] for i in range(GALLERY_LIMIT)]
        self.counts.shown = len(chosen)
        with path.open("w", encoding="ascii", newline="\n") as out:
            out.write('window.DAS = {"images":[')
            for position, (index, record) in enumerate(self._records(chosen, offsets)):
                out.write((",\n" if position else "\n") + dump_js(self.entry(index, record)))
            rest = {
                "models": list(self.run.models),
                "blocks": list(self.run.blocks),
                "groups": self._groups(),
                "statuses": self.statuses,
                "frames": [list(size or (224, 224)) for size in self.geometries.sizes] or [[224, 224]],
                "colours": colour_table(),
            }
            out.write("\n]," + dump_js(rest)[1:] + ";\n")
        return self.counts

    def _groups(self) -> list[int]:
        """For each model the number of the design that it is a copy of."""
        number = {member: i for i, members in enumerate(self.run.groups().values()) for member in members}
        return [number[model] for model in self.run.models]

    def _offsets(self) -> dict[int, int]:
        """Where in the journal the last record of each image starts; broken lines are counted and passed over."""
        offsets: dict[int, int] = {}
        with self.run.journal.open("rb") as journal:
            position = 0
            for line in journal:
                record = journal_record(line)
                if record is not None:
                    offsets[record["index"]] = position
                elif line.strip():
                    self.counts.broken += 1
                position += len(line)
        return offsets

    def _records(self, chosen: list[int], offsets: dict[int, int]) -> Iterator[tuple[int, dict[str, Any]]]:
        with self.run.journal.open("rb") as journal:
            for index in chosen:
                journal.seek(offsets[index])
                record = journal_record(journal.readline())
                if record is not None:
                    yield index, record
