"""What the detector is asked for: one phrase made of the class label, by a template, or by a table of exceptions.

Grounding DINO wants lower case and a full stop at the end, and takes a full stop or question mark inside for the border
of another phrase; several phrases in one caption give merged labels and weaker boxes. So a label becomes one phrase:
its first synonym (``"tench, Tinca tinca"``), underscores as spaces, no such marks inside.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from das_explain.data.images import printable
from das_explain.errors import UsageError
from das_explain.files import read_regular
from das_explain.text import cut_middle

FIELD = "{label}"
_WORDNET = re.compile(r"n\d{8}(?:[\s_-]+|$)")


def phrase(label: str) -> str:
    """A class label as the detector wants it, without the full stop: ``"Golden_Retriever, retriever"`` ->
    ``"golden retriever"``; a WordNet number before the name is left out. Empty if nothing is left."""
    return _tidy(_WORDNET.sub("", label.strip(), count=1).split(",")[0])


def _tidy(text: str) -> str:
    """One phrase: lower case, no marks that end a phrase, single spaces."""
    return " ".join(re.sub(r"[.?_]+", " ", text).lower().split())


@dataclass(frozen=True)
class Prompts:
    """Label -> prompt. ``overrides``: labels, and the phrases made of them, to phrases in the template's place."""

    template: str = FIELD
    overrides: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _tidy(self.template.replace(FIELD, "x")):
            raise UsageError("the prompt is empty; write words, with {label} where the class label belongs")
        if re.search(r"[{}]", self.template.replace(FIELD, "")):
            raise UsageError(f"the prompt {self.template!r} has braces; only {FIELD} is filled in")

    def identity(self) -> dict[str, str]:
        """The template, and a hash over the overrides; what was asked for each image is in its own record."""
        told = json.dumps(self.overrides, sort_keys=True).encode()
        return {"template": self.template, "overrides": hashlib.sha256(told).hexdigest() if self.overrides else ""}

    def of(self, label: str | None) -> str:
        """The prompt for a label, with its full stop. Raises ``UsageError`` if there is nothing to ask for."""
        override = self.overrides.get(label or "") or self.overrides.get(phrase(label or ""))
        if override:
            return f"{override}."
        if FIELD not in self.template:
            return f"{_tidy(self.template)}."
        if label is None:
            raise UsageError(
                "photos without labels cannot be searched for by their class: sort them into one folder per class, "
                "or say what to look for, as in --prompt 'a dog'"
            )
        name = phrase(label)
        if not name:
            raise UsageError(
                f"the label {label!r} names nothing to look for: give a CSV of label,prompt with --prompts"
            )
        return f"{_tidy(self.template.replace(FIELD, name))}."


MAX_BYTES = 1 << 24  # of a CSV of prompts


def read_overrides(path: Path) -> dict[str, str]:
    """A CSV with the columns ``label,prompt`` -> label and phrase. Raises ``UsageError``, with the line."""
    where = printable(path)
    try:
        text = read_regular(path, "CSV of prompts", most=MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{where} is not UTF-8 text: save it as CSV in UTF-8") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        columns = reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or []]
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise UsageError(f"{where}, line {reader.line_num}: not valid CSV ({error})") from None
    if "label" not in columns or "prompt" not in columns:
        found = cut_middle(printable(",".join(columns)), 200) or "empty"
        raise UsageError(f"{where} must have the columns label,prompt; its first line is {found}")
    overrides: dict[str, str] = {}
    for line, row in rows:
        label, wanted = (row["label"] or "").strip(), _tidy(row["prompt"] or "")
        at = f"{where}, line {line}"
        if None in row:
            raise UsageError(f'{at}: more cells than columns; put a label with commas in quotes "a, b"')
        if not label or not wanted:
            raise UsageError(f"{at}: label and prompt must both be filled in")
        if overrides.get(label, wanted) != wanted:
            raise UsageError(f"{at}: {label!r} has another prompt above")
        overrides[label] = wanted
    if not overrides:
        raise UsageError(f"{where} has no prompts below its first line")
    for label, wanted in list(overrides.items()):
        overrides.setdefault(phrase(label) or label, wanted)
    return overrides
