"""The folder of an evaluation: what was asked for, and whether and how its tables are written there.

    evaluation.json   what was measured: command, models, data, versions, counts by status
    predictions.csv   classifiers: a row per image and model; accuracy.csv, classes.csv, comparison.csv follow from it
    images.csv        detectors: a row per image; ap.csv, classes.csv, comparison.csv; detections-N.json of each model

They are written at the end; the same command measures anew and replaces them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from das_explain.errors import DasExplainError
from das_explain.evidence.tables import write_rows
from das_explain.files import package_versions, six_digits, write_json

MANIFEST, SCHEMA = "evaluation.json", 1
TABLES = ("predictions.csv", "accuracy.csv", "images.csv", "ap.csv", "classes.csv", "comparison.csv")


@dataclass(frozen=True)
class Request:
    """What to measure. ``models`` are specs; ``data`` is a data spec, or ``FILE.json[@FOLDER]`` for detectors.

    ``label_files``: per classifier a file of its class names, or ``None``; empty: each model's own.

    ``draws``: of the bootstrap of detectors' AP; 0 leaves out its intervals.
    """

    models: tuple[str, ...]
    data: str
    out: Path
    label_files: tuple[Path | None, ...] = ()
    label_map: dict[str, str] | None = None
    sample: int | None = None
    stratified: bool = False
    seed: int = 0
    split: str | None = None
    root: Path | None = None
    batch: int | None = None
    workers: int | None = None
    device: str | None = None
    draws: int = 200
    overwrite: bool = False


def _identity(request: Request, models: Sequence[dict[str, str]], fingerprint: str) -> dict[str, Any]:
    sample = {"sample": request.sample, "stratified": request.stratified, "seed": request.seed}
    return {"schema": SCHEMA, "models": list(models), "data": request.data, "data_fingerprint": fingerprint, **sample}


def check_folder(request: Request, models: Sequence[dict[str, str]], fingerprint: str) -> None:
    """Whether the results may be written there: into a new folder, or in place of the same evaluation's."""
    path = request.out / MANIFEST
    if request.overwrite:
        return
    if path.is_file():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
            same = all(there.get(key) == value for key, value in _identity(request, models, fingerprint).items())
        except (OSError, ValueError, AttributeError):
            same = False
        if not same:
            raise DasExplainError(
                f"{request.out} holds another evaluation: another --out keeps it, --overwrite replaces it"
            )
    elif taken := [name for name in TABLES if (request.out / name).exists()]:
        raise DasExplainError(f"{request.out / taken[0]} is of something else: name another --out, or --overwrite it")


def write_results(
    request: Request,
    models: Sequence[dict[str, str]],
    fingerprint: str,
    count: int,
    tables: dict[str, pd.DataFrame],
    counts: dict[str, int],
    assumptions: Sequence[str] = (),
) -> None:
    """Replaces what an evaluation left there. Raises DasExplainError if the disk takes no more."""
    try:
        request.out.mkdir(parents=True, exist_ok=True)
        for name in (*TABLES, MANIFEST, *(path.name for path in request.out.glob("detections-*.json"))):
            (request.out / name).unlink(missing_ok=True)
        for name, table in tables.items():
            if len(table):
                write_rows(request.out / f"{name}.csv", list(table.columns), _records(table))
        manifest = {
            **_identity(request, models, fingerprint),
            "command": sys.argv,
            "images": count,
            "counts": counts,
            "assumptions": list(assumptions),
            "draws": request.draws,
            "versions": package_versions(),
        }
        write_json(request.out / MANIFEST, manifest)
    except OSError as error:
        raise DasExplainError(f"cannot write to {request.out}: {error.strerror}") from None


def _records(table: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """Rows in which nothing, NaN and None alike, is None; numbers with six digits."""
    columns = {name: [_cell(value) for value in table[name]] for name in table.columns}
    return (dict(zip(columns, row)) for row in zip(*columns.values()))


def _cell(value: Any) -> Any:
    if pd.isna(value):
        return None
    return six_digits(value) if isinstance(value, (float, np.floating)) else value
