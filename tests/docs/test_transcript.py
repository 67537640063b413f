"""The newcomer's transcript is what a newcomer gets: its commands run, and print what the page shows."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from tests.docs.pages import DOCS
from tests.docs.printed import assert_same


@pytest.mark.skipif(shutil.which("ls") is None, reason="no ls on this machine")
def test_the_transcript_prints_what_it_shows(tmp_path: Path, monkeypatch):
    spec = importlib.util.spec_from_file_location("run_transcript", DOCS / "run_transcript.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    page = (DOCS / "transcript.md").read_text(encoding="utf-8")
    now = module.run_page(page)
    assert_same(now, page)  # where it should print something else now: python docs/run_transcript.py
    assert (tmp_path / "heatmaps" / "04-heatmap.pdf").stat().st_size > 10_000
    assert (tmp_path / "runs" / "mine" / "report" / "index.html").is_file()
    assert [path.name for path in (tmp_path / "runs" / "mine" / "figures").glob("grid*")] == ["grid-plain-das.pdf"]
