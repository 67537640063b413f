"""Whether measures say the same: of which images a model is better on, and of which model is better."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import ndtr

from das_explain.errors import UsageError
from das_explain.stats.pairing import measures_of, names, of_measure, pair, pairs_of

_EXACT = 33  # images up to which the distribution of tau is counted out, as scipy does
RANKS = ["block", "model_a", "model_b", "measure_a", "measure_b", "n", "tau", "p_value"]
SIGNS = ["block", "model_a", "model_b", "reference", "sign", "measures", "same", "same_clear", "other_clear"]


def rank_agreement(
    measures: pd.DataFrame, higher_is_better: Mapping[str, bool] | None = None, baseline: str | None = None
) -> pd.DataFrame:
    """How alike two measures order the images by the difference between two models: Kendall's tau (1938), with ties.

    ``measures`` is measures.csv (`pairing`). The difference is b - a, its sign turned where ``higher_is_better`` says
    False of the measure (True where it says nothing), so that a positive tau always means agreement. Returns ``block,
    model_a, model_b, measure_a, measure_b, n, tau, p_value``: tau-b in [-1, 1] over the ``n`` images scored for both
    models by both measures, and the p of no association; NaN for fewer than two images, or where a measure does not
    differ on any.
    """
    known = measures_of(measures)
    wide = {measure: pair(measures, ["block", "model"], measure) for measure in known}
    images = next(iter(wide.values())).images if wide else pd.Index([])
    for paired in wide.values():
        images = images.union(paired.images)
    wide = {measure: paired.on(images) for measure, paired in wide.items()}
    pairs = {measure: pairs_of(of_measure(measures, measure)[0], baseline) for measure in known}
    return rank_agreement_among(pairs, lambda measure, key: wide[measure].of(key), higher_is_better)


def rank_agreement_among(
    pairs: Mapping[str, Sequence[tuple[str, str, str]]],
    values: Callable[[str, tuple[str, str]], np.ndarray],
    higher_is_better: Mapping[str, bool] | None = None,
) -> pd.DataFrame:
    """`rank_agreement` of measures whose pairs are given as block and two models; ``values`` gives those of a measure, by
    block and model, float64 (images,), all of the same images."""
    turned, rows = _signs(pairs, higher_is_better), []
    for block, a, b in dict.fromkeys(key for keys in pairs.values() for key in keys):
        having = [measure for measure in turned if (block, a, b) in pairs[measure]]
        of_pair = {m: turned[m] * (values(m, (block, b)) - values(m, (block, a))).round(10) for m in having}
        for one, other in combinations(having, 2):
            both = ~np.isnan(of_pair[one] + of_pair[other])
            tau, p_value = np.nan, np.nan
            if both.sum() >= 2:
                tau, p_value = _kendall(of_pair[one][both], of_pair[other][both])
            rows.append((block, a, b, one, other, int(both.sum()), float(tau), float(p_value)))
    return pd.DataFrame(rows, columns=RANKS)


def _kendall(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Kendall's tau-b and its p of two values or more each; of two values it is a sign, and says nothing."""
    if len(x) == 2:
        sign = np.sign(np.diff(x) * np.diff(y))[0]
        return (sign, 1.0) if sign else (np.nan, np.nan)
    n = len(x)
    every, order = n * (n - 1) // 2, np.lexsort((y, x))
    x, y = (np.unique(values[order], return_inverse=True)[1] for values in (x, y))
    tied = [int(_pairs(np.bincount(values)).sum()) for values in (x, y)]
    both = int(_pairs(np.unique(x * n + y, return_counts=True)[1]).sum())
    untied = [every - each for each in tied]
    if not all(untied):
        return np.nan, np.nan
    discordant = _inverted(y)
    concordant = every - sum(tied) + both - 2 * discordant  # less those that are not
    tau = float(np.clip(concordant / np.sqrt(untied[0]) / np.sqrt(untied[1]), -1, 1))
    fewer = min(discordant, every - discordant)
    if not any(tied) and (n <= _EXACT or fewer <= 1):
        return tau, min(1.0, 2 * _share_inverted(n, fewer))
    groups = [np.bincount(values).astype(float) for values in (x, y)]
    ties, threes, spreads = ([np.sum(each(t)) for t in groups] for each in (_pairs, _threes, _spread))
    variance = (2 * every * (2 * n + 5) - sum(spreads)) / 18 + ties[0] * ties[1] / every
    variance += threes[0] * threes[1] / (18 * every * (n - 2))
    return tau, float(2 * ndtr(-abs(concordant) / np.sqrt(variance)))


def _pairs(tied: np.ndarray) -> np.ndarray:
    return tied * (tied - 1) / 2


def _threes(tied: np.ndarray) -> np.ndarray:
    return tied * (tied - 1) * (tied - 2)


def _spread(tied: np.ndarray) -> np.ndarray:
    return tied * (tied - 1) * (2 * tied + 5)


def _inverted(ranks: np.ndarray) -> int:
    """How many pairs of ranks (n,) stand the wrong way round: halves that are in order are merged, all of a length at once."""
    size = 1 << max(1, len(ranks) - 1).bit_length()
    halves = np.full(size, len(ranks), np.int64)  # what fills up is greatest, and stands last
    halves[: len(ranks)] = ranks
    found, width = 0, 1
    while width < size:
        blocks = halves.reshape(-1, 2, width) + (len(ranks) + 1) * np.arange(size // (2 * width))[:, None, None]
        places = np.searchsorted(blocks[:, 0].ravel(), blocks[:, 1].ravel(), side="right").reshape(-1, width)
        found += int((width * np.arange(1, len(places) + 1)[:, None] - places).sum())
        halves, width = np.sort(halves.reshape(-1, 2 * width), axis=1).ravel(), 2 * width
    return found


def _share_inverted(n: int, most: int) -> float:
    """The share of orders of n things with at most so many inversions."""
    ways = np.ones(1)
    for each in range(2, n + 1):
        ways = np.convolve(ways, np.full(each, 1 / each))[: most + 1]
    return float(ways.sum())


def sign_agreement(
    comparisons: pd.DataFrame, higher_is_better: Mapping[str, bool] | None = None, reference: str = "sfd"
) -> pd.DataFrame:
    """In how many measures the same model of a pair is the better one.

    ``comparisons`` is the table of `tables.compare_measures`. Returns ``block, model_a, model_b, reference, sign,
    measures, same, same_clear, other_clear``: ``sign`` is 1 where by the ``reference`` measure b is better, -1 where a
    is, 0 where neither; of ``measures`` that have a difference (the reference among them), ``same`` have its sign,
    ``same_clear`` with an interval that excludes 0, and ``other_clear`` the other sign with such an interval. Better is
    more, but where ``higher_is_better`` says False. A pair that the reference does not compare has no row.
    """
    turned = _signs(names(comparisons, "measure"), higher_is_better)
    if len(comparisons) and reference not in turned:
        raise UsageError(f"no measure is called {reference}: the table has {', '.join(turned)}")
    found: dict[tuple[str, str, str], list[tuple[str, float, bool]]] = {}
    columns = (
        comparisons[name].tolist() for name in ("block", "model_a", "model_b", "measure", "delta", "ci_low", "ci_high")
    )
    for block, a, b, measure, delta, low, high in zip(*columns, strict=True):
        sign = turned[str(measure)] * np.sign(round(delta, 10))
        if not np.isnan(sign):
            found.setdefault((block, a, b), []).append((str(measure), sign, low > 0 or high < 0))
    rows = []
    for key, mine in found.items():
        said = next((sign for measure, sign, _ in mine if measure == reference), None)
        if said is not None:
            same = [clear for _, sign, clear in mine if sign == said]
            other = [clear for _, sign, clear in mine if sign and sign != said]
            rows.append((*key, reference, int(said), len(mine), len(same), sum(same), sum(other)))
    return pd.DataFrame(rows, columns=SIGNS)


def _signs(measures: Iterable[str], higher_is_better: Mapping[str, bool] | None) -> dict[str, int]:
    """1 for a measure where more is better, -1 where less is."""
    better = higher_is_better or {}
    return {measure: 1 if better.get(measure, True) else -1 for measure in measures}
