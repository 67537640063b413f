"""Tables on the terminal: how one is drawn, and those that commands share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from das_explain.commands.say import say
from das_explain.text import cut_middle, plural, spelled

if TYPE_CHECKING:
    import pandas as pd

    from das_explain.batches.export import Exported
    from das_explain.evidence.run import Run

SHORTEST, LONGEST = 8, 24  # characters of a name in a table


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """A table on the terminal; nothing where there are no rows. What the width leaves no room for is cut in the middle."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns, *cells = ([spelled(cell, backslash=False) for cell in row] for row in (columns, *rows))
    if not cells:
        return
    console = Console()
    rooms = _rooms(columns, cells, console.width)
    table = Table(title=Text(spelled(title, backslash=False), style="table.title"))
    for header, room in zip(columns, rooms):
        table.add_column(Text(header), width=room)
    for row in cells:
        # As Text: a bracket in a name is no markup.
        table.add_row(*(Text(cut_middle(cell, room)) for cell, room in zip(row, rooms)))
    console.print(table)


def _rooms(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """How many characters each column has, so that the table fits: headers break at spaces, then the widest give way."""
    cells = [max(len(row[place]) for row in rows) for place in range(len(columns))]
    rooms = [max(len(header), cell) for header, cell in zip(columns, cells)]
    available = width - 3 * len(columns) - 1
    if sum(rooms) > available:
        rooms = [max(*map(len, header.split()), 1, cell) for header, cell in zip(columns, cells)]
    while sum(rooms) > available and max(rooms) > SHORTEST:
        rooms[rooms.index(max(rooms))] -= 1
    return rooms


def pair(second: str, first: str) -> str:
    """What a difference is of."""
    return f"{cut_middle(second, LONGEST)} - {cut_middle(first, LONGEST)}"


def number(value: float | None, style: str = ".3f", *, scale: float = 1) -> str:
    """``scale`` times a number of a table, ``-`` for none (``None``, NaN)."""
    if value is None or value != value:
        return "-"
    text = format(scale * value, style)
    return text if text.strip("-0.%") else format(0.0, style)  # nothing is below zero by less than is shown


def span(low: float | None, high: float | None, style: str = ".3f", *, scale: float = 1) -> str:
    """An interval, ``-`` for none: a mean of one image has none."""
    ends = number(low, style, scale=scale), number(high, style, scale=scale)
    return "-" if "-" in ends else " to ".join(ends)


def print_tables(run: Run) -> None:
    """The summary, the comparison, every measure beside its nulls, the statuses that are not ok, and what was assumed."""
    from das_explain.evidence.tables import read_table

    if run.part:
        say(f"unfinished  only {run.part}: the same sfd command makes the rest")
    rows = [
        (
            row.model,
            row.block,
            f"{row.n_scored} of {row.n}",
            number(row.mean_sfd),
            span(row.ci_low, row.ci_high),
        )
        for row in run.table("summary").itertuples()
    ]
    print_table(("model", "block", "scored", "mean sfd", "95 % interval"), rows, title="sfd")
    rows = [
        (
            row.block,
            pair(row.model_b, row.model_a),
            number(row.delta, "+.3f"),
            span(row.ci_low, row.ci_high, "+.3f"),
            number(row.p_adjusted, ".2g"),
            number(row.win_rate, ".0%"),
        )
        for row in run.table("comparison").itertuples()
    ]
    columns = ("block", "comparison", "difference", "95 % interval", "p, adjusted", "wins")
    print_table(columns, rows, title="comparison")
    part = run.part and f" ({run.part}: the run is unfinished)"
    for sentence in run.manifest.get("verdicts", []):
        say(f"verdict     {sentence}{part or ''}")
    for sentence in run.manifest.get("region_uncertainty", []):
        say(f"verdict     {sentence}{part or ''}")
    print_measures(run)
    scores = read_table(run.path("scores.csv"), only=("image", "status"))
    others = scores[scores["status"] != "ok"].groupby("status", observed=True)["image"].agg(["size", "nunique"])
    if len(others):
        counted = (
            f"{plural(row.size, 'row')} of {plural(row.nunique, 'image')} {row.Index}" for row in others.itertuples()
        )
        say("statuses    " + ", ".join(counted))
    for sentence in run.manifest.get("assumptions", []):
        say(f"assumed     {sentence}")


def print_measures(run: Run) -> None:
    """Every measure of every model, beside what maps that are blind to the photo get: sfd beside each of them, the others
    beside the one that comes closest."""
    from das_explain.evidence.tables import read_table

    lifts = run.table("lift")
    nulls = list(dict.fromkeys(lifts["null"]))
    cells: dict[tuple[str, str], dict[str, str]] = {}
    above: dict[str, list[tuple[str, ...]]] = {}
    for (measure, block, model), mine in lifts.groupby(["measure", "block", "model"], sort=False, observed=True):
        lift, mean = mine.set_index("null")["lift"], number(mine["mean"].iloc[0])
        if measure == "sfd":
            row = (block, model, mean, *(number(lift.get(null), "+.3f") for null in nulls))
            above.setdefault(block, []).append(row)
        else:
            cells.setdefault((measure, block), {})[model] = f"{mean} ({number(_closest(measure, lift), '+.3f')})"
    alone = [
        name for name in run.manifest.get("scoring", {}).get("measures", []) if name not in {"sfd", *lifts["measure"]}
    ]
    if alone:  # no null was asked for, or the run is of a version that did not ask networks about any
        values = read_table(run.path("measures.csv"), only=("model", "block", "measure", "value"))
        values = values[values["measure"].isin(alone)]
        means = values.groupby(["measure", "block", "model"], sort=False, observed=True)["value"].mean()
        for (measure, block, model), mean in means.items():
            cells.setdefault((measure, block), {})[model] = f"{number(mean)} (-)"
    if above:
        rows = [row for block in above.values() for row in block]
        print_table(("block", "model", "mean", *nulls), rows, title="sfd: lift over blind maps")
    if cells:
        rows = [(*at, *(each.get(model, "-") for model in run.models)) for at, each in cells.items()]
        title = "other measures: mean (lift over the blind map that comes closest)"
        print_table(("measure", "block", *run.models), rows, title=title)


def _closest(measure: str, lift: pd.Series) -> float | None:
    """The lift over the null that does best by this measure."""
    from das_explain.measures import MEASURES
    from das_explain.nulls import NULLS

    known = MEASURES.get(measure)
    if known and not (known.of_region or known.needs_network):  # another photo's map is as good as its own
        lift = lift[[null not in NULLS or NULLS[null].blind or bool(NULLS[null].needs) for null in lift.index]]
    if lift.empty:
        return None
    return float(lift.min() if known is None or known.higher_is_better else lift.max())


def print_heatmaps(rows: Sequence[Mapping[str, Any]]) -> None:
    """What each model sees on each image, and its score or why there is none."""
    cells = [
        (
            row["image"],
            row["model"],
            row["block"],
            row["predicted"] or "-",
            number(row["confidence"], ".0%"),
            row["status"] if row["sfd"] is None else number(row["sfd"]),
        )
        for row in rows
    ]
    print_table(("image", "model", "block", "predicted", "confidence", "sfd"), cells)


def print_agreement(exported: Exported) -> None:
    """How well the masks agree with human ones, and the worst of them."""
    from das_explain.segment.compare import worst

    summary = exported.agreement or {}
    if not summary.get("compared"):
        say("agreement   no photo has both a mask and a human's mask")
        return
    say(
        f"agreement   on {summary['compared']} of {summary['images']} photos: mean IoU {summary['mean_iou']:.3f}, "
        f"at least 0.5 on {summary['share_iou_50']:.0%}, mean boundary F {summary['mean_boundary_f']:.3f}"
    )
    rows = [
        (row["image"], row["label"] or "", row["status"], number(row["iou"]), number(row["boundary_f"]))
        for row in worst(exported.against)
    ]
    print_table(("image", "label", "status", "IoU", "boundary F"), rows, title="worst")
    if others := {status: count for status, count in summary["statuses"].items() if status != "ok"}:
        say("not compared  " + ", ".join(f"{count} {status}" for status, count in others.items()))
