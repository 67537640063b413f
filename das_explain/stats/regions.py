"""How much of a verdict hangs on one choice of region R, where the segmenter offers several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from das_explain.stats.pairing import pairs_of, require

RANGES = ["image", "model", "block", "alternatives", "sfd", "least", "greatest"]
FLIPS = ["block", "model_a", "model_b", "n", "flips", "share", "range_a", "range_b", "delta", "delta_low", "delta_high"]


def region_ranges(values: pd.DataFrame) -> pd.DataFrame:
    """How far sfd moves with R, image by image.

    ``values``: ``image, model, block, region, sfd``, a row for each mask that gives a score; ``region`` is empty for the
    one that is used. Returns ``image, model, block, alternatives, sfd, least, greatest``: how many other masks there
    are, sfd on the one that is used, the least and the greatest on any. Images without another mask, or without a score
    on the one that is used, are left out.
    """
    require(values, ["image", "model", "block", "region", "sfd"], "regions")
    keys = ["image", "model", "block"]
    own = values[values["region"] == ""].set_index(keys)["sfd"]
    every = values.groupby(keys, sort=False, observed=True)["sfd"].agg(["size", "min", "max"])
    every = every[(every["size"] > 1) & every.index.isin(own.index)]
    found = every.assign(alternatives=every["size"] - 1, sfd=own.reindex(every.index))
    return found.rename(columns={"min": "least", "max": "greatest"}).reset_index()[RANGES]


def region_flips(values: pd.DataFrame, baseline: str | None = None) -> pd.DataFrame:
    """How often another mask makes the other model win.

    ``values`` as in `region_ranges`. Returns a row for every block and pair of models: ``block, model_a, model_b, n,
    flips, share, range_a, range_b, delta, delta_low, delta_high``. Of the ``n`` images on which both models have a score
    on the mask used and on one other at least, on ``flips`` the sign of b - a is another on one of the others (a tie
    flips nothing); ``range_a`` and ``range_b`` are the mean widths of sfd's ranges over the masks that both have a score
    on. ``delta`` is the mean difference on the masks used; ``delta_low`` and ``delta_high`` the same with each image's
    mask chosen in favour of a, and of b. Without such an image ``n`` is 0 and the rest NaN.
    """
    require(values, ["image", "model", "block", "region", "sfd"], "regions")
    rows = []
    for block, a, b in pairs_of(values, baseline):
        mine = values[(values["block"] == block) & values["model"].isin([a, b])]
        wide = mine.pivot(index=["image", "region"], columns="model", values="sfd").reindex(columns=[a, b]).dropna()
        images = wide.index.get_level_values("image")
        used = set(images[wide.index.get_level_values("region") == ""])
        several = pd.Series(images).value_counts()
        chosen = [image for image in several.index[several > 1] if image in used]
        wide = wide[images.isin(chosen)]
        rows.append((block, a, b, *_of_pair(wide[a], wide[b])))
    return pd.DataFrame(rows, columns=FLIPS)


def _of_pair(a: pd.Series, b: pd.Series) -> tuple[Any, ...]:
    """The numbers of one row: sfd of two models, indexed by image and region."""
    if a.empty:
        return (0, *[np.nan] * (len(FLIPS) - 4))
    difference = b - a
    own = difference[difference.index.get_level_values("region") == ""].droplevel("region")
    by_image = difference.groupby("image")
    low, high = by_image.min().reindex(own.index), by_image.max().reindex(own.index)
    flips = int((((own > 0) & (low < 0)) | ((own < 0) & (high > 0))).sum())
    widths = [float(np.ptp(each.groupby("image").agg(["min", "max"]).to_numpy(), axis=1).mean()) for each in (a, b)]
    return (len(own), flips, flips / len(own), *widths, *(float(each.mean()) for each in (own, low, high)))


def region_sentence(row: Any) -> str:
    """A row of `region_flips` in words."""
    named = f"{row.model_b} \u2212 {row.model_a} at {row.block}"
    images = f"{row.n} image{'' if row.n == 1 else 's'}"
    return (
        f"On {images} the segmenter offers other masks for R: there the winner of {named} flips on {row.flips} "
        f"({row.share:.0%}), and the mean difference of {row.delta:+.3f} lies between {row.delta_low:+.3f} and "
        f"{row.delta_high:+.3f}, whichever masks are taken."
    )
