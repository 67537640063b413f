"""Groups of trained copies of one design: how their values vary, an interval for designs, how many copies it takes.

A design's values (copies, images) follow the two-way random effects model without replication (Searle, Casella and
McCulloch 1992, chapter 4): value = mean + copy + image + copy x image, the last with whatever noise there is. Its mean
squares give unbiased estimates of the three variances in closed form. A copy's effect is what training again changes on
all images alike, the interaction what it changes on one image and not on another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import fdtrc, stdtrit

from das_explain.stats import resampling
from das_explain.stats.claims import designs_of
from das_explain.stats.intervals import CONFIDENCE
from das_explain.stats.pairing import members, of_measure, pair

SPLIT = ["block", "group", "copies", "n", "sd_copy", "sd_image", "sd_copy_image", "p_value"]
PLAN = ["block", "group_a", "group_b", "copies_a", "copies_b", "n", "delta", "copies_needed"]
MOST_COPIES = 1000  # no study trains more: from here on the answer is "too many"


class Split(NamedTuple):
    """Variances of a design's values, in squared units of the measure; unbiased, so that they may fall below 0.

    ``p_value``: of the F test that all copies have the same mean.
    """

    copy: float
    image: float
    copy_image: float
    p_value: float


def split_variance(values: np.ndarray) -> Split:
    """Splits the variance of values (copies, images) into copy, image and copy x image (two-way random effects ANOVA).

    ``image`` is what is common to all copies, how much images differ. All NaN for fewer than two copies or images.

    >>> split = split_variance(np.array([[1.0, 4.0, 7.0], [5.0, 6.0, 7.0]]))
    >>> [round(part, 3) for part in split]
    [1.333, 3.0, 2.0, 0.225]
    """
    k, n = values.shape
    if min(k, n) < 2:
        return Split(np.nan, np.nan, np.nan, np.nan)
    of_copies, of_images = values.mean(axis=1), values.mean(axis=0)
    square_copy, square_image = n * np.var(of_copies, ddof=1), k * np.var(of_images, ddof=1)
    square = interaction(values)
    tiny = 1e-18 * max(1.0, float(np.abs(values).max()) ** 2)
    if square > tiny:
        p_value = float(fdtrc(k - 1, (k - 1) * (n - 1), square_copy / square))
    else:
        p_value = 1.0 if square_copy <= tiny else 0.0
    return Split(float((square_copy - square) / n), float((square_image - square) / k), square, p_value)


def interaction(values: np.ndarray) -> float:
    """The mean square of what neither copy nor image explains, of values (copies, images), two or more of each."""
    k, n = values.shape
    rest = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    return float(np.sum(rest**2) / ((k - 1) * (n - 1)))


def designs_interval(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """95 % interval of mean(b) - mean(a) for designs a (copies, images) and b (copies', images), over both together.

    The variance of the difference is that of the copies' means in each design, and what images add to it: the variance
    of the designs' mean difference per image less the share that the copies' means have counted already, copy x image,
    and never below 0:

        V = var(copies of a) / k + var(copies of b) / k' + max(0, var(images) - E_a / k - E_b / k') / n

    with E the mean squares of the interaction (`interaction`). The interval is delta +- t sqrt(V), t with Welch and
    Satterthwaite's degrees of freedom. Where images agree this is Welch's t interval over copies, where copies agree
    the t interval over images. Counting the interaction once is what makes it 95 % between the two: by simulation
    (normal values, 100 images, as many copies of each design) 93 to 98 % for 2 copies, 95 to 96 % for 3, 5 and 10,
    whether copies vary or not; adding the variances up as they are covers 96 to 100 %. With 2 copies of one design
    against 10 of another it may fall to 91 %. At least two copies of each design; fewer than two images give NaN.
    """
    if a.shape[1] < 2:
        return np.nan, np.nan
    delta = float(b.mean() - a.mean())
    variances = _variances(a, b)
    if variances.sum() < 1e-18:
        return delta, delta
    reach = float(_reach(variances, np.array([len(a) - 1, len(b) - 1, a.shape[1] - 1])))
    return delta - reach, delta + reach


def design_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of one design's values (copies, images), over copies and images together.

    V is that of `designs_interval`, in two parts, but each part has its own t, and the squares add up (Howe, JASA 69, 1974):

        reach^2 = t(k - 1)^2 var(copies) / k + t(n - 1)^2 max(0, var(images) - E / k) / n

    With as few degrees of freedom as two or three copies have, Satterthwaite's for the sum would hold the mean in 88 and 92
    of 100 cases only (normal values, 60 images); this holds it in 97 to 99 with 2 copies, 96 to 98 with 3, 95 to 97 with 5
    and 10, whether copies vary or not. Of one copy it is over images only. Fewer than two images give NaN.

    >>> [round(end, 3) for end in design_interval(np.array([[0.4, 0.6, 0.5], [0.5, 0.7, 0.6]]))]
    [-0.132, 1.232]
    """
    k, n = values.shape
    if n < 2:
        return np.nan, np.nan
    mean = float(values.mean())
    of_images = np.var(values.mean(axis=0), ddof=1)
    squares = 0.0
    if k > 1:
        of_images -= interaction(values) / k  # which the copies' means have counted already
        squares = _quantile(k - 1) ** 2 * np.var(values.mean(axis=1), ddof=1) / k
    squares += _quantile(n - 1) ** 2 * max(0.0, of_images) / n
    if squares < 1e-18:
        return mean, mean
    reach = float(np.sqrt(squares))
    return mean - reach, mean + reach


def _quantile(freedom: float) -> float:
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _variances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The three parts of the variance of mean(b) - mean(a): copies of a, copies of b, images."""
    of_images = np.var(b.mean(axis=0) - a.mean(axis=0), ddof=1)
    counted = interaction(a) / len(a) + interaction(b) / len(b)
    of_copies = [np.var(values.mean(axis=1), ddof=1) / len(values) for values in (a, b)]
    return np.array([*of_copies, max(0.0, of_images - counted) / a.shape[1]])


def _reach(variances: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """How far an interval reaches to either side, from the parts of its variance (parts, ...) and their degrees of
    freedom (parts,), not all of them 0; those of the sum are Satterthwaite's (1946).
    """
    total = variances.sum(axis=0)
    freedom = total**2 / np.tensordot(1 / degrees, variances**2, axes=1)
    return stdtrit(freedom, (1 + CONFIDENCE) / 2) * np.sqrt(total)


def variance_table(scores: pd.DataFrame, groups: Mapping[str, str], measure: str = "sfd") -> pd.DataFrame:
    """How much copies of a design differ, beside images: a row for every block and design with two copies or more.

    ``groups`` maps a model's name to its design's. Returns ``block, group, copies, n, sd_copy, sd_image, sd_copy_image,
    p_value``: standard deviations in units of the measure, 0 where the estimate of the variance is below 0
    (`split_variance`), on the ``n`` images scored for every copy; ``p_value`` of the F test that all copies have the
    same mean.
    """
    mine, _ = of_measure(scores, measure)
    wide, designs = pair(scores, ["block", "model"], measure), designs_of(mine, groups)
    rows = []
    for block, present in members(mine):
        for design, models in designs.items():
            copies = [model for model in models if model in present]
            if len(copies) < 2:
                continue
            values = wide.common(*((block, model) for model in copies))
            *parts, p_value = split_variance(values)
            rows.append((block, design, *values.shape, *np.sqrt(np.maximum(0, parts)), p_value))
    return pd.DataFrame(rows, columns=SPLIT)


def pairs_of_designs(
    scores: pd.DataFrame, groups: Mapping[str, str], measure: str = "sfd"
) -> Iterator[tuple[tuple[str, str, str], tuple[np.ndarray, np.ndarray]]]:
    """Block and two designs that both have it, and the values of each, (copies, images), on the images scored for every
    copy of both. The design that appears first comes first; copies by name.
    """
    mine, _ = of_measure(scores, measure)
    wide, designs = pair(scores, ["block", "model"], measure), designs_of(mine, groups)
    for block, present in members(mine):
        copies = {design: sorted(set(models) & set(present)) for design, models in designs.items()}
        for a, b in combinations([design for design in designs if copies[design]], 2):
            both = wide.common(*((block, model) for model in copies[a] + copies[b]))
            yield (block, a, b), (both[: len(copies[a])], both[len(copies[a]) :])


def plan_copies(
    scores: pd.DataFrame,
    groups: Mapping[str, str],
    measure: str = "sfd",
    images: int | None = None,
    power: float = 0.8,
) -> pd.DataFrame:
    """How many copies a study would take to tell two designs apart, were the difference seen here the true one.

    A row for every pair of designs with two copies or more of each, on every block both have: ``block, group_a,
    group_b, copies_a, copies_b, n, delta, copies_needed`` (`copies_needed`: of each design, infinite where images would
    have to be more, on ``images`` images or as many as here). As uncertain as the difference and the few copies that it
    is from.
    """
    rows = []
    for key, (a, b) in pairs_of_designs(scores, groups, measure):
        if min(len(a), len(b)) >= 2:
            delta = float(b.mean() - a.mean()) if a.size else np.nan
            rows.append((*key, len(a), len(b), a.shape[1], delta, copies_needed(a, b, delta, images, power)))
    return pd.DataFrame(rows, columns=PLAN)


def power_over_copies(a: np.ndarray, b: np.ndarray, copies: int, difference: float, images: int | None = None) -> float:
    """The chance that `designs_interval` of ``copies`` copies of each design excludes 0, were ``difference`` the truth.

    a (copies, images) and b (copies', images) are a pilot, two or more of each; its variances are taken for the true
    ones. ``images``: how many the study will have, as many as the pilot if left out. From 9999 simulated studies, drawn
    as their mean squares (normal values), so that its standard error is 0.005 at most. NaN for fewer than two images.
    """
    n = a.shape[1]
    if n < 2:
        return np.nan
    images, rng = n if images is None else images, np.random.default_rng(resampling.SEED)
    free, free_images, free_both = copies - 1, images - 1, (copies - 1) * (images - 1)
    squares = np.array([interaction(a), interaction(b)]) / images
    of_copies = np.maximum(0, [split_variance(a).copy, split_variance(b).copy]) + squares
    of_images = _variances(a, b)[2] * n / images
    if of_copies.sum() + of_images < 1e-18:
        return float(abs(difference) > 1e-9)

    def drawn(degrees: int) -> np.ndarray:
        return rng.chisquare(degrees, (2, resampling.RESAMPLES)) / degrees

    spread = np.sqrt(of_copies.sum() / copies + of_images)
    delta = difference + spread * rng.standard_normal(resampling.RESAMPLES)
    seen_images = (of_images + squares.sum() / copies) * drawn(free_images)[0]
    counted = (squares[:, None] * drawn(free_both)).sum(axis=0) / copies
    seen = np.stack([*(of_copies[:, None] * drawn(free) / copies), np.maximum(0, seen_images - counted)])
    return float(np.mean(np.abs(delta) > _reach(seen, np.array([free, free, free_images]))))


def copies_needed(
    a: np.ndarray, b: np.ndarray, difference: float, images: int | None = None, power: float = 0.8
) -> float:
    """The least number of copies of each design, 2 or more, with which `power_over_copies` reaches ``power``.

    Infinite where `MOST_COPIES` do not suffice, because images alone leave too much open: more images are needed then.
    """
    if a.shape[1] < 2:
        return np.nan
    low, high = 1, 2
    while power_over_copies(a, b, high, difference, images) < power:
        if high >= MOST_COPIES:
            return np.inf
        low, high = high, min(2 * high, MOST_COPIES)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_over_copies(a, b, middle, difference, images) >= power else (middle, high)
    return float(high)
