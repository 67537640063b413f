"""Is it the model or the metric? What becomes of a difference in other readings, with other masks, with exclusions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from das_explain.errors import UsageError
from das_explain.report import pairs
from das_explain.report.results import Results
from das_explain.report.tables import Cell, Row, Table, difference, name, numbers, plain, whole, words
from das_explain.report.words import number, p_text, percent, signed
from das_explain.stats.sensitivity import CHOICES, DEFAULT_READING, sensitivity, specification_curve
from das_explain.statuses import STATUSES

INTERVAL = "Difference, 95\N{NO-BREAK SPACE}% interval"


def default_reading(results: Results) -> Mapping[str, Any]:
    """The choices by which the run was scored."""
    scoring = results.section("scoring")
    return {**DEFAULT_READING, **{key: scoring[key] for key in ("scaling", "threshold", "box") if key in scoring}}


def held(results: Results) -> pd.DataFrame:
    """A row for every block and pair: in how many readings its sign holds (``stats.sensitivity.sensitivity``)."""
    try:
        found = sensitivity(results.readings, default_reading(results))
    except UsageError:  # not of this run's default reading
        return pd.DataFrame()
    return found[found["readings"] > 0]


def readings(results: Results) -> Table | None:
    """In how many readings the sign of each difference holds, and how far the differences go."""
    rows = []
    for row in held(results).itertuples(index=False):
        cells = (
            Cell(row.block),
            *pairs.names(results, row),
            Cell(signed(row.delta), strong=True),
            Cell(f"{row.same_sign} of {row.readings}", strong=True),
            whole(row.excludes_zero),
            whole(row.other_excludes_zero),
            *(Cell(signed(value)) for value in (row.least, row.median, row.greatest)),
        )
        rows.append(pairs.pair_row(results, row, *cells))
    columns = (
        *words("Block"),
        *pairs.heads(results),
        *numbers("As scored", "Sign holds in", "Interval on that side", "on the other", "Least", "Median", "Greatest"),
    )
    note = (
        "All readings are of the same images and maps: these are counts and no test. Interval: how many readings have "
        "a 95 % interval that excludes zero."
    )
    return Table("readings", "The same maps in every reading", columns, tuple(rows), note) if rows else None


def curves(results: Results) -> dict[str, Any] | None:
    """What the page draws specification curves from; None without readings.

    ``choices``: of each choice its name and its values as text. ``curves``: ``"0-1"`` -> block (its number, as text) ->
    ``values``, for each choice the number of its value in each reading, a digit of base 36 each; ``delta``, ``low`` and
    ``high`` in millionths (the last two None where there is no interval), ``n``; all in the order of the curve, those
    without a difference left out; ``default``: the place of the run's own.
    """
    try:
        table = specification_curve(results.readings, default_reading(results))
    except UsageError:
        return None
    table = table[np.isfinite(table["delta"])]
    if table.empty:
        return None
    choices, codes = [], {}
    for choice in CHOICES:
        known = list(dict.fromkeys(map(_text, results.readings[choice].unique())))
        if len(known) > len(_DIGITS):
            return None  # nothing that this program wrote
        choices.append([choice, known])
        codes[choice] = table[choice].map({value: known.index(_text(value)) for value in table[choice].unique()})
    table = table.assign(**codes)
    drawn: dict[str, dict[str, Any]] = {}
    for (block, a, b), mine in table.groupby(["block", "model_a", "model_b"], sort=False):
        pair, at = results.pair_name(a, b), results.blocks.index(block) if block in results.blocks else -1
        if not pair or at < 0:
            continue
        places = np.flatnonzero(mine["default"].to_numpy())
        drawn.setdefault(pair, {})[str(at)] = {
            "values": ["".join(map(_DIGITS.__getitem__, mine[choice])) for choice in CHOICES],
            **{key: _rounded(1e6 * mine[column]) for key, column in _ENDS.items()},
            "n": _rounded(mine["n"]),
            "default": int(places[0]) if len(places) else None,
        }
    return {"choices": choices, "curves": drawn}


_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ENDS = {"delta": "delta", "low": "ci_low", "high": "ci_high"}


def _rounded(column: pd.Series) -> list[int | None]:
    return [round(value) if math.isfinite(value) else None for value in column.to_numpy(dtype=float)]


def _text(value: Any) -> str:
    """A choice as people read it: 1, 1.0 and "1" alike."""
    try:
        return f"{float(value):g}"
    except ValueError:
        return str(value)[:40]


def exclusions(results: Results) -> Table | None:
    """Could images without a score decide? How many there are, and the difference with them at their worst and best."""
    rows = []
    for row in results.exclusions.itertuples(index=False):
        bounds = f"[{signed(row.bound_ci_low)}, {signed(row.bound_ci_high)}]"
        cells = (
            Cell(row.block),
            *pairs.names(results, row),
            whole(row.n),
            *(whole(value) for value in (row.excluded_a, row.excluded_b, row.excluded_both)),
            difference(row.delta, row.ci_low, row.ci_high),
            Cell(f"{signed(row.delta_low)} to {signed(row.delta_high)}", bounds),
            Cell("yes" if row.holds == 1 else "no", strong=True),
        )
        rows.append(pairs.pair_row(results, row, *cells))
    first, second = pairs.sides(results)
    columns = (
        *words("Block"),
        *pairs.heads(results),
        *numbers("Scored for both", f"Excluded for {first} only", f"for {second} only", "for both", INTERVAL),
        *numbers("With all, worst to best"),
        *words("Sign holds"),
    )
    note = (
        "Worst to best: every missing score at the end of its range that is worst for the second model, and at the one "
        "that is best; whatever the missing scores were, the difference over all images lies between. In brackets: the "
        "outer ends of the 95 % intervals. Images on which neither model could be scored for a reason of the image "
        "(no object, unreadable) stay out."
    )
    return Table("exclusions", "Can the excluded images decide?", columns, tuple(rows), note) if rows else None


def regions(results: Results) -> Table | None:
    """Where the segmenter offers several masks: how often another one makes the other model win."""
    rows = [
        pairs.pair_row(
            results,
            row,
            Cell(row.block),
            *pairs.names(results, row),
            whole(row.n),
            Cell(f"{row.flips:.0f}", f"({percent(row.share)})", strong=True),
            plain(row.range_a),
            plain(row.range_b),
            Cell(signed(row.delta), strong=True),
            Cell(f"{signed(row.delta_low)} to {signed(row.delta_high)}"),
        )
        for row in results.region_uncertainty.itertuples(index=False)
        if row.n > 0
    ]
    first, second = pairs.sides(results)
    columns = (
        *words("Block"),
        *pairs.heads(results),
        *numbers("Images", "Winner flips", f"Range of sfd, {first}", f"of {second}", "Difference", "with other masks"),
    )
    note = (
        "Of the images on which the segmenter offers several masks. Winner flips: another of them makes the other model "
        "win. Range: from the least to the greatest sfd of an image’s masks, on average. With other masks: the mean "
        "difference with each image’s mask chosen in favour of the first model, and of the second."
    )
    return Table("regions", "Does it hang on the choice of R?", columns, tuple(rows), note) if rows else None


def statuses(results: Results) -> Table | None:
    """How many images ended with which status, for each model and block."""
    table = results.statuses
    found = [status for status in STATUSES if status in set(table["status"])]
    found += [status for status in dict.fromkeys(table["status"]) if status not in STATUSES]
    counts = {(row.model, row.block, row.status): row.n for row in table.itertuples(index=False)}
    rows = [
        Row(
            (
                pairs.model(results, model),
                Cell(block),
                *(whole(float(counts.get((model, block, status), 0))) for status in found),
            )
        )
        for model, block in dict.fromkeys(zip(table["model"], table["block"], strict=True))
    ]
    columns = (*words("Model", "Block"), *numbers(*found))
    return Table("statuses", "Statuses of each model and block", columns, tuple(rows)) if rows else None


def effects(results: Results) -> Table | None:
    """How large each difference is by ranks, and how many images it takes to see it."""
    rows = []
    for row in results.effect_sizes.itertuples(index=False):
        cells = (
            Cell(row.block),
            *pairs.names(results, row),
            whole(row.n),
            difference(row.shift, row.shift_low, row.shift_high),
            Cell(signed(row.rank_biserial)),
            Cell(p_text(row.p_adjusted)),
            whole(row.images_needed),
        )
        rows.append(pairs.pair_row(results, row, *cells))
    columns = (
        *words("Block"),
        *pairs.heads(results),
        *numbers(
            "Images", "Shift, 95\N{NO-BREAK SPACE}% interval", "Rank-biserial", "p adjusted", "Images for 80 % power"
        ),
    )
    note = (
        "Shift: Hodges and Lehmann’s, the median of all means of two differences. p: Wilcoxon’s signed ranks, adjusted "
        "after Holm. Images for 80 % power: how many a paired t test takes to see a difference as large as the mean "
        "seen here; as uncertain as that difference is."
    )
    return Table("effects", "Effect sizes by ranks", columns, tuple(rows), note) if rows else None


def variance(results: Results) -> Table | None:
    """Of designs with several copies: how much of the variance lies between copies, images, and in both together."""
    rows = [
        Row(
            (
                name(row.group),
                Cell(row.block),
                whole(row.copies),
                whole(row.n),
                *(Cell(number(value)) for value in (row.sd_copy, row.sd_image, row.sd_copy_image)),
                Cell(p_text(row.p_value)),
            )
        )
        for row in results.variance.itertuples(index=False)
    ]
    columns = (
        *words("Design", "Block"),
        *numbers("Copies", "Images", "SD of copies", "SD of images", "SD of both", "p"),
    )
    note = (
        "Standard deviations of sfd: between the means of trained copies, between images, and of what is left, copy by "
        "image. p: F test that all copies have the same mean."
    )
    return Table("variance", "Copies of a design", columns, tuple(rows), note) if rows else None
