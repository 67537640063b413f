"""What of a study may be shown to others: summary, tables, figures and cards; no weights and no photo."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from das_explain.checkpoint.config import CARD
from das_explain.errors import UsageError
from das_explain.files import write_text_whole
from das_explain.study.run import SUMMARY
from das_explain.study.summary import HEAD
from das_explain.study.units import Unit


def publish(out: Path, units: Sequence[Unit], folder: Path, given: Mapping[str, str]) -> Path:
    """Copies ``README.md`` (the summary), ``tables/``, ``figures/`` and ``cards/`` of a finished study into ``folder``.

    Where the study was told where something lies (``given``), the copies say ``${name}`` in place of the path, and
    ``${out}`` for the study's own folder: a path of one machine is of no use on another. Returns the README's path.

    Raises UsageError for a folder that holds something else.
    """
    readme = folder / "README.md"
    if folder.exists() and any(folder.iterdir()) and not _is_summary(readme):
        raise UsageError(f"--publish {folder} holds something else: name a new folder, or that of a study")
    values = {**given, "out": str(out)}
    places = {value: f"${{{name}}}" for name, value in values.items() if "/" in value or os.sep in value}

    def text(path: Path, target: Path) -> None:
        content = path.read_text(encoding="utf-8")
        for place in sorted(places, key=len, reverse=True):
            content = content.replace(place, places[place])
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text_whole(target, content)

    for name in ("tables", "figures", "cards"):
        shutil.rmtree(folder / name, ignore_errors=True)
    text(out / SUMMARY, readme)
    for path in sorted((out / "tables").glob("*.csv")):
        text(path, folder / "tables" / path.name)
    (folder / "figures").mkdir()
    for path in sorted((out / "figures").iterdir()):
        if path.suffix in (".png", ".pdf"):
            shutil.copyfile(path, folder / "figures" / path.name)
    for unit in units:
        text(unit.model / CARD, folder / "cards" / f"{unit.name}.md")
    return readme


def _is_summary(path: Path) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8", errors="replace").startswith(HEAD)
