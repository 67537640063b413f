"""The newcomer's page speaks of what is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "das_explain"


def test_every_file_and_folder_that_the_page_names_is_there():
    named = set(re.findall(r"`([a-z_]+/(?:[a-z_]+/)*(?:[a-z_]+\.py)?)`", PAGE))
    assert len(named) > 40
    missing = [name for name in named - {"das_explain/"} if not (PACKAGE / name).exists()]
    assert not missing


def test_every_room_is_on_the_page():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert {room for room in rooms if f"`{room}/`" not in PAGE} == set()


def test_a_walk_fits_on_a_screen():
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE):
        assert len(part.splitlines()) <= 40
