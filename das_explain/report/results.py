"""What the report knows of a scored run: small tables as they are, of the rows of all images counts and one number each.

Everything in the folder is treated as untrusted text. Of ``run.json`` only names are taken for granted (the report says
"not recorded" where the rest is missing); tables that carry the scores have to be there and to fit each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from das_explain.errors import DasExplainError
from das_explain.evidence.run import Run
from das_explain.evidence.tables import TABLES
from das_explain.evidence.values import Key
from das_explain.report.tally import Tally, add_measures, read_tally

OPTIONAL = (
    "comparison", "lift", "designs", "readings", "measure_comparison", "agreement", "signs", "statuses", "exclusions",
    "strata", "effect_sizes", "variance", "region_uncertainty", "best_iou",
)  # fmt: skip


@dataclass
class Results:
    """One run, read for its report. ``models`` and ``blocks`` are ordered; tables have text and float columns, and are
    empty where the run lacks them."""

    run: Run
    models: tuple[str, ...]
    blocks: tuple[str, ...]
    summary: pd.DataFrame
    tally: Tally
    comparison: pd.DataFrame
    lift: pd.DataFrame
    designs: pd.DataFrame
    readings: pd.DataFrame
    measure_comparison: pd.DataFrame
    agreement: pd.DataFrame
    signs: pd.DataFrame
    statuses: pd.DataFrame
    exclusions: pd.DataFrame
    strata: pd.DataFrame
    effect_sizes: pd.DataFrame
    variance: pd.DataFrame
    region_uncertainty: pd.DataFrame
    best_iou: pd.DataFrame

    @classmethod
    def read(cls, run: Run) -> Results:
        """Reads the tables of a scored run.

        Raises:
            DasExplainError: scores.csv or summary.csv is missing, a table is broken, or they do not fit ``run.json``.
        """
        models, blocks = _names(run)
        tables = {name: _optional(run, name) for name in OPTIONAL}
        tally = read_tally(run, models, blocks)
        if not len(tables["measure_comparison"]):
            add_measures(run, tally)
        return cls(run, models, blocks, _as_text(run.table("summary")), tally, **tables)

    @property
    def manifest(self) -> dict[str, Any]:
        return self.run.manifest

    @property
    def count(self) -> int:
        """How many images the tables are of: all of the run's, unless it is unfinished."""
        return len(self.run.seen)

    @property
    def part(self) -> str:
        """``k of n images`` where the run was unfinished when it was scored; empty for all of them."""
        return self.run.part or ""

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """The models that are compared, two by two and in the order of their difference, second less first."""
        compared = self.comparison[["model_a", "model_b"]].drop_duplicates().itertuples(index=False, name=None)
        return [pair for pair in compared if set(pair) <= set(self.models)] or list(combinations(self.models, 2))

    @property
    def first_pair(self) -> tuple[str, str] | None:
        """The pair that is shown until the reader chooses another: two designs rather than two copies of one."""
        group = {member: name for name, members in self.groups().items() for member in members}
        apart = [pair for pair in self.pairs if group.get(pair[0]) != group.get(pair[1])]
        return next(iter([*apart, *self.pairs]), None)

    def number(self, model: str) -> int | None:
        """A model's number, by which the page knows its colour; None of what is no model."""
        return self.models.index(model) if model in self.models else None

    def pair_name(self, a: str, b: str) -> str:
        """How the page calls a pair: the numbers of its models, ``"0-1"``; empty where one is no model."""
        numbers = self.number(a), self.number(b)
        return "" if None in numbers else "{}-{}".format(*numbers)

    def section(self, name: str) -> dict[str, Any]:
        """A section of ``run.json`` that should be an object, or ``{}``."""
        value = self.manifest.get(name)
        return value if isinstance(value, dict) else {}

    def sentences(self, name: str) -> list[str]:
        """Sentences that ``run.json`` has under a name."""
        value = self.manifest.get(name)
        return [str(each) for each in value] if isinstance(value, list) else []

    def assumptions(self) -> list[str]:
        """The choices that changed numbers, as ``run.json`` has them."""
        return self.sentences("assumptions")

    def entries(self) -> list[dict[str, Any]]:
        """What ``run.json`` knows of each model, in the order of ``models``."""
        return list(self.manifest["models"])

    def groups(self) -> dict[str, list[str]]:
        """Design -> its trained copies among ``models``; a model that no group names stands alone."""
        groups = {
            str(name): [str(member) for member in members if str(member) in self.models]
            for name, members in self.section("groups").items()
            if isinstance(members, list)
        }
        named = {member for members in groups.values() for member in members}
        return {name: members for name, members in groups.items() if members} | {
            model: [model] for model in self.models if model not in named
        }

    def scored(self, model: str, block: str) -> np.ndarray:
        """The sfd of a model's scored images at a block, float32 (n,)."""
        values = self.tally.sfd.get(Key(model, block), np.empty(0, np.float32))
        return values[np.isfinite(values)]


def _names(run: Run) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of models and blocks, in order. Raises DasExplainError where ``run.json`` has none."""
    path = run.folder / "run.json"
    for entry in run.manifest["models"]:
        if not (isinstance(entry, dict) and isinstance(entry.get("name"), str) and _texts(entry.get("blocks"))):
            raise DasExplainError(
                f"{path} does not name its models and their blocks: was it written by another program?"
            )
    if not _texts(run.manifest["sample"]):
        raise DasExplainError(f"{path} does not name its images: was it written by another program?")
    models = [entry["name"] for entry in run.manifest["models"]]
    blocks = [block for entry in run.manifest["models"] for block in entry["blocks"]]
    return tuple(dict.fromkeys(models)), tuple(dict.fromkeys(blocks))


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _optional(run: Run, name: str) -> pd.DataFrame:
    """A small table that a run may lack: it is then empty."""
    there = (run.path(f"{name}.csv")).is_file()
    return _as_text(run.table(name)) if there else pd.DataFrame(columns=list(TABLES[name]))


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    categories = table.select_dtypes("category").columns
    return table.astype(dict.fromkeys(categories, str))
