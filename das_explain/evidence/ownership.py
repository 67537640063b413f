"""Whose a folder is: what proves that it holds a run of ours, and which files in it are that run's.

Nothing else in the folder is ever removed or replaced, with ``--overwrite`` or without.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence.shards import shard_count, shard_name
from das_explain.evidence.tables import TABLES
from das_explain.files import PART, is_regular, read_regular
from das_explain.folders import LOCK, files_below, inside
from das_explain.text import spelled

MANIFEST = "run.json"
PAGE = re.compile(r"(index\.html|data\.js|pairs\.js|report\.js|report\.css|images/[0-9]{6}(-[0-9]+)?\.(jpg|js))")
"""A file of ``report/``, but for the copies in ``report/files/``."""
_FIGURE = re.compile(r"[^/\\\0]+\.(png|pdf|svg)")
_FRAME = re.compile(r"[0-9]{6}(-[0-9]+)?\.jpg")  # of schema 1


def read_manifest(folder: Path) -> Any:
    """What ``run.json`` holds, of whatever kind; ``None`` where there is none. Raises DasExplainError."""
    path = inside(folder, MANIFEST)
    if not path.exists():
        return None
    if not is_regular(path):
        raise DasExplainError(f"{spelled(str(path))} is no file")
    try:
        return json.loads(read_regular(path, "run.json"))
    except RecursionError:
        raise DasExplainError(f"{spelled(str(path))} cannot be read: it is nested too deeply") from None
    except ValueError as error:
        raise DasExplainError(f"{spelled(str(path))} cannot be read: {str(error).splitlines()[0]}") from None


def is_ours(manifest: Any) -> bool:
    """Whether this program wrote that ``run.json``, in this version or an earlier one."""
    if not isinstance(manifest, dict) or not isinstance(manifest.get("versions"), dict):
        return False
    known = isinstance(manifest.get("schema"), int) and "das-explain" in manifest["versions"]
    lists = (manifest.get("models"), manifest.get("sample"))
    return known and all(isinstance(each, list) for each in lists)


def own_manifest(folder: Path) -> dict[str, Any] | None:
    """The ``run.json`` of a run of ours in ``folder``; ``None`` if the folder is empty or not there.

    Raises UsageError for a folder that holds anything else: it stays as it is.
    """
    if not folder.is_dir():
        return None
    other = [entry.name for entry in folder.iterdir() if entry.name != LOCK and not PART.fullmatch(entry.name)]
    if not other:
        return None
    where = spelled(str(folder))
    if MANIFEST not in other:
        raise UsageError(f"--out {where} is not empty and holds no run; choose another folder")
    try:
        manifest = read_manifest(folder)
    except DasExplainError as error:
        raise UsageError(f"{error}; choose another --out") from None
    if not is_ours(manifest):
        raise UsageError(f"{where} holds a {MANIFEST} that das-explain did not write; choose another --out")
    return manifest


def figure_names(manifest: dict[str, Any]) -> list[str]:
    """The files of ``figures/`` that the run has drawn: ``run.json`` names them before they are there."""
    names = manifest.get("figures")
    return (
        [each for each in names if isinstance(each, str) and _FIGURE.fullmatch(each)] if isinstance(names, list) else []
    )


def written_names(folder: Path, manifest: dict[str, Any]) -> Iterator[str]:
    """What the run in ``folder`` wrote besides ``run.json``, which stays until all else is gone; relative, with slashes."""
    figures = figure_names(manifest)
    yield from (f"report/{name}" for name in files_below(folder / "report") if is_page(name, figures))
    yield "report.html"
    yield from (f"figures/{name}" for name in figures)
    yield from (f"{table}.csv" for table in TABLES)
    yield "journal.jsonl"  # of schema 1, and its frames
    yield from (f"frames/{name}" for name in files_below(folder / "frames") if _FRAME.fullmatch(name))
    yield from (f"evidence/{shard_name(number)}" for number in range(shard_count(len(manifest["sample"]))))


def is_page(name: str, figures: list[str]) -> bool:
    """Whether a file of ``report/`` is the report's: of the page, or a copy of a table or figure of the run."""
    copies = {*(f"{table}.csv" for table in TABLES), *figures}
    return PAGE.fullmatch(name) is not None or (name.startswith("files/") and name.removeprefix("files/") in copies)
