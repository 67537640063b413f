"""sfd on the other masks that a segmenter offers: what ``region_ranges.csv`` and ``region_uncertainty.csv`` rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from das_explain.cam.maps import upsample
from das_explain.evidence.tables import write_table
from das_explain.evidence.values import Evidence
from das_explain.measures.sfd import MEASURE
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.scorer import Scored, few_at_a_time
from das_explain.stats.regions import region_flips, region_ranges, region_sentence
from das_explain.statuses import SCORED

COLUMNS = ("image", "model", "block", "region", "sfd")


def score_alternatives(options: ScoreOptions, evidence: Evidence, scored: Scored) -> list[pd.DataFrame]:
    """A number per image, model, block and mask, of images with several masks: tables of ``COLUMNS``.

    A box that models share is each model's own here: it would need every model's map on every mask.
    """
    how = replace(options.for_measures(), box="rect" if options.box == "shared" else options.box)
    tables = []
    offered = {at: masks.any((1, 2)) for at, masks in evidence.alternatives.items()}
    for key, maps in evidence.maps.items():
        usable = np.isin(scored.statuses[key, "sfd", ""][evidence.shown].astype(str), SCORED)
        geometry = evidence.geometries[key.model]
        mine = {name: there & usable for (of, name), there in offered.items() if of == geometry}
        if not mine:
            continue
        several = np.logical_or.reduce(list(mine.values()))
        masks = {"": (several, evidence.masks[geometry])}
        masks |= {name: (there, evidence.alternatives[geometry, name]) for name, there in mine.items()}
        for name, (there, each) in masks.items():
            rows = np.flatnonzero(there)
            for some in few_at_a_time(rows, [evidence.sizes[geometry]]):
                native = torch.from_numpy(np.ascontiguousarray(maps.native[some]))
                full = upsample(native, evidence.sizes[geometry])
                result = MEASURE.compute(full, torch.from_numpy(each[some]), how)
                counts = np.isin(result.status, SCORED)
                images = [evidence.photos[at].image for at in evidence.shown[some[counts]]]
                table = pd.DataFrame({"image": images, "sfd": result.values.numpy()[counts]})
                tables.append(table.assign(model=key.model, block=key.block, region=name)[list(COLUMNS)])
    return tables


class RegionTable:
    """Takes the tables of ``score_alternatives``, shard by shard."""

    def __init__(self, options: ScoreOptions) -> None:
        self._options = options
        self._parts: list[pd.DataFrame] = []

    def add(self, tables: Sequence[pd.DataFrame]) -> None:
        """Of some evidence."""
        self._parts += tables

    def write(self, folder: Path) -> list[str]:
        """Writes both tables into ``folder`` where there are other masks; what they say, a sentence for each pair."""
        paths = [folder / f"{name}.csv" for name in ("region_ranges", "region_uncertainty")]
        if not any(map(len, self._parts)):
            return []
        values = pd.concat(self._parts, ignore_index=True)
        flips = region_flips(values, self._baseline(values)) if self._options.pairs else region_flips(values.iloc[:0])
        write_table(paths[0], region_ranges(values))
        write_table(paths[1], flips)
        return [region_sentence(row) for row in flips.itertuples() if row.n]

    def _baseline(self, values: pd.DataFrame) -> str | None:
        there = self._options.baseline in set(values["model"])
        return self._options.baseline if there else None
