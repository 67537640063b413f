"""What of a study may be shown to others: summary, tables, figures and cards; no weights and no photo."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from das_explain.checkpoint.config import CARD
from das_explain.files import write_text_whole
from das_explain.study.run import SUMMARY
from das_explain.study.units import Unit


def publish(out: Path, units: Sequence[Unit], folder: Path, given: Mapping[str, str]) -> Path:
    """Copies ``README.md`` (the summary), ``tables/``, ``figures/`` and ``cards/`` of a finished study into ``folder``.

    Where the study was told where something lies (``given``), the copies say ``${name}`` in its place, and ``${out}`` for
    the study's own folder: a path of one machine is of no use on another. Returns the README's path.
    """
    places = {path: f"${{{name}}}" for name, path in given.items() if path} | {str(out): "${out}"}

    def text(path: Path, target: Path) -> None:
        content = path.read_text(encoding="utf-8")
        for place in sorted(places, key=len, reverse=True):
            content = content.replace(place, places[place])
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text_whole(target, content)

    for name in ("tables", "figures", "cards"):
        shutil.rmtree(folder / name, ignore_errors=True)
    text(out / SUMMARY, folder / "README.md")
    for path in sorted((out / "tables").glob("*.csv")):
        text(path, folder / "tables" / path.name)
    (folder / "figures").mkdir()
    for path in sorted((out / "figures").iterdir()):
        if path.suffix in (".png", ".pdf"):
            shutil.copyfile(path, folder / "figures" / path.name)
    for unit in units:
        text(unit.model / CARD, folder / "cards" / f"{unit.name}.md")
    return folder / "README.md"
