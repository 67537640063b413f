"""The threshold at which each model's maps overlap R best over the whole data set (MaxBoxAcc's idea): ``best_iou.csv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from das_explain.cam.maps import upsample
from das_explain.evidence.tables import BEST_IOU, write_table
from das_explain.evidence.values import Evidence, Key
from das_explain.measures.iou import IouByThreshold
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.scorer import ModelFacts, Scored, few_at_a_time


def iou_curves(
    models: Sequence[ModelFacts], options: ScoreOptions, evidence: Evidence, scored: Scored
) -> dict[Key, IouByThreshold]:
    """The curves of 1024 thresholds over the maps of some evidence that have an IoU; none unless that is measured."""
    asked = models if "iou" in options.measures else ()
    curves = {Key(each.name, block): IouByThreshold() for each in asked for block in each.blocks}
    for key, curve in curves.items():
        if key not in evidence.maps:
            continue
        geometry = evidence.geometries[key.model]
        rows = np.flatnonzero(scored.statuses[key, "iou", ""][evidence.shown] == "ok")
        for some in few_at_a_time(rows, [evidence.sizes[geometry]]):
            native = torch.from_numpy(np.ascontiguousarray(evidence.maps[key].native[some]))
            masks = torch.from_numpy(evidence.masks[geometry][some])
            curve.add(upsample(native, evidence.sizes[geometry]), masks)
    return curves


class BestIou:
    """Takes curves, shard by shard: one for each model and block, if IoU is measured at all."""

    def __init__(self, options: ScoreOptions) -> None:
        self._threshold = options.threshold
        self._curves: dict[Key, IouByThreshold] = {}
        self._own: dict[Key, float] = {}

    def add(self, scored: Scored, curves: Mapping[Key, IouByThreshold]) -> None:
        """``curves``: of ``iou_curves``."""
        for key, curve in curves.items():
            self._curves.setdefault(key, IouByThreshold()).merge(curve)
            values = scored.values[key, "iou", ""][scored.statuses[key, "iou", ""] == "ok"]
            self._own[key] = self._own.get(key, 0.0) + float(values.sum())

    def write(self, folder: Path) -> None:
        """Writes the table into ``folder``, where IoU was asked for."""
        path = folder / "best_iou.csv"
        if not self._curves:
            return
        rows = [
            (*key, curve.count, self._threshold, self._own[key] / curve.count if curve.count else np.nan, *curve.best())
            for key, curve in self._curves.items()
        ]
        write_table(path, pd.DataFrame(rows, columns=list(BEST_IOU)))
