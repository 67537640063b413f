"""Means, paired comparisons and lifts over the rows of a run: tables in, tables out, no paths and no printing.

Every function takes the table ``scores.csv``: one row per image, model and block, of which ``image, model, block,
status`` and the values of one measure are read; ``measures.csv`` will do as well (`pairing` says how a measure is found
in a table). ``sfd`` is the measure where none is named. It lies in [0, 1] and has no unit. A row counts as scored when
its status is one of `das_explain.statuses.SCORED`; everything else stays out of the means. Rows
are sorted by image before anything is drawn and every generator starts from one fixed seed, so the order of the rows
moves no digit, and neither does another model in the table.

Two claims are kept apart. An interval over images speaks of *these checkpoints*: it says what other photographs would
do. Training again can move sfd as well, and more, so a statement about *designs* needs several trained copies of each
and an interval over copies and images together (`compare_groups`). `claims.claim` says which of the two a run can
carry.

Malformed tables raise `DasExplainError`, malformed requests `UsageError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from das_explain.stats.copies import designs_interval, pairs_of_designs
from das_explain.stats.intervals import mean, mean_intervals
from das_explain.stats.pairing import Paired, measures_of, names, of_measure, pair, pairs_of, sizes
from das_explain.stats.significance import holm, sign_flip_p_values

# columns of summary.csv, comparison.csv, designs.csv and lift.csv
SUMMARY = ["model", "block", "n", "n_scored", "mean_sfd", "ci_low", "ci_high"]
COMPARISON = ["block", "model_a", "model_b", "n", "mean_a", "mean_b", "delta", "ci_low", "ci_high", "p_value",
    "p_adjusted", "win_rate"]  # fmt: skip
GROUPS = ["block", "group_a", "group_b", "copies_a", "copies_b", "n", "mean_a", "mean_b", "delta", "ci_low",
    "ci_high", "image_ci_low", "image_ci_high", "claim"]  # fmt: skip
LIFTS = ["model", "block", "measure", "mean", "null", "mean_null", "lift", "ci_low", "ci_high", "n"]


def summarize(scores: pd.DataFrame, measure: str = "sfd") -> pd.DataFrame:
    """Mean of a measure for every model and block, with a 95 % bootstrap interval over images (`mean_intervals`).

    Returns the columns of ``summary.csv``: ``model, block, n, n_scored, mean_sfd, ci_low, ci_high`` (``mean_iou`` where
    the measure is ``iou``); models and blocks in order of first appearance. ``n`` counts all rows, ``n_scored`` those
    that are scored. Without a scored image the mean is NaN, with fewer than two the interval is.
    """
    wide = pair(scores, ["block", "model"], measure)
    mine, _ = of_measure(scores, measure)
    counts = sizes(mine)
    keys = [(m, b) for m in names(mine, "model") for b in names(mine, "block") if (b, m) in counts]
    values = [wide.common((block, model))[0] for model, block in keys]
    rows = [
        (*key, counts[key[::-1]], len(scored), *interval)
        for key, scored, interval in zip(keys, values, mean_intervals(values), strict=True)
    ]
    columns = [f"mean_{measure}" if column == "mean_sfd" else column for column in SUMMARY]
    return pd.DataFrame(rows, columns=columns)


def compare(scores: pd.DataFrame, measure: str = "sfd", baseline: str | None = None) -> pd.DataFrame:
    """Every pair of models on every block both have, paired on the images that are scored for both.

    Returns the columns of ``comparison.csv``: ``block, model_a, model_b, n, mean_a, mean_b, delta, ci_low, ci_high,
    p_value, p_adjusted, win_rate``. ``model_a`` is the one that appears first; ``delta = mean(b - a)`` with a 95 %
    interval over images; ``p_value`` as in `significance.sign_flip_p_value`; ``p_adjusted`` is Holm's over all rows of
    this table; ``win_rate`` is P(b > a) + P(b = a) / 2. Swapping the models negates ``delta``, mirrors the interval,
    keeps p and turns ``win_rate`` into its complement. With a ``baseline`` only pairs with that model, as ``model_a``.

    Blocks pair by equal name only: ``layer4`` of a ResNet and ``features.17`` of a MobileNet stand in no row together.
    The claim is about the checkpoints, not about the designs they stand for; see `compare_groups`.
    """
    return compare_paired([_paired(scores, measure, baseline)])[COMPARISON]


def compare_measures(measures: pd.DataFrame, baseline: str | None = None) -> pd.DataFrame:
    """`compare` for every measure of a long table (``measures.csv``), one below the other.

    Returns ``measure`` and the columns of ``comparison.csv``. ``p_adjusted`` is Holm's over the rows of one measure:
    each measure is a question of its own, and `agreement.sign_agreement` counts how many answer alike.
    """
    return compare_paired(_paired(measures, measure, baseline) for measure in measures_of(measures))


def _paired(scores: pd.DataFrame, measure: str, baseline: str | None) -> tuple[str, Paired, list[tuple[str, str, str]]]:
    return (
        measure,
        pair(scores, ["block", "model"], measure),
        pairs_of(of_measure(scores, measure)[0], baseline),
    )


def compare_paired(every: Iterable[tuple[str, Paired, Sequence[tuple[str, str, str]]]]) -> pd.DataFrame:
    """`compare_measures` of each measure's values by block and model, and the pairs of them: block and two models."""
    pairs = [*_compared(every)]
    differences = [difference for *_, difference in pairs]  # at once: columns of one length share draws
    found = zip(pairs, mean_intervals(differences), sign_flip_p_values(differences), strict=True)
    rows = [
        (measure, *key, len(d), *means, *interval, p_value, np.nan, mean(np.sign(d) / 2 + 0.5))
        for (measure, key, means, d), interval, p_value in found
    ]
    table = pd.DataFrame(rows, columns=["measure", *COMPARISON])
    for measure in table["measure"].unique():
        chosen = table["measure"] == measure
        table.loc[chosen, "p_adjusted"] = holm(table.loc[chosen, "p_value"].to_numpy(dtype=float))
    return table


def _compared(
    every: Iterable[tuple[str, Paired, Sequence[tuple[str, str, str]]]],
) -> Iterator[tuple[str, tuple[str, str, str], tuple[float, float], np.ndarray]]:
    for measure, wide, which in every:
        for block, a, b in which:
            of_a, of_b = wide.common((block, a), (block, b))
            yield measure, (block, a, b), (mean(of_a), mean(of_b)), of_b - of_a


def compare_groups(scores: pd.DataFrame, groups: Mapping[str, str], measure: str = "sfd") -> pd.DataFrame:
    """Every pair of designs on every block both have, where several checkpoints are copies of one design.

    ``groups`` maps a model's name to its design's; a model it does not name stands alone. Only images scored for all
    copies of both designs count (``n``), so the comparison is paired. Returns ``block, group_a, group_b, copies_a,
    copies_b, n, mean_a, mean_b, delta, ci_low, ci_high, image_ci_low, image_ci_high, claim``.

    With two copies or more of each design ``claim`` is ``designs`` and ``ci_low, ci_high`` are over copies and images
    together (`copies.designs_interval`). Otherwise how much training again would move sfd cannot be known: ``claim`` is
    ``checkpoints`` and the interval is the one over images. That one is always in ``image_ci_low, image_ci_high``, for
    comparison.
    """
    found = list(pairs_of_designs(scores, groups, measure))
    keys, pairs = [key for key, _ in found], [both for _, both in found]
    intervals = mean_intervals([of_b.mean(axis=0) - of_a.mean(axis=0) for of_a, of_b in pairs])
    rows = []
    for (block, a, b), (of_a, of_b), (delta, *over_images) in zip(keys, pairs, intervals, strict=True):
        several = min(len(of_a), len(of_b)) >= 2
        speaks_of, interval = ("designs", designs_interval(of_a, of_b)) if several else ("checkpoints", over_images)
        counts = (len(of_a), len(of_b), of_a.shape[1])
        rows.append((block, a, b, *counts, mean(of_a), mean(of_b), delta, *interval, *over_images, speaks_of))
    return pd.DataFrame(rows, columns=GROUPS)


def lift_over_nulls(scores: pd.DataFrame, nulls: pd.DataFrame) -> pd.DataFrame:
    """How far each model's values stand above those of maps that know nothing of the image, paired per image.

    ``nulls`` is ``nulls.csv``: ``image, model, block, null, measure, value, status``. Returns ``model, block, measure,
    mean, null, mean_null, lift, ci_low, ci_high, n`` for every measure that both tables have: over the ``n`` images
    where model and null are both scored (so ``mean`` may differ a little from the summary's), ``lift = mean(value -
    null's value)`` with a 95 % interval over images. A mean sfd says little without it: a blind Gaussian at the centre
    can beat a trained network. Of a measure where less is better a good lift is below zero.
    """
    known = measures_of(nulls)
    found: list[tuple] = []
    for measure in measures_of(scores):
        if measure not in known:
            continue
        own = pair(scores, ["block", "model"], measure)
        blind = pair(nulls, ["block", "model", "null"], measure, "nulls")
        mine, theirs = of_measure(scores, measure)[0], of_measure(nulls, measure, "nulls")[0]
        there = set(theirs[["block", "model", "null"]].drop_duplicates().astype(str).itertuples(index=False, name=None))
        counts = sizes(mine)
        every = product(names(mine, "model"), names(mine, "block"), names(theirs, "null"))
        which = [(m, b, null) for m, b, null in every if (b, m) in counts and (b, m, null) in there]
        images = own.images.intersection(blind.images, sort=True)
        found += differences_of_paired(measure, own.on(images), blind.on(images), which)
    return lift_table(found)


def differences_of_paired(
    measure: str, own: Paired, blind: Paired, which: Sequence[tuple[str, str, str]]
) -> Iterator[tuple[str, str, str, str, float, float, np.ndarray]]:
    """What `lift_table` is made of: model, block, measure, null, both means, and the differences per image (n,), of each
    model, block and null in ``which``.

    ``own`` by block and model, ``blind`` by block, model and null, of the same images.
    """
    for model, block, null in which:
        both = np.stack([own.of((block, model)), blind.of((block, model, null))])
        both = both[:, ~np.isnan(both).any(axis=0)]
        yield model, block, measure, null, mean(both[0]), mean(both[1]), both[0] - both[1]


def lift_table(differences: Iterable[tuple]) -> pd.DataFrame:
    """The table of `lift_over_nulls`; those of one number of images share their resamples, whatever their measure."""
    known: list[tuple] = []

    def columns() -> Iterator[np.ndarray]:
        for *who, each in differences:
            known.append((*who, len(each)))
            yield each

    rows = [
        (model, block, measure, of_model, null, of_null, *interval, n)
        for interval, (model, block, measure, null, of_model, of_null, n) in zip(
            mean_intervals(columns()), known, strict=True
        )
    ]
    return pd.DataFrame(rows, columns=LIFTS)
