"""The example notebooks run from top to bottom and show what is kept in them."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.docs.printed import assert_same

EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def execute(notebook: dict) -> None:
    spec = importlib.util.spec_from_file_location("execute", EXAMPLES / "execute.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.execute(notebook)


def text_of(output: dict) -> str:
    return "".join(output["text"] if "text" in output else output["data"]["text/plain"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_is_kept_in_it(path: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "80")
    kept = json.loads(path.read_text(encoding="utf-8"))
    now = copy.deepcopy(kept)
    execute(now)
    for cell, before in zip(now["cells"], kept["cells"], strict=True):
        outputs, wanted = cell.get("outputs", []), before.get("outputs", [])
        assert len(outputs) == len(wanted), "run: python examples/execute.py"
        for output, shown in zip(outputs, wanted, strict=True):
            assert set(output.get("data", ())) == set(shown.get("data", ()))
            assert_same(text_of(output), text_of(shown))


def test_there_are_three_each_with_a_title_and_a_picture_or_a_table():
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert cells[0]["source"][0].startswith("# ")
        kinds = {kind for cell in cells for output in cell.get("outputs", []) for kind in output.get("data", ())}
        assert kinds & {"image/jpeg", "text/html"}
