"""What was scored -> rows of scores.csv, measures.csv and nulls.csv: image by image, the rest in order.

Everything is arrays of (image, key); a row of a table is one of their cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from das_explain.evidence import tables
from das_explain.evidence.values import Evidence
from das_explain.scoring.scorer import EDGES, ModelFacts, Scored


def score_rows(models: Sequence[ModelFacts], evidence: Evidence, scored: Scored) -> pd.DataFrame:
    """The rows of scores.csv, as ``score_columns`` gives them."""
    table = pd.DataFrame(score_columns(models, evidence, scored))
    return table.astype(dict.fromkeys(EDGES, "Int64"))


def score_columns(models: Sequence[ModelFacts], evidence: Evidence, scored: Scored) -> dict[str, np.ndarray]:
    """The columns of scores.csv: image by image, models and blocks in order; B's edges are objects, None where there is no B.

    Logits that give no probabilities (NaN, infinity) claim no class.
    """
    count, shown = len(evidence), evidence.shown
    facts = {model.name: _facts(evidence, model) for model in models}
    columns: dict[str, list[np.ndarray]] = {name: [] for name in tables.SCORES}
    images = np.array([photo.image for photo in evidence.photos], dtype=object)
    labels = np.array([photo.label for photo in evidence.photos], dtype=object)
    has_region = np.array([photo.status == "ok" for photo in evidence.photos]) & bool(evidence.masks)
    areas: dict[str, np.ndarray] = {}
    for geometry, masks in evidence.masks.items():
        areas[geometry] = np.full(count, np.nan)
        areas[geometry][shown] = [np.count_nonzero(mask) / mask.size for mask in masks]
    for key in scored.extras:
        cam_max = np.full(count, np.nan)
        if key in evidence.maps:
            cam_max[shown] = evidence.maps[key].raw_max
        area = areas.get(evidence.geometries[key.model], np.full(count, np.nan))
        cells: dict[str, Any] = {
            "image": images,
            "label": labels,
            "model": np.full(count, key.model, object),
            "block": np.full(count, key.block, object),
            **facts[key.model],
            "cam_max": np.where(np.isfinite(cam_max), cam_max, np.nan),
            "r_area": np.where(has_region, area, np.nan),
            **scored.extras[key],
            "sfd": scored.values[key, "sfd", ""],
            "status": scored.statuses[key, "sfd", ""],
        }
        for name in tables.SCORES:
            columns[name].append(cells[name])
    found = {name: _interleave(parts) for name, parts in columns.items()}
    for edge in EDGES:
        found[edge] = np.array([None if each != each else int(each) for each in found[edge].tolist()], dtype=object)
    return found


def measure_rows(evidence: Evidence, scored: Scored) -> dict[str, np.ndarray]:
    """The columns of measures.csv: image by image, models, blocks and measures in order."""
    return _long(evidence, scored, nulls=False)


def null_rows(evidence: Evidence, scored: Scored) -> dict[str, np.ndarray]:
    """The columns of nulls.csv: of images whose own map could be scored by some measure."""
    return _long(evidence, scored, nulls=True)


def _long(evidence: Evidence, scored: Scored, *, nulls: bool) -> dict[str, np.ndarray]:
    at = [each for each in scored.values if bool(each[2]) == nulls]
    images = np.array([photo.image for photo in evidence.photos], dtype=object)

    def of_each_image(cells: list[str]) -> np.ndarray:
        return np.tile(np.array(cells, dtype=object), len(images))

    columns = {
        "image": np.repeat(images, len(at)),
        "model": of_each_image([key.model for key, _, _ in at]),
        "block": of_each_image([key.block for key, _, _ in at]),
        "null": of_each_image([null for _, _, null in at]),
        "measure": of_each_image([measure for _, measure, _ in at]),
        "value": _interleave([scored.values[each] for each in at]),
        "status": _interleave([scored.statuses[each] for each in at]),
    }
    if not (nulls and at):
        return columns
    known = _interleave([scored.reasons[key.model] == "ok" for key, _, _ in at])
    return {name: column[known] for name, column in columns.items()}


def _facts(evidence: Evidence, model: ModelFacts) -> dict[str, np.ndarray]:
    """``target``, ``predicted``, ``confidence`` and ``correct`` of each image, None and NaN where there is none."""
    count, shown = len(evidence), evidence.shown
    cells: dict[str, np.ndarray] = {
        name: np.full(count, None, object) for name in ("target", "predicted", "correct")
    } | {"confidence": np.full(count, np.nan)}
    logits = evidence.logits.get(model.name)
    if logits is None:
        return cells
    confidence, highest = logits.confidence, logits.highest
    for row, position in enumerate(shown):
        if np.isnan(confidence[row]):
            continue
        label, best = evidence.photos[position].label, int(highest[row])
        cells["target"][position] = _class_name(model, int(logits.target[row]))
        cells["predicted"][position] = _class_name(model, best)
        cells["confidence"][position] = confidence[row]
        if label in model.logit:
            cells["correct"][position] = best == model.logit[label]
    return cells


def _class_name(model: ModelFacts, index: int) -> str:
    return model.labels[index] if model.labels else str(index)


def _interleave(parts: Sequence[np.ndarray]) -> np.ndarray:
    """K arrays (N,) -> (N * K,): all K of the first image, then of the second ..."""
    return np.stack(parts, axis=1).ravel() if len(parts) else np.empty(0, object)
