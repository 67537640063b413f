"""What a study found, read from its runs' tables: everything that page, figures and summary say is taken from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from das_explain.errors import DasExplainError
from das_explain.evidence.run import Run
from das_explain.evidence.tables import TABLES as COLUMNS
from das_explain.evidence.tables import TEXT, write_table
from das_explain.scoring.designs import TOP1
from das_explain.stats.sensitivity import DEFAULT_READING, sensitivity
from das_explain.study.folder import STATE
from das_explain.study.schema import Study
from das_explain.study.scoring import in_order
from das_explain.study.units import Unit, training_of

TABLES = (
    "copies", "design_means", "design_differences", "design_lifts", "design_readings", "correlations",
)  # fmt: skip
NAMED = ("measure", "null", "group", "group_a", "group_b", "model")  # of their columns, those without an empty cell
MODELS = {"group": "model", "group_a": "model_a", "group_b": "model_b"}  # to who asks for models, designs are


@dataclass(frozen=True)
class Results:
    """``tables``: of `TABLES`, all data sets below one another, the column ``data`` first; ``units``: a row each."""

    study: Study
    folder: Path
    runs: Mapping[str, Run]
    units: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    versions: Mapping[str, str]

    @classmethod
    def read(cls, study: Study, units: Sequence[Unit], runs: Mapping[str, Run], folder: Path) -> Results:
        """Reads the tables of scored runs and the cards of finished units."""
        found: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
        for data, run in runs.items():
            for name in TABLES:
                if (run.folder / f"{name}.csv").is_file():
                    found[name].append(_table(run, name).assign(data=data))
        nothing = {name: pd.DataFrame(columns=["data", *COLUMNS[name]]) for name in TABLES}
        tables = {name: pd.concat(parts) if parts else nothing[name] for name, parts in found.items()}
        for name in ("design_differences", "design_readings"):
            tables[name] = _turned(tables[name], list(study.designs))
        trainings = [(unit, training_of(unit)) for unit in in_order(study, units)]
        versions = trainings[0][1].get("versions") if trainings else None
        return cls(study, folder, runs, _units(trainings), tables, versions if isinstance(versions, dict) else {})

    @property
    def designs(self) -> list[str]:
        """In the study's order; the first is what others are compared with."""
        return list(self.study.designs)

    @property
    def blocks(self) -> list[str]:
        """In the runs' order."""
        return list(dict.fromkeys(b for run in self.runs.values() for m in run.manifest["models"] for b in m["blocks"]))

    def of(self, table: str, **where: str) -> pd.DataFrame:
        """The rows of a table that have these values."""
        rows = self.tables[table]
        for column, value in where.items():
            rows = rows[rows[column] == value] if len(rows) else rows
        return rows

    def row(self, table: str, **where: str) -> Any:
        """The only row that has these values, or ``None``."""
        rows = self.of(table, **where)
        return next(rows.itertuples(index=False)) if len(rows) == 1 else None

    def sensitivity(self) -> pd.DataFrame:
        """In how many readings the sign of each difference in sfd holds, a row per data set, block and pair."""
        parts = []
        for data, run in self.runs.items():
            readings = self.readings(data)
            if len(readings):
                scoring = run.manifest["scoring"]
                default = {**DEFAULT_READING, **{key: scoring[key] for key in ("scaling", "threshold", "box")}}
                parts.append(sensitivity(readings, default).assign(data=data))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def readings(self, data: str) -> pd.DataFrame:
        """``design_readings.csv`` of a data set, designs as ``model_a`` and ``model_b``."""
        return self.of("design_readings", data=data).drop(columns="data", errors="ignore").rename(columns=MODELS)

    def write(self, folder: Path) -> None:
        """Writes the study's own tables: each of `TABLES` over all data sets, and the units."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in self.tables.items():
            (folder / f"{name}.csv").unlink(missing_ok=True)  # of an earlier choice of measures or nulls
            if len(table):
                first = ["data", *(column for column in table.columns if column != "data")]
                write_table(folder / f"{name}.csv", table[first])
        write_table(folder / "units.csv", self.units)


def _table(run: Run, name: str) -> pd.DataFrame:
    """A table of a run; infinite numbers as none, but for the copies needed, which may be. Raises DasExplainError where
    rows do not say what they are of, or two say the same."""
    table = run.table(name)
    table = table.astype({column: str for column in table.columns if column in TEXT})
    finite = [column for column in table.columns if column not in (*TEXT, "copies_needed")]
    table[finite] = table[finite].replace([np.inf, -np.inf], np.nan)
    of = [column for column in COLUMNS[name] if column in TEXT or column == "threshold"]
    unnamed = (table[[column for column in of if column in NAMED]] == "").any(axis=None)
    if unnamed or table.duplicated(of).any():
        path, state = run.folder / f"{name}.csv", run.folder.parent.with_name(STATE)
        raise DasExplainError(f"{path} was changed by another program: delete {state} to score all runs again")
    return table


def _turned(table: pd.DataFrame, designs: Sequence[str]) -> pd.DataFrame:
    """Differences, each from the design that the study names first, whatever the order was when they were scored."""
    if not len(table):
        return table
    table = table.reset_index(drop=True)
    places = {design: place for place, design in enumerate(designs)}
    back = (table["group_a"].map(places) > table["group_b"].map(places)).to_numpy()
    turned = table[back].rename(columns=_OTHER)
    for column in ("delta", *(each for each in table.columns if each.endswith(("ci_low", "ci_high")))):
        turned[column] = -turned[column]
    return pd.concat([table[~back], turned[table.columns]]).sort_index()


_PAIRS = [(f"{what}_a", f"{what}_b") for what in ("group", "copies", "mean")]
_PAIRS += [(f"{what}ci_low", f"{what}ci_high") for what in ("", "image_")]
_OTHER = dict(_PAIRS) | {other: one for one, other in _PAIRS}


def _units(trainings: Sequence[tuple[Unit, dict[str, Any]]]) -> pd.DataFrame:
    rows = []
    for unit, training in trainings:
        tests = training.get("accuracy") or {}
        row = {
            "unit": unit.name,
            "design": unit.design,
            "seed": unit.seed,
            "seconds": training["seconds"],
            "precision": str(training.get("precision", "")),
            "machine": str(training.get("machine", "")),
        }
        rows.append(row | {f"{TOP1}_{name}": test["top1"] for name, test in tests.items()})
    return pd.DataFrame(rows)
