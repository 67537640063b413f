"""The difference between every two models, or designs, in every reading of sfd, from the evidence as it passes by.

One float32 for each image, model, block and reading goes into temporary files: 864 bytes for the 216 readings. They come
back a scaling at a time, of a pair of models: 13 MiB of memory at 10,000 images, and 0.6 s.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch

from das_explain.cam.maps import upsample
from das_explain.evidence.tables import DESIGN_READINGS, READINGS
from das_explain.evidence.values import Evidence, Key
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.readings import (
    BOXES,
    NO_BACKGROUND,
    REGIONS,
    SCALINGS,
    THRESHOLDS,
    ZERO_CAM,
    RegionReadings,
    read_maps,
)
from das_explain.scoring.scorer import CHUNK, ModelFacts, Scored
from das_explain.stats.designs import intervals_of_designs
from das_explain.stats.intervals import mean_intervals_in_closed_form
from das_explain.statuses import SCORED

ZERO_CAMS = ("out", 0.5)
FAINT_OUT = "faint out"  # maps without weight and faint ones are both left out: where there are faint ones
NO_BACKGROUNDS = (1, "out")


def read_all_ways(
    models: Sequence[ModelFacts], options: ScoreOptions, evidence: Evidence, scored: Scored
) -> dict[Key, np.ndarray]:
    """Each map of some images in every reading, float32 (images, scalings, thresholds, boxes, regions), NaN where it has
    no score; which have a region and a known class, their scores' statuses say."""
    thresholds = _thresholds(options)
    compared = _compared(models)
    values = {key: np.full((len(evidence), *_shape(thresholds)), np.nan, np.float32) for key in compared}
    regions: dict[tuple[str, int], RegionReadings] = {}
    together: dict[tuple[str, str], list[Key]] = {}
    for key in compared:
        if key in evidence.maps and evidence.geometries[key.model] in evidence.masks:
            together.setdefault((key.block, evidence.geometries[key.model]), []).append(key)
    rows = np.flatnonzero([evidence.photos[i].status == "ok" for i in evidence.shown])
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        for (_, geometry), keys in together.items():
            if (geometry, start) not in regions:
                regions = {key: each for key, each in regions.items() if key[1] == start}
                regions[geometry, start] = RegionReadings(evidence.masks[geometry][some])
            maps = np.stack([_upsampled(evidence, key, some) for key in keys])
            found = read_maps(maps, regions[geometry, start], thresholds)
            for key, each in zip(keys, found, strict=True):
                values[key][evidence.shown[some]] = each
    for key, each in values.items():
        each[~np.isin(scored.statuses[key, "sfd", ""].astype(str), (*SCORED, "zero_cam"))] = np.nan
    return values


def _compared(models: Sequence[ModelFacts]) -> list[Key]:
    """Blocks that only one model has are left out."""
    blocks = [block for model in models for block in model.blocks]
    return [Key(model.name, block) for model in models for block in model.blocks if blocks.count(block) > 1]


def _thresholds(options: ScoreOptions) -> tuple[float, ...]:
    return tuple(sorted({*THRESHOLDS, options.threshold}))


def _shape(thresholds: Sequence[float]) -> tuple[int, ...]:
    return len(SCALINGS), len(thresholds), len(BOXES), len(REGIONS)


class ReadingTable:
    """Takes what was read of evidence, shard by shard, then gives the table."""

    def __init__(self, models: Sequence[ModelFacts], options: ScoreOptions) -> None:
        self.thresholds = _thresholds(options)
        self._files: dict[Key, Any] = {
            key: tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this lives
            for key in _compared(models)
        }
        self._geometries: dict[str, str] = {}
        self._faint: dict[Key, list[np.ndarray]] = {key: [] for key in self._files}
        self._shape = _shape(self.thresholds)
        self._counts: list[int] = []  # images of each shard

    def add(self, evidence: Evidence, scored: Scored, read: Mapping[Key, np.ndarray]) -> None:
        """``read``: of ``read_all_ways``."""
        self._geometries = evidence.geometries
        for key, file in self._files.items():
            self._faint[key].append(scored.statuses[key, "sfd", ""] == "faint_cam")
            file.write(np.ascontiguousarray(np.moveaxis(read[key], 1, 0)))  # a scaling at a time is what is looked at
        self._counts.append(len(evidence))

    def parts(self, pairs: Sequence[tuple[str, str, str]]) -> Iterator[pd.DataFrame]:
        """The rows of each pair, given as block and two models that both have it."""
        for block, a, b in pairs:
            keys = Key(a, block), Key(b, block)
            faint = np.any([self._faint_of(key) for key in keys], axis=0)

            def intervals(
                place: int,
                choice: tuple[Any, Any],
                keys: tuple[Key, Key] = keys,
                faint: np.ndarray = faint,
            ) -> tuple[np.ndarray, ...]:
                of_a, of_b = (self._values(key, place) for key in keys)
                differences = _differences(of_a, of_b, *choice)
                if choice[0] == FAINT_OUT:
                    differences[faint] = np.nan
                return mean_intervals_in_closed_form(differences.reshape(len(differences), -1))

            rows = self._rows((block, a, b), [a, b], intervals, faint=bool(faint.any()))
            yield pd.DataFrame(rows, columns=list(READINGS))

    def parts_of_designs(self, pairs: Iterable[tuple[str, dict[str, list[str]]]]) -> Iterator[pd.DataFrame]:
        """The same of each pair of designs, given as block and design -> its copies, over copies and images together."""
        for block, designs in pairs:
            copies = [[Key(model, block) for model in models] for models in designs.values()]
            if not all(key in self._files for keys in copies for key in keys):
                continue  # a block of one model has no readings
            faint = [np.stack([self._faint_of(key) for key in keys]) for keys in copies]

            def intervals(
                place: int,
                choice: tuple[Any, Any],
                copies: list[list[Key]] = copies,
                faint: list[np.ndarray] = faint,
            ) -> tuple[np.ndarray, ...]:
                chosen = [np.stack([_chosen(self._values(key, place), *choice) for key in keys]) for keys in copies]
                for each, its in zip(chosen, faint) if choice[0] == FAINT_OUT else ():
                    each[its] = np.nan
                return intervals_of_designs(*(each.reshape(*each.shape[:2], -1) for each in chosen))

            models = [model for each in designs.values() for model in each]
            rows = self._rows((block, *designs), models, intervals, faint=any(each.any() for each in faint))
            yield pd.DataFrame(rows, columns=list(DESIGN_READINGS))

    def _rows(
        self,
        who: tuple[str, ...],
        models: Sequence[str],
        intervals: Callable[[int, tuple[Any, Any]], tuple[np.ndarray, ...]],
        *,
        faint: bool,
    ) -> list[tuple]:
        """A row for each reading; ``intervals`` gives n, difference and ends of all readings in one scaling (its place)
        and choice of exclusions, one at a time: each is as large as what was read."""
        one_frame = len({self._geometries.get(model) for model in models}) == 1
        rows: list[tuple] = []
        zero_cams = (*ZERO_CAMS, FAINT_OUT) if faint else ZERO_CAMS
        for place, scaling in enumerate(SCALINGS):
            found = {choice: np.stack(intervals(place, choice), 1) for choice in product(zero_cams, NO_BACKGROUNDS)}
            for at, cell in enumerate(product(self.thresholds, BOXES, REGIONS)):
                for choice, numbers in found.items():
                    # Two frames share no box.
                    n, *rest = numbers[at] if one_frame or cell[1] != "shared" else (0, np.nan, np.nan, np.nan)
                    rows.append((*who, scaling, *cell, *choice, int(n), *rest))
        return rows

    def close(self) -> None:
        """Gives the files back."""
        for file in self._files.values():
            file.close()

    def _faint_of(self, key: Key) -> np.ndarray:
        """bool (images,): whose map is faint."""
        return np.concatenate([np.zeros(0, bool), *self._faint[key]])

    def _values(self, key: Key, place: int) -> np.ndarray:
        """float32 (images, thresholds, boxes, regions): a model's maps of a block, read in the scaling of that place."""
        file, (scalings, *rest) = self._files[key], self._shape
        values = np.empty((sum(self._counts), *rest), np.float32)
        start = 0
        for count in self._counts:
            part = values[start : start + count]
            file.seek((start * scalings + place * count) * int(np.prod(rest)) * part.itemsize)
            file.readinto(part.view(np.uint8))
            start += count
        return values


def _upsampled(evidence: Evidence, key: Key, rows: np.ndarray) -> np.ndarray:
    native = torch.from_numpy(np.ascontiguousarray(evidence.maps[key].native[rows]))
    return upsample(native, evidence.sizes[evidence.geometries[key.model]]).numpy()


def _differences(a: np.ndarray, b: np.ndarray, zero_cam: Any, no_background: Any) -> np.ndarray:
    """b - a, float64 of the same shape, NaN where one is not scored, with this choice of exclusions."""
    difference = _chosen(b, zero_cam, no_background)
    difference -= _chosen(a, zero_cam, no_background)
    return difference


def _chosen(values: np.ndarray, zero_cam: Any, no_background: Any) -> np.ndarray:
    chosen = values.astype(float)
    chosen[values == ZERO_CAM] = zero_cam if zero_cam == 0.5 else np.nan
    chosen[values == NO_BACKGROUND] = np.nan if no_background == "out" else 1.0
    return chosen
