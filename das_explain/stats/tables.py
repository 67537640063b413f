"""Intervals and paired tests over the rows of a run: tables in, tables out, no paths and no printing.

Every function takes the table ``scores.csv``: one row per image, model and block, of which ``image, model, block, sfd,
status`` are read. A row counts as scored when its status is ``ok``; everything else stays out of the means. ``sfd``
lies in [0, 1] and has no unit. Rows are sorted by image before anything is drawn and every generator starts from one
fixed seed, so the order of the rows moves no digit, and neither does another model in the table.

Two claims are kept apart. An interval over images speaks of *these checkpoints*: it says what other photographs would
do. Training again moves sfd as well, often more, so a statement about *designs* needs several trained copies of each
and an interval over copies and images together (`compare_groups`). `claim` says which of the two a run can carry.

Malformed tables raise `DasExplainError`, malformed requests `UsageError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri
from scipy.stats import t as student

from das_explain.errors import DasExplainError, UsageError

RESAMPLES = 9999
CONFIDENCE = 0.95
FEW_COPIES = 5  # below this many trained copies per design a group interval is called rough
_SEED = 20
_BATCH_ELEMENTS = 1_000_000  # of one block of resamples, to bound memory (8 MB) whatever the number of images

# columns of summary.csv and comparison.csv, and of the two tables that are not files by contract
SUMMARY = ["model", "block", "n", "n_scored", "mean_sfd", "ci_low", "ci_high"]
COMPARISON = ["block", "model_a", "model_b", "n", "mean_a", "mean_b", "delta", "ci_low", "ci_high", "p_value",
    "p_adjusted", "win_rate"]  # fmt: skip
GROUPS = ["block", "group_a", "group_b", "copies_a", "copies_b", "n", "mean_a", "mean_b", "delta", "ci_low",
    "ci_high", "image_ci_low", "image_ci_high", "claim"]  # fmt: skip
LIFTS = ["model", "block", "mean_sfd", "null", "mean_null", "lift", "ci_low", "ci_high", "n"]


def summarize(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean sfd of every model and block, with a 95 % bootstrap interval over images (`mean_intervals`).

    Returns the columns of ``summary.csv``: ``model, block, n, n_scored, mean_sfd, ci_low, ci_high``; models and blocks
    in order of first appearance. ``n`` counts all rows, ``n_scored`` those with status ``ok``. Without a scored image
    the mean is NaN, with fewer than two the interval is.
    """
    wide = _wide(scores, ["block", "model"])
    sizes = scores.groupby([scores["model"].astype(str), scores["block"].astype(str)]).size()
    keys = [(m, b) for m in _names(scores, "model") for b in _names(scores, "block") if (m, b) in sizes.index]
    values = [_values(wide, (block, model))[0] for model, block in keys]
    rows = [
        (*key, int(sizes[key]), len(scored), *interval)
        for key, scored, interval in zip(keys, values, mean_intervals(values), strict=True)
    ]
    return pd.DataFrame(rows, columns=SUMMARY)


def compare(scores: pd.DataFrame) -> pd.DataFrame:
    """Every pair of models on every block both have, paired on the images that are scored for both.

    Returns the columns of ``comparison.csv``: ``block, model_a, model_b, n, mean_a, mean_b, delta, ci_low, ci_high,
    p_value, p_adjusted, win_rate``. ``model_a`` is the one that appears first; ``delta = mean(b - a)`` with a 95 %
    interval over images; ``p_value`` as in `sign_flip_p_value`; ``p_adjusted`` is Holm's over all rows of this table;
    ``win_rate`` is P(b > a) + P(b = a) / 2. Swapping the models negates ``delta``, mirrors the interval, keeps p and
    turns ``win_rate`` into its complement.

    Blocks pair by equal name only: ``layer4`` of a ResNet and ``features.17`` of a MobileNet stand in no row together.
    The claim is about the checkpoints, not about the designs they stand for; see `compare_groups`.
    """
    wide = _wide(scores, ["block", "model"])
    keys = [(block, a, b) for block, members in _members(scores) for a, b in combinations(members, 2)]
    pairs = [_values(wide, (block, a), (block, b)) for block, a, b in keys]
    differences = [of_b - of_a for of_a, of_b in pairs]
    rows = []
    for key, pair, difference, interval in zip(keys, pairs, differences, mean_intervals(differences), strict=True):
        wins = _mean(np.sign(difference) / 2 + 0.5)
        p_value = sign_flip_p_value(difference)
        rows.append((*key, len(difference), *map(_mean, pair), *interval, p_value, np.nan, wins))
    table = pd.DataFrame(rows, columns=COMPARISON)
    table["p_adjusted"] = holm(table["p_value"].to_numpy(dtype=float))
    return table


def compare_groups(scores: pd.DataFrame, groups: Mapping[str, str]) -> pd.DataFrame:
    """Every pair of designs on every block both have, where several checkpoints are copies of one design.

    ``groups`` maps a model's name to its design's; a model it does not name stands alone. Only images scored for all
    copies of both designs count (``n``), so the comparison is paired. Returns ``block, group_a, group_b, copies_a,
    copies_b, n, mean_a, mean_b, delta, ci_low, ci_high, image_ci_low, image_ci_high, claim``.

    With two copies or more of each design ``claim`` is ``designs`` and ``ci_low, ci_high`` come from a hierarchical
    bootstrap over copies and images together (`hierarchical_interval`). Otherwise how much training again would move
    sfd cannot be known: ``claim`` is ``checkpoints`` and the interval is the one over images. That one is always in
    ``image_ci_low, image_ci_high``, for comparison.
    """
    designs = _designs(scores, groups)
    wide = _wide(scores, ["block", "model"])
    keys, pairs = [], []
    for block, members in _members(scores):
        copies = {design: sorted(set(models) & set(members)) for design, models in designs.items()}
        for a, b in combinations([design for design in designs if copies[design]], 2):
            both = _values(wide, *((block, model) for model in copies[a] + copies[b]))
            keys.append((block, a, b))
            pairs.append((both[: len(copies[a])], both[len(copies[a]) :]))
    intervals = mean_intervals([of_b.mean(axis=0) - of_a.mean(axis=0) for of_a, of_b in pairs])
    rows = []
    for (block, a, b), (of_a, of_b), (delta, *over_images) in zip(keys, pairs, intervals, strict=True):
        speaks_of, interval = "checkpoints", over_images
        if min(len(of_a), len(of_b)) >= 2:
            speaks_of = "designs"
            if a < b:
                interval = hierarchical_interval(of_a, of_b)
            else:  # drawn in one order for both, so that swapping the designs mirrors the interval exactly
                interval = [-end for end in reversed(hierarchical_interval(of_b, of_a))]
        counts = (len(of_a), len(of_b), of_a.shape[1])
        rows.append((block, a, b, *counts, _mean(of_a), _mean(of_b), delta, *interval, *over_images, speaks_of))
    return pd.DataFrame(rows, columns=GROUPS)


def claim(scores: pd.DataFrame, groups: Mapping[str, str] | None = None) -> str:
    """In plain words, which claim a run can carry: about these checkpoints, or about the designs behind them."""
    copies = {design: len(models) for design, models in _designs(scores, groups or {}).items()}
    counts = ", ".join(f"{design} {count}" for design, count in copies.items())
    if len(copies) < 2:
        return (
            f"One design was scored (trained copies: {counts}): nothing is compared."
            if copies
            else "Nothing was scored."
        )
    single = [design for design, count in copies.items() if count == 1]
    if len(single) == len(copies):
        return (
            "This run compares checkpoints, not designs: its intervals are over images only, and training again may "
            "move sfd by more than they are wide. A claim about designs needs several trained copies of each, given as "
            "groups."
        )
    if single:
        return (
            f"Trained copies: {counts}. A comparison with {' or '.join(single)} speaks of checkpoints, not of designs: "
            "its interval is over images only, because one copy does not show what training again would change."
        )
    sentence = f"This run compares designs: its intervals are over trained copies ({counts}) and images together."
    if min(copies.values()) < FEW_COPIES:
        sentence += f" With fewer than {FEW_COPIES} copies of a design they are wide and rough."
    return sentence


def lift_over_nulls(scores: pd.DataFrame, nulls: pd.DataFrame) -> pd.DataFrame:
    """How far each model's sfd stands above maps that know nothing of the image, paired per image.

    ``nulls`` is ``nulls.csv``: ``image, model, block, null, sfd, status``. Returns ``model, block, mean_sfd, null,
    mean_null, lift, ci_low, ci_high, n``: over the ``n`` images where model and null are both scored (so ``mean_sfd``
    may differ a little from the summary's), ``lift = mean(sfd - null's sfd)`` with a 95 % interval over images.
    A mean sfd says little without it: a blind Gaussian at the centre can beat a trained network.
    """
    wide, wide_nulls = _wide(scores, ["block", "model"]), _wide(nulls, ["block", "model", "null"], "nulls")
    table = pd.concat([wide, wide_nulls], axis=1).sort_index()
    blocks = dict(_members(scores))
    present = set(nulls[["block", "model", "null"]].astype(str).itertuples(index=False, name=None))
    keys = [
        (model, block, null)
        for model in _names(scores, "model")
        for block in _names(scores, "block")
        for null in _names(nulls, "null")
        if model in blocks[block] and (block, model, null) in present
    ]
    pairs = [_values(table, (block, model), (block, model, null)) for model, block, null in keys]
    rows = []
    for (*key, null), pair, interval in zip(keys, pairs, mean_intervals([x - y for x, y in pairs]), strict=True):
        rows.append((*key, _mean(pair[0]), null, _mean(pair[1]), *interval, pair.shape[1]))
    return pd.DataFrame(rows, columns=LIFTS)


def mean_intervals(columns: Sequence[np.ndarray]) -> list[tuple[float, float, float]]:
    """Mean and 95 % BCa bootstrap interval (Efron 1987) of each column of values (n,), from 9999 resamples.

    Columns of one length share their resamples, and the jackknife of a mean is in closed form; equal to
    `scipy.stats.bootstrap(method="BCa")` on the same resamples, several times faster. No value: all NaN. One value: NaN
    ends. Equal values: both ends are that value.
    """
    columns = [np.asarray(column, dtype=float) for column in columns]
    results = [(_mean(column), np.nan, np.nan) for column in columns]
    for n in sorted({len(column) for column in columns} - {0, 1}):
        which = [i for i, column in enumerate(columns) if len(column) == n]
        resampled, rng, start = np.empty((len(which), RESAMPLES)), np.random.default_rng(_SEED), 0
        for size in _batches(n):
            drawn = rng.integers(0, n, (size, n))
            for row, i in enumerate(which):
                resampled[row, start : start + size] = columns[i].take(drawn).mean(axis=1)
            start += size
        for row, i in enumerate(which):
            results[i] = (_mean(columns[i]), *_bca(columns[i], resampled[row]))
    return results


def _bca(values: np.ndarray, resampled: np.ndarray) -> tuple[float, float]:
    """BCa ends for the mean of values (n,), n >= 2, from its bootstrap distribution (resamples,)."""
    mean = _mean(values)
    if np.ptp(values) < 1e-9:
        return mean, mean
    below = (np.mean(resampled < mean - 1e-12) + np.mean(resampled < mean + 1e-12)) / 2  # ties, whatever the rounding
    deviation = values - mean
    acceleration = np.sum(deviation**3) / (
        6 * np.sum(deviation**2) ** 1.5
    )  # leaving one out moves the mean by its share
    levels = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    if 0 < below < 1:
        z = ndtri(below) + ndtri(levels)
        levels = ndtr(ndtri(below) + z / (1 - acceleration * z))
    low, high = np.quantile(resampled, levels)
    return float(low), float(high)


def sign_flip_p_value(differences: np.ndarray) -> float:
    """Two-sided p of the paired permutation test on the mean of differences (n,); NaN for fewer than two.

    Chosen because it tests the very number the table shows, the mean difference: under the null the two models are
    interchangeable on each image, so each difference may as well have the other sign. Wilcoxon's test speaks of ranks
    and can call significant what the mean does not show, or the reverse. All sign patterns when there are at most 9999
    of them (n <= 13), else 9999 random ones and (1 + hits) / (1 + 9999), so p is never 0 (Phipson and Smyth 2010).
    """
    differences = np.asarray(differences, dtype=float)
    n = len(differences)
    if n < 2:
        return np.nan
    limit = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()  # a tie is a hit despite rounding
    if 2**n <= RESAMPLES:
        signs = 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1) - 1
        return float(np.mean(np.abs(signs @ differences) >= limit))
    hits, rng = 0, np.random.default_rng(_SEED)
    for size in _batches(n):
        signs = 2.0 * rng.integers(0, 2, (size, n), dtype=np.int8) - 1
        hits += int(np.sum(np.abs(np.einsum("ij,j->i", signs, differences)) >= limit))
    return (1 + hits) / (1 + RESAMPLES)


def hierarchical_interval(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """95 % interval of mean(b) - mean(a) for designs a (copies, images) and b (copies', images), over both together.

    Each of 9999 resamples draws copies within each design and, jointly for both designs, images. The drawn copies'
    deviations from their design's mean are scaled by sqrt(k / (k - 1)): resampling k values understates their variance
    by (k - 1) / k, half of it at k = 2. The interval is delta +- t * (standard deviation of the resamples), t with
    Welch and Satterthwaite's degrees of freedom: percentiles of so few copies would be far too narrow. At least two
    copies of each design; fewer than two images give NaN.
    """
    n = a.shape[1]
    if n < 2:
        return np.nan, np.nan
    drawn, rng = [], np.random.default_rng(_SEED)
    for size in _batches(n):
        images = rng.integers(0, n, (size, n))
        means = []
        for copies in (a, b):
            k = len(copies)
            each = np.stack([copy.take(images).mean(axis=1) for copy in copies])  # (k, size)
            design = each.mean(axis=0)
            chosen = np.take_along_axis(each, rng.integers(0, k, (k, size)), axis=0).mean(axis=0)
            means.append(design + np.sqrt(k / (k - 1)) * (chosen - design))
        drawn.append(means[1] - means[0])
    error = float(np.std(np.concatenate(drawn), ddof=1))
    delta = float(b.mean() - a.mean())
    if error < 1e-9:
        return delta, delta
    parts = a.mean(axis=1), b.mean(axis=1), b.mean(axis=0) - a.mean(axis=0)  # copies of a, of b; images
    variances = np.array([np.var(part, ddof=1) / len(part) for part in parts])
    degrees = variances.sum() ** 2 / np.sum(variances**2 / [len(part) - 1 for part in parts])
    reach = float(student.ppf((1 + CONFIDENCE) / 2, degrees)) * error
    return delta - reach, delta + reach


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment (1979) of p values (m,); NaN stay NaN and do not count as tests."""
    adjusted = np.full(len(p_values), np.nan)
    order = [i for i in np.argsort(p_values, kind="stable") if not np.isnan(p_values[i])]
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def _wide(table: pd.DataFrame, keys: list[str], name: str = "scores") -> pd.DataFrame:
    """The scored sfd with one row per image, sorted by image, and one column per combination of ``keys``."""
    _require(table, ["image", *keys, "sfd", "status"], name)
    scored = table.loc[table["status"] == "ok", ["image", *keys, "sfd"]].astype({key: str for key in ["image", *keys]})
    scored["sfd"] = pd.to_numeric(scored["sfd"], errors="coerce").astype(float)
    empty, twice = ~np.isfinite(scored["sfd"]), scored.duplicated(["image", *keys])
    for bad, problem in ((empty, "is ok but has no sfd"), (twice, "stands twice")):
        if bad.any():
            where = ", ".join(f"{key} {value}" for key, value in scored.loc[bad, ["image", *keys]].iloc[0].items())
            raise DasExplainError(f"the table of {name} is broken: the row of {where} {problem}; score the data again")
    wide = scored.pivot(index="image", columns=keys, values="sfd").sort_index()
    return wide.set_axis(wide.columns.to_flat_index(), axis=1)


def _require(table: pd.DataFrame, columns: list[str], name: str = "scores") -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DasExplainError(
            f"the table of {name} has no column {', '.join(missing)}: give the CSV of a das-explain run"
        )


def _values(wide: pd.DataFrame, *keys: tuple[str, ...]) -> np.ndarray:
    """The columns of these keys on the images that all of them have: float (keys, images)."""
    columns = [wide[key].to_numpy() if key in wide.columns else np.full(len(wide), np.nan) for key in keys]
    values = np.stack(columns)
    return np.ascontiguousarray(values[:, ~np.isnan(values).any(axis=0)])


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if np.size(values) else np.nan


def _names(table: pd.DataFrame, column: str) -> list[str]:
    """Distinct values in order of first appearance."""
    return list(dict.fromkeys(table[column].astype(str)))


def _members(scores: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    """Each block with the models that have it, all in order of first appearance."""
    present = set(zip(scores["block"].astype(str), scores["model"].astype(str), strict=True))
    for block in _names(scores, "block"):
        yield block, [model for model in _names(scores, "model") if (block, model) in present]


def _designs(scores: pd.DataFrame, groups: Mapping[str, str]) -> dict[str, list[str]]:
    """Design -> its checkpoints, in order of first appearance."""
    _require(scores, ["model"])
    models = _names(scores, "model")
    unknown = [model for model in groups if model not in models]
    if unknown:
        raise UsageError(f"no model is called {unknown[0]}: the run's models are {', '.join(models)}")
    clash = [model for model in models if model not in groups and model in groups.values()]
    if clash:
        raise UsageError(f"{clash[0]} is both a group and a model outside it: rename the group or put the model in it")
    designs: dict[str, list[str]] = {}
    for model in models:
        designs.setdefault(groups.get(model, model), []).append(model)
    return designs


def _batches(n: int) -> Iterator[int]:
    """Sizes of the blocks that make up `RESAMPLES` resamples of n values each, bounded in memory."""
    size = max(1, _BATCH_ELEMENTS // n)
    for start in range(0, RESAMPLES, size):
        yield min(size, RESAMPLES - start)
