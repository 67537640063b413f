"""The outcome of a run in plain words: what was found, how it was measured, and what it may and may not claim.

Everything here is text made from tables; the template escapes it. Neither model is favoured: a difference is named with
its sign, its interval and its p value, and beside every mean stands what blind maps reach on the same images.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pandas as pd

from das_explain.report.regions import found_images, told
from das_explain.report.run import Run
from das_explain.report.words import (
    BOXES,
    MINUS,
    SCALINGS,
    SOURCES,
    STATUSES,
    TARGETS,
    join,
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
    """(model, block, null) -> row of lift.csv for sfd (made here if it is missing): mean_null, lift, ci_low, ci_high, n."""
    table = run.lift
    if table.empty:
        if run.nulls.empty:
            return {}
        from das_explain.stats.tables import lift_over_nulls

        table = lift_over_nulls(run.scores, run.nulls)
    table = table[table["measure"] == "sfd"]
    return {(row.model, row.block, row.null): row for row in table.itertuples(index=False)}


def _blind_caution(means: list[tuple[str, float]], block: str, blind: dict[tuple[str, str, str], Any]) -> str:
    """Says so where a map that never saw the photos reaches the models' own score."""
    cautions = []
    left = list(means)
    for null, words in (("centre", "a blind spot in the centre"), ("shuffled", "its own maps of other photos")):
        rows = {model: blind.get((model, block, null)) for model, _ in left}
        beaten = [(model, mean) for model, mean in left if rows[model] is not None and rows[model].mean_null >= mean]
        if beaten:
            names = join([f"{model} ({number(mean)})" for model, mean in beaten])
            reached = join([number(rows[model].mean_null) for model, _ in beaten])
            verb = "does" if len(beaten) == 1 else "do"
            cautions.append(f"{names} {verb} not exceed what {words} scores ({reached})")
            left = [pair for pair in left if pair not in beaten]
    return f"Caution: {'; '.join(cautions)}." if cautions else ""


def _lift_words(models: list[str], block: str, blind: dict[tuple[str, str, str], Any]) -> str:
    parts = []
    for model in models:
        row = blind.get((model, block, "shuffled"))
        if row is not None and not math.isnan(row.lift):
            parts.append(f"{model} {signed(row.lift)} [{signed(row.ci_low)}, {signed(row.ci_high)}]")
    return f" Lift over the model’s own maps of other photos: {', '.join(parts)}." if parts else ""


def findings(run: Run, blind: dict[tuple[str, str, str], Any]) -> list[Finding]:
    """One finding per row of designs.csv, else of comparison.csv, else (nothing is compared) of summary.csv."""
    if len(run.designs):
        return [_design(row) for row in run.designs.itertuples(index=False)]
    if len(run.comparison):
        return [_pair(row, blind) for row in run.comparison.itertuples(index=False)]
    return [_single(row, blind) for row in run.summary.itertuples(index=False)]


def _verdict(a: str, b: str, delta: float, clear: bool, where: str) -> str:
    if not clear:
        return f"No clear difference between {a} and {b} {where}"
    high, low = (b, a) if delta > 0 else (a, b)
    return f"{high} scores higher than {low} {where}"


def _design(row: Any) -> Finding:
    a, b, count = row.group_a, row.group_b, _count(row.n)
    if not count or math.isnan(row.delta):
        return Finding(row.block, "Nothing to compare", f"No image was scored for every copy of {a} and {b}.", "")
    clear = not math.isnan(row.ci_low) and (row.ci_low > 0 or row.ci_high < 0)
    numbers = (
        f"On {plural(count, 'image')} scored for all: {b} {number(row.mean_b)} "
        f"({plural(_count(row.copies_b), 'trained copy', 'trained copies')}), {a} {number(row.mean_a)} "
        f"({plural(_count(row.copies_a), 'trained copy', 'trained copies')}); difference ({b} {MINUS} {a}) "
        f"{signed(row.delta)} [{signed(row.ci_low)}, {signed(row.ci_high)}], the interval "
        + ("over copies and images together." if row.claim == "designs" else "over images only.")
    )
    where = "over these copies and images" if row.claim == "designs" else "on these images"
    caution = "" if row.claim == "designs" else "One copy does not show what training again would change."
    return Finding(row.block, _verdict(a, b, row.delta, clear, where), numbers, caution)


def _pair(row: Any, blind: dict[tuple[str, str, str], Any]) -> Finding:
    a, b, count = row.model_a, row.model_b, _count(row.n)
    if not count or math.isnan(row.delta):
        return Finding(row.block, "Nothing to compare", f"No image was scored for both {a} and {b}.", "")
    if math.isnan(row.p_adjusted):
        verdict = "Too few images to tell a difference"
    else:
        verdict = _verdict(a, b, row.delta, row.p_adjusted < ALPHA, "on these images")
    numbers = (
        f"On {plural(count, 'image')} scored for both: {b} {number(row.mean_b)}, {a} {number(row.mean_a)}; difference "
        f"({b} {MINUS} {a}) {signed(row.delta)} [{signed(row.ci_low)}, {signed(row.ci_high)}], "
        f"adjusted p {p_text(row.p_adjusted)}; {b} is higher on {percent(row.win_rate)}."
    )
    caution = _blind_caution([(a, row.mean_a), (b, row.mean_b)], row.block, blind)
    return Finding(row.block, verdict, numbers + _lift_words([a, b], row.block, blind), caution)


def _single(row: Any, blind: dict[tuple[str, str, str], Any]) -> Finding:
    scored = _count(row.n_scored)
    if not scored:
        return Finding(row.block, "No score", f"{row.model} was scored on no image.", "")
    numbers = (
        f"{row.model} scores {number(row.mean_sfd)} [{number(row.ci_low)}, {number(row.ci_high)}] on average over "
        f"{plural(scored, 'image')}." + _lift_words([row.model], row.block, blind)
    )
    caution = _blind_caution([(row.model, row.mean_sfd)], row.block, blind)
    return Finding(row.block, f"{row.model}: {number(row.mean_sfd)}", numbers, caution)


def _count(value: float) -> int:
    return 0 if math.isnan(value) else int(value)


def claims(run: Run) -> list[str]:
    """What the numbers may and may not be used to say."""
    groups = run.groups()
    if any(len(members) > 1 for members in groups.values()):
        from das_explain.stats.claims import claim

        scored = set(run.scores["model"])
        members = {member: name for name, copies in groups.items() for member in copies if member in scored}
        first = claim(run.scores, {member: name for member, name in members.items() if len(groups[name]) > 1})
    elif len(run.models) > 1:
        first = (
            f"This compares these {len(run.models)} checkpoints on these images, and nothing more. Training the same "
            "network again, with nothing changed but the seed, moves sfd more than drawing other photos does, and the "
            "intervals count the photos only: no difference here shows that one design looks at the object more than "
            "another. That takes several trained copies of each, compared over copies and photos together."
        )
    else:
        first = (
            "One checkpoint was scored and nothing is compared. Another training of the same network may score "
            "otherwise: the intervals count the photos only."
        )
    return [
        first,
        "A mean sfd means little by itself: objects tend to stand in the centre, and a blind spot there scores well. "
        "Read the lift over the model’s own maps shuffled between photos: it is the part that depends on the photo.",
        "Sizes depend on scaling, box and threshold. Compare only numbers that were measured with the same settings.",
    ]


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
    detail = told(segmenter, data.get("spec"))
    source = _or(name, SOURCES) + (f" ({', '.join(detail)})" if detail else "")
    if without := found_images(run):
        counts = join([f"{plural(count, 'image')} {STATUSES[status]}" for status, count in without.items()])
        source += f". Without R: {counts}"
    size, names = data.get("count"), run.manifest.get("sample")
    drawn = data.get("sampled", len(names) if isinstance(names, list) else size)
    where = str(data.get("spec", "not recorded"))
    if isinstance(size, int) and isinstance(drawn, int):
        by_class = ", evenly over the classes" if data.get("stratified") is True else ""
        chosen = "all of them" if drawn == size else f"{drawn:,} drawn{by_class}, seed {run.manifest.get('seed', '?')}"
        where += f": {plural(size, 'image')}, {chosen}"
    target = options.get("target")
    explained = _or(target, TARGETS) if target in (None, "", *TARGETS) else f"{target}, one class for every image"
    return [
        ("Images", where),
        ("Heat maps", f"{options.get('method', 'method not recorded')}, each map scaled to its own maximum"),
        ("Class explained", explained),
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
