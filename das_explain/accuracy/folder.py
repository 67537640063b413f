"""The folder of an evaluation: what was asked for, whose it is, and that it is whole or says that it is not.

    evaluation.json   what was measured: command, models, data, versions, counts by status
    predictions.csv   classifiers: a row per image and model; accuracy.csv, classes.csv, comparison.csv follow from it
    images.csv        detectors: a row per image; ap.csv, classes.csv, comparison.csv; detections-N.json of each model

They are written at the end; ``unfinished.jsonl`` keeps what was measured until then, and the same command goes on from
there. Of an evaluation that is finished the same command measures anew and replaces them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from das_explain.accuracy.journal import JOURNAL
from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence.tables import write_rows
from das_explain.files import json_object, package_versions, six_digits, write_json, write_text_whole
from das_explain.folders import check_folder, inside, remove_written

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


def identity_of(request: Request, models: Sequence[dict[str, str]], fingerprint: str) -> dict[str, Any]:
    """What must be equal for an evaluation to be the same one."""
    sample = {"sample": request.sample, "stratified": request.stratified, "seed": request.seed}
    return {"schema": SCHEMA, "models": list(models), "data": request.data, "data_fingerprint": fingerprint, **sample}


def check_out(out: Path) -> dict[str, Any] | None:
    """What ``evaluation.json`` says of an evaluation in ``out``; ``None`` where none is.

    Raises UsageError for a folder that cannot be written, or that holds files of these names which are not ours.
    """
    check_folder(out)
    there = json_object(inside(out, MANIFEST), MANIFEST)
    if isinstance(there.get("versions"), dict) and "das-explain" in there["versions"]:
        return there
    if taken := [name for name in (MANIFEST, *TABLES, JOURNAL) if os.path.lexists(out / name)]:
        raise UsageError(f"{out / taken[0]} is of something else: name another --out")
    return None


def begin(request: Request, models: Sequence[dict[str, str]], fingerprint: str) -> None:
    """Makes the folder this evaluation's: it is new, or holds the same one, or may be replaced."""
    there, identity = check_out(request.out), identity_of(request, models, fingerprint)
    identity = json.loads(json.dumps(identity))
    same = there is not None and all(there.get(key) == value for key, value in identity.items())
    if there is not None and not same and not request.overwrite:
        raise DasExplainError(
            f"{request.out} holds another evaluation: another --out keeps it, --overwrite replaces it"
        )
    request.out.mkdir(parents=True, exist_ok=True)
    if there is None:
        write_json(inside(request.out, MANIFEST), {**identity, "complete": False, "versions": package_versions()})


def write_evaluation(
    request: Request,
    models: Sequence[dict[str, str]],
    fingerprint: str,
    count: int,
    tables: dict[str, pd.DataFrame],
    counts: dict[str, int],
    found: Sequence[Sequence[dict[str, Any]]] = (),
    *,
    made_by: Sequence[dict[str, Any]] = (),
    assumptions: Sequence[str] = (),
) -> None:
    """The manifest first, which says that the tables are being written, and last, that they are whole."""
    manifest = {
        **identity_of(request, models, fingerprint),
        "command": sys.argv,
        "images": count,
        "counts": counts,
        "assumptions": list(assumptions),
        "draws": request.draws,
        "made_by": list(made_by),
        "versions": package_versions(),
    }
    try:
        before = check_out(request.out) or {}
        known = before.get("models") if isinstance(before.get("models"), list) else []
        write_json(inside(request.out, MANIFEST), {**manifest, "complete": False})
        old = [f"detections-{number}.json" for number in range(1, 1 + max(len(known), len(models)))]
        remove_written(request.out, [*TABLES, *old])
        for name, table in tables.items():
            if len(table):
                write_rows(inside(request.out, f"{name}.csv"), list(table.columns), _records(table))
        for number, mine in enumerate(found, 1):
            write_text_whole(inside(request.out, f"detections-{number}.json"), json.dumps(mine))
        write_json(inside(request.out, MANIFEST), {**manifest, "complete": True})
        remove_written(request.out, [JOURNAL])
    except OSError as error:
        raise DasExplainError(f"cannot write to {error.filename or request.out}: {error.strerror}") from None


def _records(table: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """Rows in which nothing, NaN and None alike, is None; numbers with six digits."""
    columns = {name: [_cell(value) for value in table[name]] for name in table.columns}
    return (dict(zip(columns, row)) for row in zip(*columns.values()))


def _cell(value: Any) -> Any:
    if pd.isna(value):
        return None
    return six_digits(value) if isinstance(value, (float, np.floating)) else value
