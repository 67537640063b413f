"""The difference between every two models, or designs, in every reading of sfd, from the evidence as it passes by.

One float32 for each image, model, block and reading goes to the disk: 864 bytes for the 216 readings. They come back a few
thresholds at a time, of a pair of models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch

from das_explain.cam.maps import upsample
from das_explain.evidence.tables import DESIGN_READINGS, READINGS
from das_explain.evidence.values import Evidence, Key
from das_explain.scoring.growing import Growing
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
from das_explain.scoring.scorer import ModelFacts, Scored, few_at_a_time
from das_explain.stats.designs import intervals_of_designs
from das_explain.stats.intervals import closed_form_of_parts
from das_explain.statuses import SCORED

ZERO_CAMS = ("out", 0.5)
FAINT_OUT = "faint out"  # maps without weight and faint ones are both left out: where there are faint ones
NO_BACKGROUNDS = (1, "out")
TOGETHER = 2**21  # values of the readings that are looked at together


def read_all_ways(
    models: Sequence[ModelFacts], options: ScoreOptions, evidence: Evidence, scored: Scored
) -> dict[Key, np.ndarray]:
    """Each map of some images in every reading, float32 (images, scalings, thresholds, boxes, regions), NaN where it has
    no score; which have a region and a known class, their scores' statuses say."""
    thresholds = _thresholds(options)
    compared = _compared(models)
    values = {key: np.full((len(evidence), *_shape(thresholds)), np.nan, np.float32) for key in compared}
    together: dict[tuple[str, str], list[Key]] = {}
    for key in compared:
        if key in evidence.maps and evidence.geometries[key.model] in evidence.masks:
            together.setdefault((key.block, evidence.geometries[key.model]), []).append(key)
    rows = np.flatnonzero([evidence.photos[i].status == "ok" for i in evidence.shown])
    for some in few_at_a_time(rows, evidence.sizes.values(), max(map(len, together.values()), default=1)):
        regions: dict[str, RegionReadings] = {}
        for (_, geometry), keys in together.items():
            if geometry not in regions:
                regions[geometry] = RegionReadings(evidence.masks[geometry][some])
            maps = np.stack([_upsampled(evidence, key, some) for key in keys])
            found = read_maps(maps, regions[geometry], thresholds)
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
        self._read = {key: Growing() for key in _compared(models)}
        self._geometries: dict[str, str] = {}
        self._faint: dict[Key, list[np.ndarray]] = {key: [] for key in self._read}

    def add(self, evidence: Evidence, scored: Scored, read: Mapping[Key, np.ndarray]) -> None:
        """``read``: of ``read_all_ways``."""
        self._geometries = evidence.geometries
        for key, growing in self._read.items():
            self._faint[key].append(scored.statuses[key, "sfd", ""] == "faint_cam")
            images, scalings, thresholds, *rest = read[key].shape
            growing.add(np.moveaxis(read[key], 0, 2).reshape(scalings * thresholds, images, *rest))

    def parts(self, pairs: Sequence[tuple[str, str, str]]) -> Iterator[pd.DataFrame]:
        """The rows of each pair, given as block and two models that both have it."""
        for block, a, b in pairs:
            keys = Key(a, block), Key(b, block)
            faint = np.any([self._faint_of(key) for key in keys], axis=0)

            def intervals(
                values: Sequence[np.ndarray], choice: tuple[Any, Any], faint: np.ndarray = faint
            ) -> tuple[np.ndarray, ...]:
                of_a, of_b = (each.reshape(len(each), -1) for each in values)

                def some_differences(some: slice) -> np.ndarray:
                    differences = _differences(of_a[:, some], of_b[:, some], *choice)
                    if choice[0] == FAINT_OUT:
                        differences[faint] = np.nan
                    return differences

                return closed_form_of_parts(some_differences, *of_a.shape)

            rows = self._rows((block, a, b), keys, intervals, faint=bool(faint.any()))
            yield pd.DataFrame(rows, columns=list(READINGS))

    def parts_of_designs(self, pairs: Iterable[tuple[str, dict[str, list[str]]]]) -> Iterator[pd.DataFrame]:
        """The same of each pair of designs, given as block and design -> its copies, over copies and images together."""
        for block, designs in pairs:
            copies = [[Key(model, block) for model in models] for models in designs.values()]
            every = [key for keys in copies for key in keys]
            if not all(key in self._read for key in every):
                continue  # a block of one model has no readings
            faint = [np.stack([self._faint_of(key) for key in keys]) for keys in copies]

            def intervals(
                values: Sequence[np.ndarray],
                choice: tuple[Any, Any],
                count: int = len(copies[0]),
                faint: list[np.ndarray] = faint,
            ) -> tuple[np.ndarray, ...]:
                chosen = [
                    np.stack([_chosen(each, *choice) for each in its]) for its in (values[:count], values[count:])
                ]
                for each, its in zip(chosen, faint) if choice[0] == FAINT_OUT else ():
                    each[its] = np.nan
                return intervals_of_designs(*(each.reshape(*each.shape[:2], -1) for each in chosen))

            rows = self._rows((block, *designs), every, intervals, faint=any(each.any() for each in faint))
            yield pd.DataFrame(rows, columns=list(DESIGN_READINGS))

    def _rows(
        self,
        who: tuple[str, ...],
        keys: Sequence[Key],
        intervals: Callable[[Sequence[np.ndarray], tuple[Any, Any]], tuple[np.ndarray, ...]],
        *,
        faint: bool,
    ) -> list[tuple]:
        """A row for each reading; ``intervals`` gives n, difference and ends of some readings, from the keys' values
        (images, thresholds, boxes, regions) in one scaling and a choice of exclusions."""
        one_frame = len({self._geometries.get(key.model) for key in keys}) == 1
        rows: list[tuple] = []
        zero_cams = (*ZERO_CAMS, FAINT_OUT) if faint else ZERO_CAMS
        choices = list(product(zero_cams, NO_BACKGROUNDS))
        many = len(self.thresholds)
        each = max(1, self._read[keys[0]].count * len(keys) * len(BOXES) * len(REGIONS))
        together = max(1, min(many, TOGETHER // each))
        for (scaling_place, scaling), start in product(enumerate(SCALINGS), range(0, many, together)):
            some = self.thresholds[start : start + together]
            first = scaling_place * many + start
            values = [self._values(key, range(first, first + len(some))) for key in keys]
            found = {choice: np.stack(intervals(values, choice), 1) for choice in choices}
            for at, cell in enumerate(product(some, BOXES, REGIONS)):
                for choice, numbers in found.items():
                    # Two frames share no box.
                    n, *rest = numbers[at] if one_frame or cell[1] != "shared" else (0, np.nan, np.nan, np.nan)
                    rows.append((*who, scaling, *cell, *choice, int(n), *rest))
        return rows

    def close(self) -> None:
        """Gives the files back."""
        for growing in self._read.values():
            growing.close()

    def _faint_of(self, key: Key) -> np.ndarray:
        """bool (images,): whose map is faint."""
        return np.concatenate([np.zeros(0, bool), *self._faint[key]])

    def _values(self, key: Key, places: Iterable[int]) -> np.ndarray:
        """float32 (images, places, boxes, regions): a model's maps of a block, read in these scalings and thresholds."""
        parts = [self._read[key].read(place)[:, None] for place in places]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, 1)


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
