"""A study's outcome in sentences, each no stronger than its numbers; whatever came out is said in the same words."""

from __future__ import annotations

import math
from typing import Any

from das_explain.report.words import join, number, signed
from das_explain.scoring.designs import TOP1
from das_explain.stats.claims import FEW_COPIES
from das_explain.study.results import Results
from das_explain.study.tables import title_of
from das_explain.text import plural


def sentences(results: Results) -> list[str]:
    """Each other design beside the first one, on each set of photos: accuracy, sfd, nulls, readings, copies."""
    said = []
    first, *others = results.designs
    for data in results.runs:
        for other in others:
            said += _pair(results, data, first, other)
        if not others:
            said += [_alone(results, data, first)]
    return said


def claims(results: Results) -> list[str]:
    """What this may and may not be used to say."""
    copies = results.study.copies
    few = f" With fewer than {FEW_COPIES} copies they are wide and rough." if copies < FEW_COPIES else ""
    lines = [
        f"It speaks of these designs, trained by this recipe on these data: {plural(copies, 'trained copy', 'trained copies')} "
        f"of each, intervals over copies and images together.{few}"
        if copies > 1
        else "One copy of each was trained: it speaks of these checkpoints only, since training again may move every number.",
        "A network that was trained longer, on more photos or at another size may do otherwise.",
        "sfd says where a class activation map lies, not why the network decides; blind maps stand beside it for that reason.",
    ]
    compared = len(results.of("design_differences", measure="sfd"))
    if compared > 1:
        lines.append(
            f"{plural(compared, 'difference')} in sfd are shown, each with its own 95 % interval: about one in twenty would "
            "exclude zero by chance."
        )
    return lines


def _pair(results: Results, data: str, first: str, other: str) -> list[str]:
    """Sentences on one pair."""
    said = []
    right = _apart(results, data, TOP1, "", first, other)
    if right is not None:
        said.append(
            f"On {data}, {other} is right on {100 * right.mean_b:.1f} % of {plural(int(right.n), 'photo')} and {first} on "
            f"{100 * right.mean_a:.1f} %: {_points(right)}, {_clear(right)}."
        )
    for block in results.blocks:
        row = _apart(results, data, "sfd", block, first, other)
        if row is None or math.isnan(row.delta):
            continue
        parts = [
            f"sfd at {block}: {other} {number(row.mean_b)}, {first} {number(row.mean_a)}, difference {signed(row.delta)} "
            f"[{signed(row.ci_low)}, {signed(row.ci_high)}], {_clear(row)}"
        ]
        if held := _held(results, data, block, first, other):
            parts.append(held)
        if blind := _blind(results, data, block, (first, other)):
            parts.append(blind)
        if row.copies_needed == row.copies_needed:
            parts.append(_needed(row))
        said.append(f"On {data}, {'; '.join(parts)}.")
    return said


def _apart(results: Results, data: str, measure: str, block: str, first: str, other: str) -> Any:
    return results.row("design_differences", data=data, measure=measure, block=block, group_a=first, group_b=other)


def _alone(results: Results, data: str, design: str) -> str:
    parts = [
        f"{title_of(row.measure)}{f' at {row.block}' if row.block else ''} {number(row.mean)}"
        for row in results.of("design_means", data=data, group=design).itertuples(index=False)
        if row.measure in (TOP1, "sfd")
    ]
    return f"On {data}, {design}: {join(parts)}; nothing is compared."


def _points(row: Any) -> str:
    low, high = (signed(100 * end, 1) for end in (row.ci_low, row.ci_high))
    return f"{signed(100 * row.delta, 1)} points [{low}, {high}]"


def _clear(row: Any) -> str:
    if math.isnan(row.ci_low):
        return "too few images for an interval"
    over = "over copies and images" if row.claim == "designs" else "over images only"
    return f"{'a clear difference' if row.ci_low > 0 or row.ci_high < 0 else 'no clear difference'} {over}"


def _held(results: Results, data: str, block: str, first: str, other: str) -> str:
    table = results.sensitivity()
    if table.empty:
        return ""
    rows = table[
        (table["data"] == data) & (table["block"] == block) & (table["model_a"] == first) & (table["model_b"] == other)
    ]
    if len(rows) != 1 or not rows.iloc[0]["readings"]:
        return ""
    row = rows.iloc[0]
    against = f", on the other side in {row['other_excludes_zero']}" if row["other_excludes_zero"] else ""
    return f"the sign holds in {row['same_sign']} of {row['readings']} readings, the interval excludes zero in {row['excludes_zero']}{against}"


def _blind(results: Results, data: str, block: str, designs: tuple[str, str]) -> str:
    """What blind maps reach: a centre spot's mean, and the lift over shuffled maps."""
    parts = []
    shuffled = [
        results.row("design_lifts", data=data, measure="sfd", block=block, group=d, null="shuffled") for d in designs
    ]
    if all(row is not None and math.isfinite(row.ci_low) for row in shuffled):
        words = [f"{row.group} {signed(row.lift)} [{signed(row.ci_low)}, {signed(row.ci_high)}]" for row in shuffled]
        parts.append(f"above their own maps of other photos {join(words)}")
    centre = results.row("design_lifts", data=data, measure="sfd", block=block, group=designs[0], null="centre")
    if centre is not None:
        parts.append(f"a blind spot in the centre scores {number(centre.mean_null)}")
    return ", ".join(parts)


def _needed(row: Any) -> str:
    if math.isinf(row.copies_needed):
        return "only more images would settle it"
    return f"were this the true difference, {plural(int(row.copies_needed), 'copy', 'copies')} of each would settle it"
