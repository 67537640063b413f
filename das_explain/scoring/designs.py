"""What a run with several trained copies of its designs says of the designs: accuracy and every measure beside nulls.

Accuracy stands among the measures as ``top1``, 1 for an image that a copy gets right and 0 for another, at no block: so
its interval, the split of its variance and the copies it takes are had as those of sfd are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from pathlib import Path

import pandas as pd

from das_explain.evidence.run import Run
from das_explain.evidence.tables import TABLES, write_parts, write_table
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.reading_table import ReadingTable
from das_explain.stats.claims import designs_of
from das_explain.stats.copies import variance_table
from das_explain.stats.designs import copy_means, correlate, design_differences, design_lifts, design_means
from das_explain.stats.pairing import members
from das_explain.stats.tables import compare_groups

TOP1, NO_BLOCK = "top1", ""
OF_DESIGNS = (
    "designs",
    "variance",
    "copies",
    "design_means",
    "design_differences",
    "design_lifts",
    "design_readings",
    "correlations",
)


def copies_of(run: Run, options: ScoreOptions) -> dict[str, str]:
    """Model -> design, where a design of the run has several trained copies, or designs are wanted; else nothing."""
    groups = run.manifest["groups"]
    several = options.designs or any(len(members) > 1 for members in groups.values())
    return {member: group for group, members in groups.items() for member in members} if several else {}


def write_designs(
    run: Run,
    folder: Path,
    scores: pd.DataFrame,
    frame: Callable[..., pd.DataFrame],
    readings: ReadingTable | None,
    options: ScoreOptions,
) -> None:
    """Writes the tables of designs into ``folder``; of a run without copies there are none, unless they are wanted.

    ``scores`` is scores.csv; ``frame(measures, nulls=...)`` gives the scored rows of measures, or of their nulls, long.
    """
    groups = copies_of(run, options)
    if not groups:
        return
    write_table(folder / "designs.csv", compare_groups(scores, groups))
    write_table(folder / "variance.csv", variance_table(scores, groups))
    measures = [right_or_wrong(scores), *(frame([name], nulls=False) for name in options.measures)]
    measures = [table for table in measures if len(table)]
    found = [copy_means(table, groups) for table in measures]
    copies = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=list(TABLES["copies"]))
    write_table(folder / "copies.csv", copies)
    write_table(folder / "correlations.csv", correlate(copies, TOP1))
    write_parts(folder, "design_means", (design_means(table, groups) for table in measures))
    write_parts(folder, "design_differences", (design_differences(table, groups) for table in measures))
    lifts = (design_lifts(frame([name], nulls=False), frame([name], nulls=True), groups) for name in options.measures)
    write_parts(folder, "design_lifts", lifts)
    if readings is not None:
        write_parts(folder, "design_readings", readings.parts_of_designs(_pairs(scores, groups)))


def right_or_wrong(scores: pd.DataFrame) -> pd.DataFrame:
    """A row for each image and model whose prediction can be right or wrong, long, from the rows of scores.csv."""
    first = ~scores.duplicated(["image", "model"])
    rows = scores[first & scores["correct"].notna()]
    return pd.DataFrame(
        {
            "image": rows["image"],
            "model": rows["model"],
            "block": NO_BLOCK,
            "measure": TOP1,
            "value": rows["correct"].astype(float),
            "status": "ok",
        }
    )


def _pairs(scores: pd.DataFrame, groups: Mapping[str, str]) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Each block, and every two designs that have it with their copies."""
    designs = designs_of(scores, groups)
    for block, present in members(scores):
        copies = {design: [model for model in models if model in present] for design, models in designs.items()}
        for a, b in combinations([design for design in designs if copies[design]], 2):
            yield block, {a: copies[a], b: copies[b]}
