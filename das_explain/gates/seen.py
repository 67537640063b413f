"""One model's gates on the photos of a batch, and what its variants make of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from das_explain.batches.load import Batch
from das_explain.evidence.values import Evidence, Key, Photo
from das_explain.explain.contestants import Contestant
from das_explain.explain.explainer import Explainer, Inputs, pixels, wanted_targets
from das_explain.gates.effects import TRAINED, effect_rows, fixed_targets, variants_of
from das_explain.gates.look import GateView, look
from das_explain.scoring.memory import model_facts
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.rows import score_rows
from das_explain.scoring.scorer import Scorer

Record = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """What there is to show of one model on n photos that could be read; all but ``effects`` has one entry for each.

    ``views``: gate -> what it did. ``frames`` uint8 (n, H, W, 3). ``masks``: the object in the frame, bool (H, W), where
    there is one. ``last`` float32 (n, h, w): the trained network's native maps of the last block. ``records``: a photo's
    lines of gates.csv. ``effects``: those of all photos of the batch, of the unreadable ones, too.
    """

    contestant: Contestant
    photos: list[Photo]
    views: dict[str, GateView]
    frames: np.ndarray
    masks: list[np.ndarray | None]
    last: np.ndarray
    records: list[list[Record]]
    effects: pd.DataFrame


class GatedModel:
    """One model and its variants, ready to be looked at."""

    def __init__(self, explainer: Explainer, contestant: Contestant, scoring: ScoreOptions) -> None:
        self.contestant = contestant
        self.explainer = Explainer(variants_of(contestant, explainer.options), explainer.options)
        self.scorer = Scorer(model_facts(self.explainer), replace(scoring, measures=(), nulls=()))

    def look(self, batch: Batch) -> tuple[Seen, Evidence]:
        """Its gates on the readable photos of a batch, and the evidence of its variants on all of them."""
        _, seen = batch.readable()
        views, targets = {}, None
        if len(seen):
            logits, views = look(self.contestant.model.network, Inputs().of(self.contestant, seen))
            targets = fixed_targets(wanted_targets(self.contestant, seen, self.explainer.options), logits)
        evidence = self.explainer.explain(batch, targets, frames=False)
        scores = score_rows(self.scorer.models, evidence, self.scorer.score(evidence))
        effects = effect_rows(self.contestant.name, evidence, scores, self.contestant.model.activation)
        last = evidence.maps.get(Key(TRAINED, list(self.contestant.blocks)[-1]))
        return (
            Seen(
                self.contestant,
                [evidence.photos[position] for position in evidence.shown],
                {name: view.cpu() for name, view in views.items()},
                pixels(seen, self.contestant.geometry),
                _masks(evidence, self.contestant.geometry),
                np.empty((0, 1, 1), np.float32) if last is None else last.native,
                _records(effects, evidence),
                effects,
            ),
            evidence,
        )


def _masks(evidence: Evidence, geometry: str) -> list[np.ndarray | None]:
    masks = evidence.masks.get(geometry, [None] * len(evidence.shown))
    known = [evidence.photos[position].status == "ok" for position in evidence.shown]
    return [mask if here and mask is not None and mask.any() else None for mask, here in zip(masks, known, strict=True)]


def _records(effects: pd.DataFrame, evidence: Evidence) -> list[list[Record]]:
    """The rows of each readable photo, without NaN; all photos have equally many, one after the other."""
    each = len(effects) // max(1, len(evidence))
    plain = effects.astype(object)
    plain = plain.where(plain.notna(), None)
    return [plain.iloc[start * each : (start + 1) * each].to_dict("records") for start in evidence.shown]
