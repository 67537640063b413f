"""The outcome of a run in plain words: what was found, how it was measured, and what it may and may not claim.

Everything here is text made from tables; the template escapes it. Neither model is favoured: a difference is named with
its sign, its interval and its p value, and beside every mean stands what blind maps reach on the same images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from das_explain.report.doubts import held
from das_explain.report.measured import beats, null_title, strongest_blind
from das_explain.report.results import Results
from das_explain.report.words import (
    MINUS,
    join,
    number,
    p_text,
    percent,
    signed,
)
from das_explain.stats.sensitivity import verdict as reading_verdict
from das_explain.text import plural

ALPHA = 0.05


@dataclass(frozen=True)
class Finding:
    """One block's outcome for one pair of models (or for one model): a verdict, the numbers, a caution or nothing, and
    whether it holds in other readings."""

    block: str
    verdict: str
    numbers: str
    caution: str
    holds: str = ""


def lifts(results: Results) -> dict[tuple[str, str, str], Any]:
    """(model, block, null) -> row of lift.csv for sfd: mean_null, lift, ci_low, ci_high, n."""
    table = results.lift[results.lift["measure"] == "sfd"]
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


def findings(results: Results, blind: dict[tuple[str, str, str], Any]) -> list[Finding]:
    """One finding per row of designs.csv, else of comparison.csv, else (nothing is compared) of summary.csv."""
    if len(results.designs):
        return [_design(row) for row in results.designs.itertuples(index=False)]
    if len(results.comparison):
        holds = {(row.block, row.model_a, row.model_b): reading_verdict(row) for row in held(results).itertuples()}
        return [_pair(row, blind, holds) for row in results.comparison.itertuples(index=False)]
    return [_single(row, blind) for row in results.summary.itertuples(index=False)]


def verdict(results: Results) -> str:
    """The outcome in one sentence, no stronger than its numbers; of a part of a run it says so first."""
    sentence = _sentence(results)
    return f"On {results.part}, the run is unfinished: {sentence}" if results.part else sentence


def _sentence(results: Results) -> str:
    if len(results.designs):
        rows = [
            (row.block, row.group_a, row.group_b, row.delta, row.ci_low > 0 or row.ci_high < 0)
            for row in results.designs.itertuples(index=False)
        ]
        about = "these designs" if (results.designs["claim"] == "designs").all() else "these checkpoints"
    else:
        rows = [
            (row.block, row.model_a, row.model_b, row.delta, row.p_adjusted < ALPHA)
            for row in results.comparison.itertuples(index=False)
        ]
        about = "these checkpoints"
    rows = [row for row in rows if not math.isnan(row[3])]
    if not rows:
        scored = results.summary[results.summary["n_scored"] > 0]
        if len(results.models) != 1 or scored.empty:
            return "Nothing could be compared."
        means = join([f"{number(row.mean_sfd)} at {row.block}" for row in scored.itertuples(index=False)])
        return f"{results.models[0]} scores {means}; nothing is compared."
    outcomes: dict[str, list[str]] = {}
    for block, a, b, delta, clear in rows:
        outcomes.setdefault(_verdict(a, b, delta, clear, "at"), []).append(block)
    if len(outcomes) > 3:
        clear = sum(row[4] for row in rows)
        return f"{clear} of {len(rows)} comparisons show a clear difference: {about}, these images."
    parts = [
        f"{words} {join(list(blocks))}" for words, blocks in sorted(outcomes.items(), key=lambda o: o[0][:2] == "No")
    ]
    parts = parts[:1] + [part[0].lower() + part[1:] if part.startswith("No ") else part for part in parts[1:]]
    return f"{'; '.join(parts)}: {about}, these images."


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


def holds(results: Results) -> list[str]:
    """The rest of the verdict: in how many readings of sfd it holds, and who beats a blind spot."""
    rows = list(held(results).itertuples(index=False))
    said = []
    if len({(row.model_a, row.model_b) for row in rows}) == 1:
        signs = join([f"{row.same_sign} of {row.readings} readings of sfd at {row.block}" for row in rows])
        clear = join([str(row.excludes_zero) for row in rows])
        said = [
            f"The sign of {rows[0].model_b} {MINUS} {rows[0].model_a} holds in {signs}; the interval excludes zero on that "
            f"side in {clear}."
        ]
    elif rows:
        least = min(rows, key=lambda row: row.same_sign / row.readings)
        every = sum(row.same_sign == row.readings for row in rows)
        said = [
            f"{every} of {plural(len(rows), 'difference')} keep their sign in every reading of sfd. The one that keeps it "
            f"in the fewest: {reading_verdict(least)}"
        ]
    return said + blind_spots(results)


def blind_spots(results: Results) -> list[str]:
    """Which model's map beats the strongest blind map at which block, and which does not."""
    found: dict[str, dict[tuple[str, ...], list[str]]] = {}
    by_block: dict[tuple[str, str], list[str]] = {}
    strongest = strongest_blind(results)
    for row in strongest:
        by_block.setdefault((row.block, beats(row)), []).append(row.model)
    which = join(list(dict.fromkeys(null_title(row.null) for row in strongest)))
    for (block, word), models in by_block.items():
        found.setdefault(word, {}).setdefault(tuple(models), []).append(block)
    ends = {"yes": "", "not clearly": ", but not clearly (the interval of the lift holds zero)"}
    sentences = []
    for word in ("yes", "not clearly", "no"):
        parts = [f"{join(list(models))} at {join(blocks)}" for models, blocks in found.get(word, {}).items()]
        if parts:
            does = "Not above" if word == "no" else "Above"
            sentences.append(f"{does} the strongest blind map ({which}): {'; '.join(parts)}{ends.get(word, '')}.")
    return sentences


def _pair(row: Any, blind: dict[tuple[str, str, str], Any], holds: dict[tuple[str, str, str], str]) -> Finding:
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
    numbers += _lift_words([a, b], row.block, blind)
    return Finding(row.block, verdict, numbers, caution, holds.get((row.block, a, b), ""))


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


def claims(results: Results) -> list[str]:
    """What the numbers may and may not be used to say."""
    groups = results.groups()
    if any(len(members) > 1 for members in groups.values()):
        from das_explain.stats.claims import claim

        scored = [model for model in results.models if any(at.model == model for at in results.tally.sfd)]
        copies = {member: name for name, members in groups.items() for member in members if len(members) > 1}
        first = claim(
            pd.DataFrame({"model": scored}), {member: copies[member] for member in scored if member in copies}
        )
    elif len(results.models) > 1:
        first = (
            f"This compares these {len(results.models)} checkpoints on these images, and nothing more. Training the same "
            "network again, with nothing changed but the seed, can move sfd more than drawing other photos does, and the "
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
