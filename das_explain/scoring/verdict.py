"""Is it the model or the metric? The tables that ask, beside the comparison itself, whether it would hold otherwise."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from das_explain.evidence.tables import READINGS, SIGNS, TableWriter, write_table
from das_explain.evidence.values import Evidence
from das_explain.measures import MEASURES
from das_explain.scoring.all_values import AllValues
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.reading_table import ReadingTable
from das_explain.stats.agreement import rank_agreement_among, sign_agreement
from das_explain.stats.effects import effect_sizes
from das_explain.stats.exclusions import compare_with_exclusions, count_statuses
from das_explain.stats.pairing import names, pairs_among, pairs_of
from das_explain.stats.sensitivity import sensitivity, verdict
from das_explain.stats.strata import compare_strata
from das_explain.stats.tables import compare_paired

OF_PAIRS = ("exclusions", "strata", "effect_sizes", "measure_comparison", "agreement", "signs")


class Centres:
    """How far each image's R lies from the centre of the frame: one number per image."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []

    def add(self, evidence: Evidence) -> None:
        """Takes some images; where models see different frames, the first one's is meant."""
        distance = np.full(len(evidence), np.nan)
        for masks in list(evidence.masks.values())[:1]:
            distance[evidence.shown] = centre_distance(masks)
        self._parts.append(distance)

    def table(self, images: pd.Series) -> pd.DataFrame:
        """``image, distance`` of the images in order."""
        return pd.DataFrame({"image": images.array, "distance": np.concatenate([*self._parts, []])})


def centre_distance(masks: np.ndarray) -> np.ndarray:
    """From R's centre of gravity to the frame's centre, masks bool (N, H, W) -> float64 (N,): height and width count as
    1 each, so that it is 0 in the centre and nearly 0.71 in a corner. NaN where R is empty.

    >>> centre_distance(np.array([[[True, False], [False, False]], [[True, True], [False, False]]])).round(3).tolist()
    [0.354, 0.25]
    """
    away = []
    for axis in (1, 2):  # summed over rows, then over columns
        along = masks.view(np.uint8).sum(axis, dtype=np.uint32).astype(np.float64)  # in half the time of truth values
        length = along.shape[1]
        with np.errstate(invalid="ignore"):
            away.append(along @ ((np.arange(length) + 0.5) / length) / along.sum(1) - 0.5)
    return np.hypot(*away)


def write_verdict_tables(
    folder: Path, scores: pd.DataFrame, values: AllValues, centres: Centres, options: ScoreOptions
) -> None:
    """Writes into ``folder`` statuses, exclusions, strata, effect sizes and measures beside one another; but for the
    statuses all are of pairs of models.

    ``scores`` is scores.csv.
    """
    baseline = options.baseline
    write_table(folder / "statuses.csv", count_statuses(scores))
    if not options.pairs:
        return
    excluded = compare_with_exclusions(scores, baseline=baseline)
    write_table(folder / "exclusions.csv", excluded.assign(holds=excluded["holds"].astype(int)))
    write_table(
        folder / "strata.csv",
        compare_strata(scores, images=centres.table(scores["image"].drop_duplicates()), baseline=baseline),
    )
    write_table(folder / "effect_sizes.csv", effect_sizes(scores, baseline=baseline))
    _write_agreement(folder, values, baseline)


def _write_agreement(folder: Path, values: AllValues, baseline: str | None) -> None:
    better = {name: measure.higher_is_better for name, measure in MEASURES.items()}
    pairs = {
        measure: pairs_among(keys, baseline)
        for measure, keys in values.scored().items()
        if baseline is None or any(model == baseline for _, model in keys)  # else it compares nothing
    }
    comparisons = compare_paired((measure, values.paired(measure), which) for measure, which in pairs.items())
    write_table(folder / "measure_comparison.csv", comparisons)
    write_table(folder / "agreement.csv", rank_agreement_among(pairs, values.of, better))
    known = "sfd" in names(comparisons, "measure")
    signs = sign_agreement(comparisons, better) if known else pd.DataFrame(columns=list(SIGNS))
    write_table(folder / "signs.csv", signs)


def write_readings(
    folder: Path, readings: ReadingTable | None, scores: pd.DataFrame, options: ScoreOptions
) -> list[str]:
    """Writes readings.csv into ``folder``, if readings were asked for; what they say of each pair's difference, a sentence
    each."""
    if readings is None or not options.pairs:
        return []
    said = []
    with TableWriter(folder / "readings.csv", READINGS) as writer:
        for part in readings.parts(pairs_of(scores, options.baseline)):
            writer.add(part)
            said.append(sensitivity(part, options.reading))
    return [verdict(row) for row in chain.from_iterable(each.itertuples() for each in said) if row.readings]
