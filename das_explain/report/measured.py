"""Tables of what all measures say: of each model beside blind maps, of each pair, and how far the measures agree."""

from __future__ import annotations

import math
from typing import Any

from das_explain.evidence.values import Key
from das_explain.measures import MEASURES
from das_explain.nulls import NULLS
from das_explain.report import pairs
from das_explain.report.results import Results
from das_explain.report.tables import (
    Cell,
    Row,
    Table,
    difference,
    in_order,
    marks,
    name,
    numbers,
    plain,
    whole,
    words,
)
from das_explain.report.words import number, p_text


def title_of(measure: str) -> str:
    """What people call a measure."""
    return MEASURES[measure].title if measure in MEASURES else measure


def null_title(null: str) -> str:
    """What people call a null."""
    return NULLS[null].title if null in NULLS else null


def reads(measure: str) -> str:
    """Which way a measure counts."""
    if measure not in MEASURES:
        return ""
    return "more is better" if MEASURES[measure].higher_is_better else "less is better"


def better(measure: str, delta: float, a: str, b: str) -> str:
    """The model that a difference b - a is in favour of, as the measure counts; empty where it rounds to zero."""
    if measure not in MEASURES or math.isnan(delta) or abs(delta) < 5e-4:
        return ""
    return b if (delta > 0) == MEASURES[measure].higher_is_better else a


def measures(results: Results) -> Table | None:
    """Every measure of every pair at every block, with its difference; of a single model its means."""
    if not len(results.measure_comparison):
        return _means(results)
    compared = list(results.measure_comparison.itertuples(index=False))
    ends: dict[str, list[tuple[float, float, float]]] = {}  # of each measure, which has a scale of its own
    for row in compared:
        ends.setdefault(row.measure, []).append((row.delta, row.ci_low, row.ci_high))
    drawn = {measure: iter(marks(each)) for measure, each in ends.items()}
    rows = []
    for row in compared:
        ahead = better(row.measure, row.delta, row.model_a, row.model_b)
        cells = (
            Cell(title_of(row.measure)),
            Cell(row.block),
            *pairs.names(results, row),
            *pairs.means(row),
            difference(row.delta, row.ci_low, row.ci_high),
            Cell(mark=next(drawn[row.measure])),
            Cell(p_text(row.p_adjusted)),
            pairs.model(results, ahead),
            Cell(reads(row.measure)),
        )
        rows.append(pairs.pair_row(results, row, *cells))
    return Table(
        "measures",
        "Every measure, on the same maps",
        (
            *words("Measure", "Block"),
            *pairs.heads(results),
            *pairs.mean_heads(results),
            *numbers("Difference, 95\N{NO-BREAK SPACE}% interval"),
            *pairs.drawn_head(results),
            *numbers("p adjusted"),
            *words("Better", "Reads"),
        ),
        tuple(rows),
        "Means and differences (second minus first) over the images that have a value for both. Intervals: bootstrap "
        "over images; p: paired permutation test, adjusted after Holm within each measure. Pictures: each measure has a "
        "scale of its own. “Better” names the sign of the difference, as the measure counts, not a test.",
    )


def _means(results: Results) -> Table | None:
    tally = results.tally.measured
    rows = [
        Row((Cell(title_of(measure)), Cell(at.block), name(at.model), plain(mean.value), Cell(reads(measure))))
        for (measure, at), mean in tally.items()
    ]
    columns = (*words("Measure", "Block", "Model"), *numbers("Mean"), *words("Reads"))
    note = "Means over the images that have a value."
    return Table("measures", "Every measure, on the same maps", columns, tuple(rows), note) if rows else None


def lifts(results: Results) -> Table | None:
    """For every measure, block and model its lift over each null."""
    nulls = list(dict.fromkeys(results.lift["null"]))
    found: dict[tuple[str, Key], dict[str, Any]] = {}
    for row in results.lift.itertuples(index=False):
        found.setdefault((row.measure, Key(row.model, row.block)), {})[row.null] = row
    rows = []
    for (measure, at), over in found.items():
        each = [over.get(null) for null in nulls]
        cells = [difference(row.lift, row.ci_low, row.ci_high) if row is not None else Cell("–") for row in each]
        head = (Cell(title_of(measure)), Cell(at.block), pairs.model(results, at.model))
        rows.append(Row((*head, plain(next(iter(over.values())).mean), *cells)))
    columns = (
        *words("Measure", "Block", "Model"),
        *numbers("Mean", *(f"Lift over {null_title(null)}" for null in nulls)),
    )
    return Table("nulls", "Lift over every blind map, for every measure", columns, tuple(rows)) if rows else None


def signs(results: Results) -> Table | None:
    """In how many measures the model that sfd puts ahead is ahead."""
    rows = []
    for row in results.signs.itertuples(index=False):
        ahead = "" if not row.sign else row.model_b if row.sign > 0 else row.model_a
        cells = (
            Cell(row.block),
            *pairs.names(results, row),
            pairs.model(results, ahead, "neither"),
            Cell(f"{row.same:.0f} of {row.measures:.0f}", strong=True),
            whole(row.same_clear),
            whole(row.other_clear),
        )
        rows.append(pairs.pair_row(results, row, *cells))
    columns = (
        *words("Block"),
        *pairs.heads(results),
        *words("Better by sfd"),
        *numbers("Measures with that sign", "of them clear", "Clear the other way"),
    )
    note = (
        "Clear: the 95 % interval of the difference excludes zero. Measures of the same maps are no independent "
        "witnesses: agreement shows that the outcome does not hang on one of them, not that it is true."
    )
    return Table("signs", "Do the measures agree on who is better?", columns, tuple(rows), note) if rows else None


def agreement(results: Results) -> Table | None:
    """Kendall's tau over images between the differences of every two measures."""
    rows = []
    for row in results.agreement.itertuples(index=False):
        cells = (
            Cell(title_of(row.measure_a)),
            Cell(title_of(row.measure_b)),
            Cell(row.block),
            *pairs.names(results, row),
            Cell(difference(row.tau, math.nan, math.nan).text, strong=True),
            Cell(p_text(row.p_value)),
            whole(row.n),
        )
        rows.append(pairs.pair_row(results, row, *cells))
    columns = (
        *words("Measure", "and measure", "Block"),
        *pairs.heads(results),
        *numbers("Kendall’s tau", "p", "Images"),
    )
    note = (
        "Rank agreement over images between the differences of the two models by one measure and by the other, each "
        "turned so that more is better: 1, the same order; 0, none; −1, the opposite."
    )
    return Table("agreement", "Do they rank the images alike?", columns, tuple(rows), note) if rows else None


def best_iou(results: Results) -> Table | None:
    """Where IoU was measured: its mean at the run's threshold, and at the one that is best over the data set."""
    rows = [
        Row(
            (
                Cell(row.block),
                pairs.model(results, row.model),
                whole(row.n),
                *(plain(value) for value in (row.threshold, row.mean_iou, row.best_threshold)),
                Cell(number(row.best_iou), strong=True),
            )
        )
        for row in results.best_iou.itertuples(index=False)
    ]
    columns = (
        *words("Block", "Model"),
        *numbers("Images", "Threshold of the run", "Mean IoU", "Best threshold", "Mean IoU at it"),
    )
    note = (
        "The best threshold is chosen over the data set with the masks in sight (the idea of MaxBoxAcc): it says what the "
        "maps could do, not what a user who does not know the masks would get."
    )
    return Table("best-iou", "IoU at the best threshold", columns, tuple(rows), note) if rows else None


def blind_maps(results: Results) -> Table | None:
    """Each model beside the strongest map that knows nothing of the photo: which beat it and which do not."""
    rows = []
    for row in strongest_blind(results):
        cells = (
            Cell(row.block),
            pairs.model(results, row.model),
            plain(row.mean),
            Cell(null_title(row.null)),
            plain(row.mean_null),
            difference(row.lift, row.ci_low, row.ci_high),
            Cell(beats(row), strong=True),
        )
        rows.append(Row(cells))
    columns = (
        *words("Block", "Model"),
        *numbers("Mean sfd"),
        *words("Strongest blind map"),
        *numbers("Its mean", "Lift over it, 95\N{NO-BREAK SPACE}% interval"),
        *words("Beats it"),
    )
    note = (
        "Blind maps are the same for every photo: of those that were scored, the one with the highest mean on the "
        "model’s images. Beats it: the interval of the lift lies above zero."
    )
    return Table("blind", "Does it beat a blind spot?", columns, tuple(rows), note) if rows else None


def strongest_blind(results: Results) -> list[Any]:
    """Of lift.csv, for every block and model, the row of sfd over the blind null with the highest mean."""
    best: dict[Key, Any] = {}
    for row in results.lift[results.lift["measure"] == "sfd"].itertuples(index=False):
        at = Key(row.model, row.block)
        blind = row.null in NULLS and NULLS[row.null].blind and not math.isnan(row.lift)
        if blind and (at not in best or row.mean_null > best[at].mean_null):
            best[at] = row
    blocks = in_order([at.block for at in best], results.blocks)
    models = in_order([at.model for at in best], results.models)
    return [best[Key(model, block)] for block in blocks for model in models if Key(model, block) in best]


def beats(row: Any) -> str:
    """Whether a row of lift.csv says that the model is above the null: yes, no, or not clearly."""
    if row.lift <= 0:
        return "no"
    return "yes" if row.ci_low > 0 else "not clearly"
