"""The tables behind the outcome: every measure, every null, every class. Means only; what is compared has intervals above."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from das_explain.evidence.values import Key
from das_explain.measures import MEASURES
from das_explain.report.results import Results

MOST_CLASSES = 200  # rows of the table by class


@dataclass(frozen=True)
class MeasureRow:
    """One measure at one block: ``means`` in the order of the models; with two models the ``difference`` of the second
    less the first on images that have both, and which of them is ``better``, as the measure counts."""

    title: str
    direction: str
    block: str
    means: tuple[float, ...]
    difference: float
    better: str


def measure_rows(results: Results) -> list[MeasureRow]:
    """Measures in the order of measures.csv, each block by block."""
    tally, rows = results.tally, []
    for name in dict.fromkeys(measure for measure, _ in tally.measured):
        known = MEASURES.get(name)
        for block in results.blocks:
            found = [tally.measured.get((name, Key(model, block))) for model in results.models]
            if not any(found):
                continue
            apart = tally.measured_apart.get((name, block))
            difference = apart.value if apart else math.nan
            better = ""
            if known and abs(difference) >= 5e-4:
                better = results.models[(difference > 0) == known.higher_is_better]
            rows.append(
                MeasureRow(
                    title=known.title if known else name,
                    direction=("more is better" if known.higher_is_better else "less is better") if known else "",
                    block=block,
                    means=tuple(mean.value if mean else math.nan for mean in found),
                    difference=difference,
                    better=better,
                )
            )
    return rows


def null_rows(results: Results) -> tuple[list[str], list[dict[str, Any]]]:
    """The nulls of lift.csv, and for each measure, block and model its lift over each of them."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in results.lift.itertuples(index=False):
        known = MEASURES.get(row.measure)
        title = known.title if known else row.measure
        at = {"measure": title, "block": row.block, "model": row.model, "mean": row.mean, "over": {}}
        rows.setdefault((row.measure, row.block, row.model), at)["over"][row.null] = row
    return list(dict.fromkeys(results.lift["null"])), list(rows.values())


@dataclass(frozen=True)
class ClassRow:
    """One class at the last block: images of the class, each model's mean sfd, and with two models the difference."""

    name: str
    images: int
    means: tuple[float, ...]
    difference: float


def class_rows(results: Results) -> list[ClassRow]:
    """The classes with the most images first, at most ``MOST_CLASSES``; none where the data have fewer than two."""
    tally = results.tally
    if len(tally.classes) < 2 or not results.blocks:
        return []
    count = len(tally.classes)
    labelled = tally.label >= 0
    images = np.bincount(tally.label[labelled], minlength=count)
    nothing = np.full(len(tally.label), np.nan)
    series = [tally.sfd.get(Key(model, results.blocks[-1]), nothing) for model in results.models]
    if len(series) == 2:
        series.append(series[1] - series[0])
    means = []
    for values in series:
        there = labelled & np.isfinite(values)
        codes = tally.label[there]
        counts = np.bincount(codes, minlength=count)
        sums = np.bincount(codes, weights=values[there].astype(np.float64), minlength=count)
        means.append(np.divide(sums, counts, out=np.full(count, np.nan), where=counts > 0))
    order = sorted(range(count), key=lambda i: (-images[i], tally.classes[i]))[:MOST_CLASSES]
    models = len(results.models)
    return [
        ClassRow(
            tally.classes[i],
            int(images[i]),
            tuple(float(mean[i]) for mean in means[:models]),
            float(means[2][i]) if models == 2 else math.nan,
        )
        for i in order
    ]
