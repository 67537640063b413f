"""From evidence and scores to the gallery: a JavaScript file of facts, and per image its frames and a packet of maps.

Shards and rows of scores.csv are read in step, so that memory does not grow with the number of images. Nothing that a
run says becomes a file name of the report.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from das_explain.errors import DasExplainError, first_line
from das_explain.evidence.run import ALL
from das_explain.evidence.tables import SCORES, read_parts
from das_explain.evidence.values import Evidence, Key
from das_explain.report.packets import map_bits, packet
from das_explain.report.payload import colour_table, dump_js, finite, is_jpeg, outline, plain_text
from das_explain.report.regions import region_entry
from das_explain.report.results import Results
from das_explain.report.tally import PART
from das_explain.report.words import BOXES, SCALINGS

LIMIT = 2000  # images of the gallery
EDGES = ("b_x0", "b_y0", "b_x1", "b_y1")


@dataclass
class GalleryCounts:
    """What went into the gallery: ``shown`` of ``images``, of which ``extremes`` were chosen for their scores."""

    images: int = 0
    shown: int = 0
    extremes: int = 0
    without_frame: int = 0


def choose(results: Results, limit: int) -> tuple[list[int], int]:
    """Which images the gallery holds, in order, and how many of them for their scores.

    All, up to ``limit``. Of more, up to half are those with the highest and the lowest sfd of each model and block, and
    with the largest differences of each pair at each block; the rest are spread evenly over the others.
    """
    count = results.count
    if count <= limit:
        return list(range(count)), 0
    sfd = results.tally.sfd
    series = list(sfd.values())
    for a, b in results.pairs:
        series += [
            sfd[Key(b, block)] - sfd[Key(a, block)]
            for block in results.blocks
            if Key(a, block) in sfd and Key(b, block) in sfd
        ]
    each = limit // 2 // max(1, 2 * len(series))
    extremes: set[int] = set()
    for values in series:
        (scored,) = np.nonzero(np.isfinite(values))
        order = scored[np.argsort(values[scored], kind="stable")]
        extremes.update(order[:each].tolist(), order[len(order) - each :].tolist())
    others = np.setdiff1d(np.arange(count), list(extremes))
    room = limit - len(extremes)
    evenly = others[np.arange(room) * len(others) // room]
    return sorted([*extremes, *evenly.tolist()]), len(extremes)


class Gallery:
    """Turns evidence and rows into the gallery's entries and copies their frames to ``images``."""

    def __init__(self, results: Results, images: Path, limit: int = LIMIT) -> None:
        self.results = results
        self.limit = limit
        self.images = images
        self.geometries = results.run.geometries
        self.keys = list(dict.fromkeys(geometry.key for geometry in self.geometries.values()))
        self.shapes: dict[Key, tuple[int, int]] = {}
        self.counts = GalleryCounts(images=results.count)

    def write(self, path: Path) -> GalleryCounts:
        """Writes ``window.DAS = {...}`` to ``path``, one image a line, and the images' files."""
        chosen, self.counts.extremes = choose(self.results, self.limit)
        self.counts.shown = len(chosen)
        sizes = {geometry.key: geometry.size for geometry in self.geometries.values()}
        first = self.results.first_pair
        head = {
            "models": list(self.results.models),
            "blocks": list(self.results.blocks),
            "pairs": [[self.results.number(a), self.results.number(b)] for a, b in self.results.pairs],
            "pair": self.results.pairs.index(first) if first else None,
            "scoring": _scoring(self.results),
            "frames": [{"height": sizes[key][0], "width": sizes[key][1]} for key in self.keys],
            "colours": colour_table(),
        }
        with path.open("w", encoding="ascii", newline="\n") as out:
            out.write("window.DAS = " + dump_js(head)[:-1] + ',"images":[')
            for position, entry in enumerate(self._entries(set(chosen))):
                out.write((",\n" if position else "\n") + dump_js(entry))
            out.write("\n]};\nDAS.packets = {};\n")
            out.write(f"DAS.shapes = {dump_js(self._shapes())};\n")
        return self.counts

    def _shapes(self) -> list[list[dict[str, int] | None]]:
        """For each model and block how large its maps are, and how many bits a pixel of a packet has."""
        found = {key: {"height": h, "width": w, "bits": map_bits(h, w)} for key, (h, w) in self.shapes.items()}
        return [[found.get(Key(model, block)) for block in self.results.blocks] for model in self.results.models]

    def _entries(self, chosen: set[int]) -> Iterator[dict[str, Any]]:
        """The chosen images, shard by shard."""
        parts = read_parts(self.results.run.path("scores.csv"), SCORES, rows=PART)
        rows = (row for part in parts for row in part.itertuples(index=False))
        grouped = groupby(rows, key=lambda row: row.image)
        index = 0
        try:
            for evidence in self.results.run.evidence(ALL) if self.counts.images else ():
                shown = {int(position): row for row, position in enumerate(evidence.shown)}
                for position in range(len(evidence)):
                    _, group = next(grouped)
                    if index in chosen:
                        cells = {(row.model, row.block): row for row in group}
                        yield self._entry(index, evidence, position, shown.get(position), cells)
                    index += 1
        except (TypeError, KeyError, AttributeError, ValueError, IndexError, pa.ArrowException) as error:
            folder = self.results.run.shards.folder
            raise DasExplainError(f"{folder} is damaged ({first_line(error)}): delete it and run sfd again") from None

    def _entry(
        self, index: int, evidence: Evidence, position: int, row: int | None, cells: dict[tuple[str, str], Any]
    ) -> dict[str, Any]:
        """One image for the page; ``row`` is its place in the evidence's arrays, ``None`` if no model was shown it."""
        photo = evidence.photos[position]
        frames, outlines, maps = [], [], []
        for number, key in enumerate(self.keys):
            frames.append(None if row is None else self._frame(index, number, evidence, key, row))
            known = row is not None and photo.status == "ok" and key in evidence.masks
            outlines.append(outline(evidence.masks[key][row]) if known else None)
        if not any(frames):
            self.counts.without_frame += 1
        entry = {
            "index": index,
            "name": plain_text(photo.image) or f"image {index}",
            "label": plain_text(photo.label),
            "status": plain_text(photo.status, 40) or "unknown",
            "message": plain_text(photo.message),
            "frames": frames,
            "models": [self._model(model, evidence, row, cells, maps) for model in self.results.models],
            "region": region_entry(photo, self.geometries[self.results.models[0]]),
            "packet": row is not None,
        }
        if row is not None:
            (self.images / f"{index:06d}.js").write_text(packet(index, outlines, maps), encoding="utf-16", newline="\n")
        return entry

    def _frame(self, index: int, number: int, evidence: Evidence, key: str, row: int) -> str | None:
        """Copies one frame; its path relative to the report, or None if it is no picture that may be shown."""
        files = evidence.frames.get(key)
        if files is None or not is_jpeg(files[row], *evidence.sizes[key]):
            return None
        copy = f"{index:06d}.jpg" if number == 0 else f"{index:06d}-{number}.jpg"
        (self.images / copy).write_bytes(files[row])
        return f"images/{copy}"

    def _model(
        self, model: str, evidence: Evidence, row: int | None, cells: dict[tuple[str, str], Any], maps: list[np.ndarray]
    ) -> dict[str, Any] | None:
        """What a model said of an image, and its cells, block by block; None where it has no row. Adds to ``maps``."""
        mine = [cells.get((model, block)) for block in self.results.blocks]
        first = next((cell for cell in mine if cell is not None), None)
        if first is None:
            return None
        correct = finite(float(first.correct))
        return {
            "target": plain_text(first.target),
            "predicted": plain_text(first.predicted),
            "confidence": finite(float(first.confidence)),
            "correct": None if correct is None else bool(correct),
            "frame": self.keys.index(self.geometries[model].key),
            "r_area": finite(float(first.r_area)),
            "cells": [
                None if cell is None else self._cell(cell, evidence, Key(model, block), row, maps)
                for cell, block in zip(mine, self.results.blocks)
            ],
        }

    def _cell(self, cell: Any, evidence: Evidence, key: Key, row: int | None, maps: list[np.ndarray]) -> dict[str, Any]:
        box = [_whole(finite(float(getattr(cell, edge)), 6)) for edge in EDGES]
        native = evidence.maps[key].native[row] if row is not None and key in evidence.maps else None
        # All maps of a block have one size; another one in a later shard is nothing that a network made.
        drawable = (
            native is not None
            and np.isfinite(native).all()
            and self.shapes.setdefault(key, native.shape) == native.shape
        )
        if drawable:
            maps.append(native)
        return {
            "status": plain_text(cell.status, 40) or "unknown",
            **{name: finite(float(getattr(cell, name)), 6) for name in ("sfd", "w_r", "w_n", "cam_max")},
            "box": None if None in box else dict(zip(("x0", "y0", "x1", "y1"), box)),
            **({} if drawable else {"blank": True}),  # the rarer case: of a thousand images it saves 0.2 MB
        }


def _whole(value: float | None) -> float | None:
    """A shorter spelling of most edges of boxes."""
    return int(value) if value is not None and value.is_integer() else value


def _scoring(results: Results) -> dict[str, Any] | None:
    """How the run was scored, where that is known well enough to be done again."""
    scoring = results.section("scoring")
    threshold, scaling, box = (scoring.get(name) for name in ("threshold", "scaling", "box"))
    known = isinstance(threshold, (int, float)) and 0 < threshold <= 1 and scaling in SCALINGS and box in BOXES
    return {"threshold": threshold, "scaling": scaling, "box": box} if known else None
