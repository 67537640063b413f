"""Could the images that have no score decide a comparison? How many there are, and the difference at their worst."""

from __future__ import annotations

import numpy as np
import pandas as pd

from das_explain.errors import UsageError
from das_explain.stats.intervals import mean_intervals
from das_explain.stats.pairing import codes, column_on, of_measure, pair, pairs_of, require, rows_on
from das_explain.statuses import WITHOUT_REGION

STATUSES = ["model", "block", "status", "n"]
BOUNDS = ["block", "model_a", "model_b", "n", "delta", "ci_low", "ci_high", "excluded_a", "excluded_b", "excluded_both",
    "delta_low", "delta_high", "bound_ci_low", "bound_ci_high", "holds"]  # fmt: skip
OF_THE_IMAGE = (*WITHOUT_REGION, "unreadable", "unknown_label", "no_partner")
"""Statuses that say nothing of a model: there was nothing to measure its map by."""


def count_statuses(scores: pd.DataFrame, measure: str = "sfd") -> pd.DataFrame:
    """How many images have which status: ``model, block, status, n``, where ``n`` is not 0.

    Models, blocks and statuses in order of first appearance; ``n`` of a model and block sum to its rows.
    """
    mine, _ = of_measure(scores, measure)
    require(mine, ["model", "block", "status"])
    columns = [codes(mine[name]) for name in ("model", "block", "status")]
    shape = [max(1, len(texts)) for _, texts in columns]
    counts = np.bincount(np.ravel_multi_index([found for found, _ in columns], shape), minlength=int(np.prod(shape)))
    cells = np.flatnonzero(counts)
    places = np.unravel_index(cells, shape)
    found = {name: texts[place] for name, (_, texts), place in zip(STATUSES, columns, places)}
    return pd.DataFrame({**found, "n": counts[cells]}, columns=STATUSES)


def compare_with_exclusions(
    scores: pd.DataFrame,
    measure: str = "sfd",
    bounds: tuple[float, float] = (0.0, 1.0),
    baseline: str | None = None,
) -> pd.DataFrame:
    """The paired difference on images scored for both models, and how far excluded images could move it.

    Returns ``block, model_a, model_b, n, delta, ci_low, ci_high, excluded_a, excluded_b, excluded_both, delta_low,
    delta_high, bound_ci_low, bound_ci_high, holds``. The first seven are as in `tables.compare`. ``excluded_a`` counts
    the images that a alone has no score for, ``excluded_both`` those that neither has one for because of a map.
    ``delta_low`` gives every missing score the value of ``bounds``, the least and the greatest that the measure can
    have, that is worst for b, ``delta_high`` the one that is best: whatever the missing scores were, the mean
    difference over all these images lies between (Manski 1989). ``bound_ci_low`` is the lower end of the 95 % interval
    over images at the worst, ``bound_ci_high`` the upper end at the best. ``holds``: both bounds have the sign of
    ``delta``, so that exclusions can't decide.

    An image on which both models are without a score for a reason of its own (`OF_THE_IMAGE`: no object, no mask,
    unreadable) has nothing to compare and stays out. `UsageError` if the bounds are not finite or a value lies outside
    them.
    """
    least, greatest = bounds
    if not (np.isfinite(bounds).all() and least < greatest):
        raise UsageError(f"{measure} has no bounds to count excluded images at: {least} to {greatest}")
    mine, _ = of_measure(scores, measure)
    wide = pair(scores, ["block", "model"], measure)
    if wide.values.size and (np.nanmin(wide.values) < least - 1e-6 or np.nanmax(wide.values) > greatest + 1e-6):
        raise UsageError(f"{measure} has values outside {least} to {greatest}: give the bounds that it has")
    images = codes(mine["image"])[1].sort_values()
    wide = wide.on(images)
    keys, counts, columns = pairs_of(mine, baseline), [], []
    for block, a, b in keys:
        values = wide.of((block, a)), wide.of((block, b))
        missing = [np.isnan(value) for value in values]
        statuses = (column_on(mine, "status", rows_on(mine, block, model, images)) for model in (a, b))
        of_image = [status.isin(OF_THE_IMAGE).to_numpy() for status in statuses]
        counted = ~(missing[0] & missing[1] & of_image[0] & of_image[1])
        low = np.where(missing[1], least, values[1]) - np.where(missing[0], greatest, values[0])
        high = np.where(missing[1], greatest, values[1]) - np.where(missing[0], least, values[0])
        known = ~missing[0] & ~missing[1]
        columns += [(values[1] - values[0])[known], low[counted], high[counted]]
        one = (int((missing[0] & ~missing[1]).sum()), int((missing[1] & ~missing[0]).sum()))
        counts.append((int(known.sum()), *one, int((missing[0] & missing[1] & counted).sum())))
    intervals, rows = mean_intervals(columns), []
    for place, (key, (n, *excluded)) in enumerate(zip(keys, counts, strict=True)):
        seen, (worst, worst_end, _), (best, _, best_end) = intervals[3 * place : 3 * place + 3]
        holds = bool(worst * seen[0] > 0 and best * seen[0] > 0)
        rows.append((*key, n, *seen, *excluded, worst, best, worst_end, best_end, holds))
    return pd.DataFrame(rows, columns=BOUNDS)
