"""Designs, each known from several trained copies: means, lifts, differences and readings, over copies and images together.

Long tables in (``image, model, block, measure, value, status`` and for nulls ``null``), tables out. ``groups`` maps a
model's name to its design's; a model that it does not name is a design of one copy, whose intervals are over images only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit

from das_explain.stats.claims import designs_of
from das_explain.stats.copies import copies_needed, design_interval, pairs_of_designs, split_variance
from das_explain.stats.intervals import CONFIDENCE, mean_intervals_in_closed_form
from das_explain.stats.pairing import measures_of, members, names, of_measure, pair
from das_explain.stats.tables import GROUPS, compare_groups

COPIES = ["group", "model", "block", "measure", "n", "mean"]
MEANS = ["measure", "block", "group", "copies", "n", "mean", "ci_low", "ci_high", "least", "greatest", "sd_copy",
    "sd_image", "sd_copy_image"]  # fmt: skip
DIFFERENCES = ["measure", *GROUPS, "copies_needed"]
LIFTS = ["measure", "block", "group", "null", "copies", "n", "mean", "mean_null", "lift", "ci_low", "ci_high"]
CORRELATIONS = ["measure", "block", "copies", "r", "ci_low", "ci_high", "rho", "within", "within_ci_low",
    "within_ci_high"]  # fmt: skip


def copy_means(table: pd.DataFrame, groups: Mapping[str, str]) -> pd.DataFrame:
    """The mean of each measure for each trained copy and block: ``group, model, block, measure, n, mean``, on the ``n``
    images that are scored for this copy."""
    rows = []
    for measure in measures_of(table):
        mine, _ = of_measure(table, measure)
        wide, designs = pair(table, ["block", "model"], measure), designs_of(mine, _present(mine, groups))
        for block, present in members(mine):
            for design, models in designs.items():
                for model in (model for model in models if model in present):
                    (values,) = wide.common((block, model))
                    rows.append((design, model, block, measure, len(values), _mean(values)))
    return pd.DataFrame(rows, columns=COPIES)


def design_means(table: pd.DataFrame, groups: Mapping[str, str]) -> pd.DataFrame:
    """The mean of each measure for each design and block, on the ``n`` images scored for all of its copies.

    Returns ``measure, block, group, copies, n, mean, ci_low, ci_high, least, greatest, sd_copy, sd_image,
    sd_copy_image``: the interval is `copies.design_interval`'s, ``least`` and ``greatest`` are means of single copies,
    the rest is how the values vary (`copies.split_variance`; 0 where the estimate is below 0, NaN of one copy).
    """
    rows = []
    for measure, block, design, values in _designs(table, groups):
        of_copies = values.mean(axis=1) if values.size else np.array([np.nan])
        parts = np.sqrt(np.maximum(0, split_variance(values)[:3]))
        interval = design_interval(values)
        rows.append(
            (measure, block, design, *values.shape, _mean(values), *interval, of_copies.min(), of_copies.max(), *parts)
        )
    return pd.DataFrame(rows, columns=MEANS)


def design_differences(table: pd.DataFrame, groups: Mapping[str, str]) -> pd.DataFrame:
    """`tables.compare_groups` for every measure, with ``copies_needed``: how many copies of each design would tell the
    two apart in four of five studies, were the difference seen here the true one (NaN of one copy, infinite where only
    more images would)."""
    parts = []
    for measure in measures_of(table):
        mine, _ = of_measure(table, measure)
        present = _present(mine, groups)
        compared = compare_groups(table, present, measure)
        pairs = [both for _, both in pairs_of_designs(table, present, measure)]
        needed = [
            copies_needed(a, b, float(b.mean() - a.mean())) if min(len(a), len(b)) >= 2 and a.shape[1] > 1 else np.nan
            for a, b in pairs
        ]
        parts.append(compared.assign(measure=measure, copies_needed=needed)[DIFFERENCES])
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=DIFFERENCES)


def design_lifts(table: pd.DataFrame, nulls: pd.DataFrame, groups: Mapping[str, str]) -> pd.DataFrame:
    """How far each design stands above each null, paired per copy and image: ``measure, block, group, null, copies, n,
    mean, mean_null, lift, ci_low, ci_high``, on the images where all copies and their nulls are scored. Of a measure
    where less is better a good lift is below zero.
    """
    rows = []
    known = measures_of(nulls) if len(nulls) else []
    for measure in (each for each in measures_of(table) if each in known):
        mine, theirs = of_measure(table, measure)[0], of_measure(nulls, measure, "nulls")[0]
        designs = designs_of(mine, _present(mine, groups))
        wide, blind = (
            pair(table, ["block", "model"], measure),
            pair(nulls, ["block", "model", "null"], measure, "nulls"),
        )
        images = wide.images.intersection(blind.images, sort=True)
        wide, blind = wide.on(images), blind.on(images)
        for block, present in members(mine):
            for design, models in designs.items():
                copies = [model for model in models if model in present]
                for null in names(theirs, "null") if copies else ():
                    own = np.stack([wide.of((block, model)) for model in copies])
                    fake = np.stack([blind.of((block, model, null)) for model in copies])
                    there = ~np.isnan(own + fake).any(axis=0)
                    own, fake = own[:, there], fake[:, there]
                    difference = own - fake
                    means = _mean(own), _mean(fake), _mean(difference)
                    rows.append((measure, block, design, null, *own.shape, *means, *design_interval(difference)))
    return pd.DataFrame(rows, columns=LIFTS)


def correlate(copies: pd.DataFrame, accuracy: str) -> pd.DataFrame:
    """Do copies that are more often right look at the object more? A row for each measure and block of `copy_means`.

    ``accuracy`` is the measure of ``copies`` that says how often a copy is right. Returns ``measure, block, copies, r,
    ci_low, ci_high, rho, within, within_ci_low, within_ci_high``: Pearson's r over all copies of all designs with
    Fisher's 95 % interval, Spearman's rho, and r within designs, that is of what a copy differs by from its design's
    mean: only that is free of whatever else sets the designs apart. NaN where there are too few copies, or all alike.
    """
    right = copies[copies["measure"] == accuracy].set_index("model")["mean"]
    rows = []
    for measure in (each for each in names(copies, "measure") if each != accuracy):
        of_measure_ = copies[copies["measure"] == measure]
        for block in names(of_measure_, "block"):
            mine = of_measure_[of_measure_["block"].astype(str) == block]
            x, y = right.reindex(mine["model"]).to_numpy(float), mine["mean"].to_numpy(float)
            usable = np.isfinite(x) & np.isfinite(y)
            x, y, group = x[usable], y[usable], mine["group"].astype(str).to_numpy(dtype=object)[usable]
            r, rho = (
                _pearson(x, y),
                _pearson(*(pd.Series(each).rank().to_numpy() for each in (x, y))) if len(x) else np.nan,
            )
            inner = _pearson(*(_within(each, group) for each in (x, y)))
            counts = len(x), len(x) - len(set(group)) + 1
            rows.append((measure, block, len(x), r, *_fisher(r, counts[0]), rho, inner, *_fisher(inner, counts[1])))
    return pd.DataFrame(rows, columns=CORRELATIONS)


def intervals_of_designs(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`copies.designs_interval` of many columns at once: a (copies, images, columns), b (copies', images, columns), NaN
    being no value -> n, difference of means and the ends of its interval, each (columns,).

    ``n`` counts the images that have a value for all copies of both. With one copy of a design the interval is over
    images only.

    >>> a, b = np.array([[[0.1], [0.3], [0.5]], [[0.3], [0.3], [0.5]]]), np.full((2, 3, 1), 0.5)
    >>> [array.round(3).tolist() for array in intervals_of_designs(a, b)]
    [[3], [0.167], [-0.142], [0.475]]
    """
    known = ~(np.isnan(a).any(axis=0) | np.isnan(b).any(axis=0))
    n = known.sum(axis=0)
    if min(len(a), len(b)) < 2:
        return mean_intervals_in_closed_form(np.where(known, b.mean(axis=0) - a.mean(axis=0), np.nan))
    with np.errstate(invalid="ignore", divide="ignore"):
        (mean_a, images_a, copies_a, counted_a), (mean_b, images_b, copies_b, counted_b) = (
            _moments(np.where(known, values, 0.0), known, n) for values in (a, b)
        )
        delta = mean_b - mean_a
        apart = np.where(known, images_b - images_a - delta, 0)
        of_images = np.maximum(0, (apart**2).sum(axis=0) / (n - 1) - counted_a - counted_b) / n
        variances = np.stack([copies_a, copies_b, of_images])
        degrees = np.stack([np.full(len(n), len(a) - 1), np.full(len(n), len(b) - 1), n - 1])
        total = variances.sum(axis=0)
        freedom = total**2 / (variances**2 / degrees).sum(axis=0)
        reach = stdtrit(freedom, (1 + CONFIDENCE) / 2) * np.sqrt(total)
    reach = np.where(n > 1, np.where(total < 1e-18, 0.0, reach), np.nan)
    return n, np.where(n > 0, delta, np.nan), delta - reach, delta + reach


def _moments(values: np.ndarray, known: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of values (copies, images, columns), 0 where not known: mean, means of images, variance of the mean by copies, and
    the share of the interaction in it."""
    k = len(values)
    of_copies, of_images = values.sum(axis=1) / n, values.mean(axis=0)
    middle = of_copies.mean(axis=0)
    rest = np.where(known, values - of_copies[:, None] - of_images + middle, 0)
    square = (rest**2).sum(axis=(0, 1)) / ((k - 1) * (n - 1))
    return middle, of_images, np.var(of_copies, axis=0, ddof=1) / k, square / k


def _designs(table: pd.DataFrame, groups: Mapping[str, str]) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Measure, block and design, and its values (copies, images) on the images scored for all copies."""
    for measure in measures_of(table):
        mine, _ = of_measure(table, measure)
        wide, designs = pair(table, ["block", "model"], measure), designs_of(mine, _present(mine, groups))
        for block, present in members(mine):
            for design, models in designs.items():
                if copies := [model for model in models if model in present]:
                    yield measure, block, design, wide.common(*((block, model) for model in copies))


def _present(table: pd.DataFrame, groups: Mapping[str, str]) -> dict[str, str]:
    """The groups of those models that the table has: a measure may have no value of one."""
    there = set(names(table, "model"))
    return {model: group for model, group in groups.items() if model in there}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else np.nan


def _within(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    return values - pd.Series(values).groupby(group).transform("mean").to_numpy()


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    if len(x) < 3 or np.ptp(x) < 1e-12 or np.ptp(y) < 1e-12:
        return np.nan
    return float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))


def _fisher(r: float, count: int) -> tuple[float, float]:
    """Fisher's interval of a correlation of so many pairs."""
    if count < 4 or np.isnan(r) or abs(r) > 1 - 1e-12:
        return np.nan, np.nan
    reach = ndtri((1 + CONFIDENCE) / 2) / np.sqrt(count - 3)
    return float(np.tanh(np.arctanh(r) - reach)), float(np.tanh(np.arctanh(r) + reach))
