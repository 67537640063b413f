"""What a run may be said to show: something of these checkpoints, or of the designs that they are copies of."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from das_explain.errors import UsageError
from das_explain.stats.pairing import names, require

FEW_COPIES = 5  # below this many trained copies per design a group interval is called rough


def claim(scores: pd.DataFrame, groups: Mapping[str, str] | None = None) -> str:
    """In plain words, which claim a run can carry: about these checkpoints, or about the designs behind them."""
    copies = {design: len(models) for design, models in designs_of(scores, groups or {}).items()}
    counts = ", ".join(f"{design} {count}" for design, count in copies.items())
    if len(copies) < 2:
        return (
            f"One design was scored (trained copies: {counts}): nothing is compared."
            if copies
            else "Nothing was scored."
        )
    single = [design for design, count in copies.items() if count == 1]
    if len(single) == len(copies):
        return (
            "This run compares checkpoints, not designs: its intervals are over images only, and training again may "
            "move sfd by more than they are wide. A claim about designs needs several trained copies of each, given as "
            "groups."
        )
    if single:
        return (
            f"Trained copies: {counts}. A comparison with {' or '.join(single)} speaks of checkpoints, not of designs: "
            "its interval is over images only, because one copy does not show what training again would change."
        )
    sentence = f"This run compares designs: its intervals are over trained copies ({counts}) and images together."
    if min(copies.values()) < FEW_COPIES:
        sentence += f" With fewer than {FEW_COPIES} copies of a design they are wide and rough."
    return sentence


def designs_of(scores: pd.DataFrame, groups: Mapping[str, str]) -> dict[str, list[str]]:
    """Design -> its checkpoints, in order of first appearance."""
    require(scores, ["model"])
    models = names(scores, "model")
    unknown = [model for model in groups if model not in models]
    if unknown:
        raise UsageError(f"no model is called {unknown[0]}: the run's models are {', '.join(models)}")
    clash = [model for model in models if model not in groups and model in groups.values()]
    if clash:
        raise UsageError(f"{clash[0]} is both a group and a model outside it: rename the group or put the model in it")
    designs: dict[str, list[str]] = {}
    for model in models:
        designs.setdefault(groups.get(model, model), []).append(model)
    return designs
