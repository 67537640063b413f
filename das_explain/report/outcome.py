"""The outcome of a run in plain words: what was found, how it was measured, and what it may and may not claim.

Everything here is text made from tables; the template escapes it. Neither model is favoured: a difference is named with
its sign, its interval and its p value, and beside every mean stands what blind maps reach on the same images.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pandas as pd

from das_explain.report.run import Run
from das_explain.report.words import (
    BOXES,
    MINUS,
    SCALINGS,
    SOURCES,
    STATUSES,
    TARGETS,
    number,
    p_text,
    percent,
    plural,
    signed,
)

ALPHA = 0.05


@dataclass(frozen=True)
class Finding:
    """One block's outcome for one pair of models (or for one model): a verdict, the numbers, a caution or nothing."""

    block: str
    verdict: str
    numbers: str
    caution: str


def lifts(run: Run) -> dict[tuple[str, str, str], Any]:
    """(model, block, null) -> row of ``stats.lift_over_nulls``: mean_null, lift, ci_low, ci_high, n."""
    if run.nulls.empty:
        return {}
    from das_explain.stats import lift_over_nulls

    table = lift_over_nulls(run.scores, run.nulls)
    return {(row.model, row.block, row.null): row for row in table.itertuples(index=False)}


def _blind_caution(means: list[tuple[str, float]], block: str, blind: dict[tuple[str, str, str], Any]) -> str:
    """Says so where a map that never saw the photos reaches the models' own score."""
    beaten = []
    for model, mean in means:
        for null, words in (("centre", "a blind spot in the centre"), ("shuffled", "its own maps of other photos")):
            row = blind.get((model, block, null))
            if row is not None and not math.isnan(row.mean_null) and row.mean_null >= mean:
                beaten.append(f"{model} does not exceed what {words} would score ({number(row.mean_null)})")
                break
    return f"Caution: {'; '.join(beaten)}." if beaten else ""


def _lift_words(models: list[str], block: str, blind: dict[tuple[str, str, str], Any]) -> str:
    parts = []
    for model in models:
        row = blind.get((model, block, "shuffled"))
        if row is not None and not math.isnan(row.lift):
            parts.append(f"{model} {signed(row.lift)} [{signed(row.ci_low)}, {signed(row.ci_high)}]")
    return f" Lift over the model’s own maps of other photos: {', '.join(parts)}." if parts else ""


def findings(run: Run, blind: dict[tuple[str, str, str], Any]) -> list[Finding]:
    """One finding per row of comparison.csv; with nothing compared, one per row of summary.csv."""
    found = []
    for row in run.comparison.itertuples(index=False):
        a, b, count = row.model_a, row.model_b, 0 if math.isnan(row.n) else int(row.n)
        if count == 0 or math.isnan(row.delta):
            text = f"No image was scored for both {a} and {b}."
            found.append(Finding(row.block, "Nothing to compare", text, ""))
            continue
        significant = not math.isnan(row.p_adjusted) and row.p_adjusted < ALPHA
        if significant:
            high, low = (b, a) if row.delta > 0 else (a, b)
            verdict = f"On these images {high} scores higher than {low}"
        elif math.isnan(row.p_adjusted):
            verdict = "Too few images to tell a difference"
        else:
            verdict = f"No clear difference between {a} and {b} on these images"
        numbers = (
            f"On {plural(count, 'image')} scored for both: {b} {number(row.mean_b)}, {a} {number(row.mean_a)}; difference "
            f"{b} {MINUS} {a} {signed(row.delta)} [{signed(row.ci_low)}, {signed(row.ci_high)}], "
            f"adjusted p {p_text(row.p_adjusted)}; {b} is higher on {percent(row.win_rate)}."
        )
        means = [(a, row.mean_a), (b, row.mean_b)]
        found.append(
            Finding(
                row.block,
                verdict,
                numbers + _lift_words([a, b], row.block, blind),
                _blind_caution(means, row.block, blind),
            )
        )
    if found:
        return found
    for row in run.summary.itertuples(index=False):
        scored = 0 if math.isnan(row.n_scored) else int(row.n_scored)
        if not scored:
            found.append(Finding(row.block, "No score", f"{row.model} was scored on no image.", ""))
            continue
        numbers = (
            f"{row.model} scores {number(row.mean_sfd)} [{number(row.ci_low)}, {number(row.ci_high)}] on average over "
            f"{plural(scored, 'image')}." + _lift_words([row.model], row.block, blind)
        )
        caution = _blind_caution([(row.model, row.mean_sfd)], row.block, blind)
        found.append(Finding(row.block, f"{row.model}: {number(row.mean_sfd)}", numbers, caution))
    return found


def claims(run: Run) -> list[str]:
    """What the numbers may and may not be used to say."""
    lines = []
    if len(run.models) > 1:
        lines.append(
            f"This compares these {len(run.models)} checkpoints on these images, and nothing more. Training the same network "
            "again, with nothing changed but the seed, moves sfd more than drawing other photos does, and the intervals "
            "count the photos only: no difference here shows that one design looks at the object more than another. That "
            "takes several trained copies of each, compared over copies and photos together."
        )
    else:
        lines.append(
            "One checkpoint was scored and nothing is compared. Another training of the same network may score otherwise: "
            "the intervals count the photos only."
        )
    lines.append(
        "A mean sfd means little by itself: objects tend to stand in the centre, and a blind spot there scores well. Read the "
        "lift over the model’s own maps shuffled between photos: it is the part that depends on the photo."
    )
    lines.append("Sizes depend on scaling, box and threshold. Compare only numbers that were measured with the same settings.")
    return lines


def _or(value: Any, table: dict[str, str], **words: Any) -> str:
    """A setting as ``name: what it means``; the bare name if it is unknown, ``not recorded`` if there is none."""
    if value is None or value == "":
        return "not recorded"
    meaning = table.get(str(value))
    return f"{value}: {meaning.format(**words)}" if meaning else str(value)


def settings(run: Run) -> list[tuple[str, str]]:
    """(term, explanation) of everything that decides the size of the numbers, in words."""
    options, data, segmenter = run.section("options"), run.section("data"), run.section("segmenter")
    threshold = options.get("threshold", "threshold")
    name = segmenter.get("name")
    detail = {key: value for key, value in segmenter.items() if key != "name" and value not in (None, "", [], {})}
    source = _or(name, SOURCES) + (f" ({json.dumps(detail, ensure_ascii=False)})" if detail else "")
    size = data.get("count")
    sampled = data.get("sampled")
    where = str(data.get("spec", "not recorded"))
    if isinstance(size, int):
        where += f" ({plural(size, 'image')}"
        where += f", {sampled:,} of them drawn, seed {run.manifest.get('seed', '?')})" if isinstance(sampled, int) else ")"
    return [
        ("Images", where),
        ("Heat maps", f"{options.get('method', 'method not recorded')}, each map scaled to its own maximum"),
        ("Class explained", _or(options.get("target"), TARGETS)),
        ("Region R", source),
        ("Box B", _or(options.get("box"), BOXES, threshold=threshold)),
        ("Threshold", str(options.get("threshold", "not recorded"))),
        ("Scaling of w", _or(options.get("scaling"), SCALINGS)),
    ]


@dataclass(frozen=True)
class StatusCount:
    """How many rows of scores.csv, on how many images, ended with this status."""

    status: str
    meaning: str
    rows: int
    images: int


def status_counts(run: Run) -> list[StatusCount]:
    """Every status of scores.csv, ``ok`` first, then the most frequent."""
    rows = Counter(run.scores["status"])
    images = run.scores.groupby("status")["image"].nunique() if len(run.scores) else {}
    order = sorted(rows, key=lambda status: (status != "ok", -rows[status], status))
    return [StatusCount(status, STATUSES.get(status, ""), rows[status], int(images[status])) for status in order]


def accuracy(run: Run) -> dict[str, tuple[float, int]]:
    """Model -> (top-1 share, images with a label and a prediction), one row per image."""
    known = run.scores[run.scores["correct"].str.lower().isin(["true", "false", "1", "0", "1.0", "0.0"])]
    once = known.drop_duplicates(["image", "model"])
    right = once["correct"].str.lower().isin(["true", "1", "1.0"])
    groups = right.groupby(once["model"])
    return {str(model): (float(group.mean()), len(group)) for model, group in groups}


def image_count(scores: pd.DataFrame) -> int:
    """How many images have rows."""
    return int(scores["image"].nunique())
