"""The folder of a study: whose it is, and that nothing of it is read or written elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from das_explain.checkpoint.config import MAX_BYTES
from das_explain.errors import UsageError
from das_explain.evidence.ownership import figure_names
from das_explain.files import PART, is_regular, json_object
from das_explain.folders import LOCK, check_folder, inside
from das_explain.study.schema import Study
from das_explain.study.units import Unit
from das_explain.text import spelled

STUDY, SUMMARY, STATE = "study.json", "summary.md", "scored.json"
FOLDERS = ("units", "runs", "tables", "figures", "report")
FIGURE = re.compile(r"(copies|accuracy-sfd|lift|readings)-[A-Za-z0-9._-]+\.(png|pdf)")


def check_out(study: Study, units: Sequence[Unit], out: Path) -> list[str]:
    """The files of ``figures/`` that a study drew before in ``out``, by its ``study.json``; none where none is.

    Raises UsageError for a folder that cannot be written or holds something else, and as ``check_places``.
    """
    check_folder(out)
    check_places(study, units, out)
    content = known_of(out / STUDY)
    if not _is_study(content) and out.is_dir() and _of_others(out):
        raise UsageError(f"--out {out} holds something else: name a new folder, or that of a study")
    return [name for name in figure_names(content) if FIGURE.fullmatch(name)]  # what is no figure's name is left out


def check_places(study: Study, units: Sequence[Unit], out: Path) -> None:
    """Looks at every place of a study's folder before anything is read or made there.

    Raises DasExplainError for a link that leads out of the folder, behind which others' files lie; UsageError for a file
    where a folder is to be, and for a pipe, a device or a folder in the place of a file.
    """
    runs, logs = [f"runs/{name}" for name in study.data], [f"units/{unit.name}.log" for unit in units]
    for name in (*FOLDERS, *runs, *(f"units/{unit.name}" for unit in units)):
        path = inside(out, name)
        if path.exists() and not path.is_dir():
            raise UsageError(f"{spelled(str(path))} is no folder, as a study's has to be: move it away")
    for name in (STUDY, SUMMARY, STATE, *logs):
        path = inside(out, name)
        if path.exists() and not is_regular(path):
            raise UsageError(f"{spelled(str(path))} is no file, as a study's has to be: move it away")


def known_of(path: Path) -> dict[str, Any]:
    """What a JSON file of a study holds, as ``json_object``; a link that leads out of its folder is refused as well."""
    return json_object(inside(path.parent, path.name), "file of a study", most=MAX_BYTES)


def _is_study(content: dict[str, Any]) -> bool:
    """Whether this program wrote that ``study.json``."""
    return isinstance(content.get("study"), dict) and "created" in content


def _of_others(out: Path) -> bool:
    """Whether there is more in a folder than a killed process leaves that had not yet said that a study is in it."""
    return any(not PART.fullmatch(path.name) and path.name not in ("units", LOCK) for path in out.iterdir())
