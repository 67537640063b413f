"""Reading a run's folder for its report: the manifest and the tables, checked, models in the order they were named.

Everything in the folder is treated as untrusted text. Keys missing from ``run.json`` are tolerated (the report says
"not recorded"); missing files or columns that carry the scores are an error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from das_explain.errors import DasExplainError

SCORE_NUMBERS = (
    "confidence", "cam_max", "r_area", "b_x0", "b_y0", "b_x1", "b_y1", "w_r", "w_n", "sfd",
)  # fmt: skip
SUMMARY_NUMBERS = ("n", "n_scored", "mean_sfd", "ci_low", "ci_high")
COMPARISON_NUMBERS = (
    "n", "mean_a", "mean_b", "delta", "ci_low", "ci_high", "p_value", "p_adjusted", "win_rate",
)  # fmt: skip
LIFT_NUMBERS = ("mean", "mean_null", "lift", "ci_low", "ci_high", "n")
DESIGN_NUMBERS = ("copies_a", "copies_b", "n", "mean_a", "mean_b", "delta", "ci_low", "ci_high")


@dataclass(frozen=True)
class Run:
    """One run, read. ``models`` and ``blocks`` are ordered; tables have text and float columns."""

    folder: Path
    manifest: dict[str, Any]
    models: tuple[str, ...]
    blocks: tuple[str, ...]
    scores: pd.DataFrame
    summary: pd.DataFrame
    comparison: pd.DataFrame
    nulls: pd.DataFrame
    lift: pd.DataFrame
    designs: pd.DataFrame

    @property
    def journal(self) -> Path:
        return self.folder / "journal.jsonl"

    def model_entries(self) -> list[dict[str, Any]]:
        """What ``run.json`` knows of each model, in the order of ``models``; empty where it knows nothing."""
        known = {entry.get("name"): entry for entry in dicts(self.manifest.get("models"))}
        return [{**known.get(name, {}), "name": name} for name in self.models]

    def groups(self) -> dict[str, list[str]]:
        """Design -> its trained copies among ``models``; a model that no group names stands alone."""
        groups = {
            str(name): [str(member) for member in members if str(member) in self.models]
            for name, members in self.section("groups").items()
            if isinstance(members, list)
        }
        named = {member for members in groups.values() for member in members}
        return {
            **{name: members for name, members in groups.items() if members},
            **{model: [model] for model in self.models if model not in named},
        }

    def section(self, name: str) -> dict[str, Any]:
        """A section of ``run.json`` that should be an object, or ``{}``."""
        value = self.manifest.get(name)
        return value if isinstance(value, dict) else {}


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects in a list, or ``[]`` where there is no list."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _ordered(preferred: list[str], present: list[str]) -> tuple[str, ...]:
    """The names that are present, once each: first in the preferred order, then in the order of appearance."""
    seen = dict.fromkeys(present)
    return tuple(dict.fromkeys([name for name in preferred if name in seen] + list(seen)))


def _table(path: Path, text: tuple[str, ...], numbers: tuple[str, ...], *, required: bool) -> pd.DataFrame:
    """A CSV with every cell as text but ``numbers`` (float64, empty is NaN), so that a class may be called "NA"."""
    columns = [*text, *numbers]
    if not path.is_file():
        if required:
            raise DasExplainError(f"{path} is missing: is this the folder of a run of `das-explain sfd`?")
        return pd.DataFrame(columns=columns)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding_errors="surrogateescape")
    except pd.errors.EmptyDataError:
        table = pd.DataFrame(columns=columns)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise DasExplainError(f"{path} cannot be read as CSV: {str(error).splitlines()[0]}") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DasExplainError(f"{path} lacks the column {missing[0]}: was it written by another version?")
    for name in numbers:
        table[name] = pd.to_numeric(table[name], errors="coerce").astype("float64")
    return table


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except FileNotFoundError:
        raise DasExplainError(f"{path} is missing: is this the folder of a run of `das-explain sfd`?") from None
    except (OSError, ValueError) as error:
        raise DasExplainError(f"{path} cannot be read as JSON: {str(error).splitlines()[0]}") from error
    if not isinstance(manifest, dict):
        raise DasExplainError(f"{path} holds no JSON object: was it written by another program?")
    return manifest


def read_run(folder: Path) -> Run:
    """Read RUN/run.json and its tables.

    Raises DasExplainError, on one line, when the folder, ``run.json``, ``journal.jsonl``, ``scores.csv`` or
    ``summary.csv`` is missing or unreadable. The other tables (comparison, nulls, lift, designs) may be missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DasExplainError(f"{folder} is not a folder: name the folder that `das-explain sfd --out` wrote")
    manifest = _manifest(folder / "run.json")
    if not (folder / "journal.jsonl").is_file():
        raise DasExplainError(f"{folder / 'journal.jsonl'} is missing: run `das-explain sfd` again to complete the run")
    scores = _table(
        folder / "scores.csv",
        ("image", "model", "block", "label", "target", "predicted", "correct", "status"),
        SCORE_NUMBERS,
        required=True,
    )
    entries = dicts(manifest.get("models"))
    preferred_blocks = [
        str(block) for entry in entries if isinstance(entry.get("blocks"), list) for block in entry["blocks"]
    ]

    def optional(name: str, text: tuple[str, ...], numbers: tuple[str, ...]) -> pd.DataFrame:
        return _table(folder / name, text, numbers, required=False)

    return Run(
        folder=folder,
        manifest=manifest,
        models=_ordered([str(entry.get("name")) for entry in entries], list(scores["model"])),
        blocks=_ordered(preferred_blocks, list(scores["block"])),
        scores=scores,
        summary=_table(folder / "summary.csv", ("model", "block"), SUMMARY_NUMBERS, required=True),
        comparison=optional("comparison.csv", ("block", "model_a", "model_b"), COMPARISON_NUMBERS),
        nulls=optional("nulls.csv", ("image", "model", "block", "null", "status"), ("sfd",)),
        lift=optional("lift.csv", ("model", "block", "measure", "null"), LIFT_NUMBERS),
        designs=optional("designs.csv", ("block", "group_a", "group_b", "claim"), DESIGN_NUMBERS),
    )
