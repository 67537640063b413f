"""What of a study may be shown to others: summary, tables, figures and cards; no weights and no photo."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from das_explain.checkpoint.config import CARD
from das_explain.errors import UsageError
from das_explain.files import read_regular, write_text_whole
from das_explain.folders import CLAIM, claimed_files, inside, new_files, remove_written
from das_explain.study.folder import SUMMARY
from das_explain.study.results import TABLES
from das_explain.study.units import Unit
from das_explain.train.task import MODEL


def publish(out: Path, units: Sequence[Unit], drawn: Sequence[Path], folder: Path, given: Mapping[str, str]) -> Path:
    """Copies ``README.md`` (the summary), ``tables/``, ``figures/`` and ``cards/`` of a finished study into ``folder``;
    ``drawn``: its figures as PNG, beside which PDFs lie.

    Where the study was told where something lies (``given``), the copies say ``${name}`` in place of the path, and
    ``${out}`` for the study's own folder: a path of one machine is of no use on another. Returns the README's path.

    Raises UsageError for a folder that holds something else.
    """
    readme = folder / "README.md"
    if folder.exists() and any(folder.iterdir()) and not (folder / CLAIM).is_file():
        raise UsageError(f"--publish {folder} holds something else: name a new folder, or that of a study")
    values = {**given, "out": str(out)}
    places = {value: f"${{{name}}}" for name, value in values.items() if "/" in value or os.sep in value}

    def text(name: str, target: Path) -> None:
        content = read_regular(inside(out, name), "file of a study").decode("utf-8", "replace")
        for place in sorted(places, key=len, reverse=True):
            content = content.replace(place, places[place])
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text_whole(target, content)

    figures = [path.with_suffix(end) for path in drawn for end in (".png", ".pdf")]
    tables = (f"tables/{name}.csv" for name in sorted((*TABLES, "units")))
    texts = {"README.md": SUMMARY, **{name: name for name in tables if (out / name).exists()}}
    texts |= {f"cards/{unit.name}.md": f"units/{unit.name}/{MODEL}/{CARD}" for unit in units}
    before = claimed_files(folder)
    with new_files(folder) as fresh:
        for name, origin in texts.items():
            text(origin, fresh / name)
        (fresh / "figures").mkdir()
        for path in figures:
            shutil.copyfile(path, fresh / "figures" / path.name)
    remove_written(folder, before - {*texts, *(f"figures/{path.name}" for path in figures)})
    return readme
