"""Who may know of whom in ``das_explain.nn``."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import das_explain.nn

NN = Path(das_explain.nn.__file__).parent
BELOW = ("errors", "statuses", "files", "types", "data", "nn")


def imports(path: Path) -> set[str]:
    """The modules of this project that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {name for name in names if name.startswith("das_explain")}
    return found


@pytest.mark.parametrize("path", sorted((NN / "attention").rglob("*.py")), ids=lambda path: path.stem)
def test_attention_modules_know_nothing_of_each_other(path: Path) -> None:
    own = f"das_explain.nn.attention.{path.relative_to(NN / 'attention').with_suffix('').parts[0]}"
    others = {name for name in imports(path) if name.startswith("das_explain.nn.attention")}
    assert {name for name in others if name != own and not name.startswith(f"{own}.")} == set()


def test_the_room_imports_only_from_those_below() -> None:
    found = {path.name: {name.split(".")[1] for name in imports(path)} for path in NN.rglob("*.py")}
    assert {name: above for name, rooms in found.items() if (above := rooms - set(BELOW))} == {}
    assert "nn" in found["registry.py"]
