"""The ``?key=value`` options of a model spec that several sources take, and what a source has to say of a weight file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from das_explain.checkpoint.spec import ModelSpec
from das_explain.checkpoint.wrappers import Candidate
from das_explain.errors import LONGEST, UsageError
from das_explain.text import cut_middle, plural


def only(spec: ModelSpec, *known: str) -> dict[str, Any]:
    """The options of a spec of published weights. Raises UsageError for one that is not ``known``."""
    if unknown := [key for key in spec.arguments if key not in known]:
        takes = f"it takes {', '.join(known)}" if known else "published weights take none"
        raise UsageError(f"{spec.text}: unknown option {unknown[0]!r}; {takes}")
    return spec.arguments


def peeled_notes(file: Path, reading: Candidate) -> list[str]:
    """Sentences on what of a weight file was taken, and what was not."""
    notes = []
    if reading.peeled:
        others = ", ".join(other.rstrip(".") for other in dict.fromkeys(reading.others))
        instead = f"; ?entry=NAME takes another of its weights ({others})" if others else ""
        notes.append(f"{file}: taken from {', '.join(reading.peeled)}{instead}")
    if reading.left_out:
        names = ", ".join(reading.left_out[:3]) + (" ..." if len(reading.left_out) > 3 else "")
        count = plural(len(reading.left_out), "key")
        notes.append(f"{file}: left out, as no part of the network: {count} ({names})")
    return [cut_middle(note, LONGEST) for note in notes]
