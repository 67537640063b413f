"""``readings.csv``: the difference between every two models in every reading of sfd, from the evidence as it passes by.

One float32 for each image, model, block and reading goes into temporary files: 864 bytes for the 216 readings. They come
back a pair of models at a time, of which a scaling at a time is looked at: 57 MiB of memory at 10,000 images, and 0.65 s.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch

from das_explain.cam.engine import upsample
from das_explain.evidence.tables import READINGS
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
from das_explain.stats.intervals import mean_intervals_in_closed_form
from das_explain.statuses import SCORED

ZERO_CAMS = ("out", 0.5)
NO_BACKGROUNDS = (1, "out")


class ReadingTable:
    """Takes evidence, shard by shard, then gives the table. Blocks that only one model has are left out."""

    def __init__(self, models: Sequence[ModelFacts], options: ScoreOptions) -> None:
        self.thresholds = tuple(sorted({*THRESHOLDS, options.threshold}))
        blocks = [block for model in models for block in model.blocks]
        self._files: dict[Key, Any] = {
            Key(model.name, block): tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this lives
            for model in models
            for block in model.blocks
            if blocks.count(block) > 1
        }
        self._geometries: dict[str, str] = {}
        self._shape = (len(SCALINGS), len(self.thresholds), len(BOXES), len(REGIONS))

    def add(self, evidence: Evidence, scored: Scored) -> None:
        """Reads the maps of some images; which have a region and a known class, their scores' statuses say."""
        self._geometries = evidence.geometries
        values = {key: np.full((len(evidence), *self._shape), np.nan, np.float32) for key in self._files}
        regions: dict[tuple[str, int], RegionReadings] = {}
        together: dict[tuple[str, str], list[Key]] = {}
        for key in self._files:
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
                found = read_maps(maps, regions[geometry, start], self.thresholds)
                for key, each in zip(keys, found, strict=True):
                    values[key][evidence.shown[some]] = each
        for key, file in self._files.items():
            usable = np.isin(scored.statuses[key, "sfd", ""].astype(str), (*SCORED, "zero_cam"))
            values[key][~usable] = np.nan
            file.write(values[key])

    def parts(self, pairs: Sequence[tuple[str, str, str]]) -> Iterator[pd.DataFrame]:
        """The rows of each pair, given as block and two models that both have it."""
        for block, a, b in pairs:
            of_a, of_b = self._values(Key(a, block)), self._values(Key(b, block))
            rows = []
            for place, scaling in enumerate(SCALINGS):
                found = {}
                for choice in product(ZERO_CAMS, NO_BACKGROUNDS):  # one at a time: each is as large as what was read
                    differences = _differences(of_a[:, place], of_b[:, place], *choice)
                    if self._geometries.get(a) != self._geometries.get(b):  # two frames share no box
                        differences[:, :, BOXES.index("shared")] = np.nan
                    found[choice] = np.stack(mean_intervals_in_closed_form(differences.reshape(len(of_a), -1)), 1)
                cells = product(self.thresholds, BOXES, REGIONS)
                rows += [
                    (block, a, b, scaling, *cell, *choice, int(numbers[at, 0]), *numbers[at, 1:])
                    for at, cell in enumerate(cells)
                    for choice, numbers in found.items()
                ]
            yield pd.DataFrame(rows, columns=list(READINGS))

    def close(self) -> None:
        """Gives the files back."""
        for file in self._files.values():
            file.close()

    def _values(self, key: Key) -> np.ndarray:
        file = self._files[key]
        file.seek(0)
        return np.frombuffer(file.read(), np.float32).reshape(-1, *self._shape)


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
    chosen[values == ZERO_CAM] = np.nan if zero_cam == "out" else zero_cam
    chosen[values == NO_BACKGROUND] = np.nan if no_background == "out" else 1.0
    return chosen
