"""What the commands show: the bar's rate, notes, and help texts as they are rendered."""

from __future__ import annotations

import io
import re
import time
from types import SimpleNamespace

import pytest
import rich.console

from das_explain.commands import common
from das_explain.commands.common import progress_bars, run_and_publish
from das_explain.data.dataset import open_dataset
from tests.photos import object_mask, photo, store, store_mask


@pytest.fixture
def terminal(monkeypatch) -> io.StringIO:
    """Where the bars are drawn: a terminal without colours."""
    screen, console = io.StringIO(), rich.console.Console
    monkeypatch.setattr(
        rich.console,
        "Console",
        lambda **_: console(file=screen, force_terminal=True, color_system=None, width=120, legacy_windows=False),
    )
    return screen


def last_rate(terminal: io.StringIO) -> str:
    return re.findall(r"(\S+) (?:images|masks)/s", terminal.getvalue())[-1]


@pytest.mark.parametrize("before", [0, 1_000_000])
def test_a_run_of_one_batch_has_a_rate_of_its_own(terminal, before):
    """What an earlier run did is no part of it."""
    with progress_bars("masks", "images") as (_, scoring):
        scoring(before, before + 3)
        time.sleep(0.05)
        scoring(before + 3, before + 3)
    assert 0 < float(last_rate(terminal)) < 60.1


def test_before_anything_is_done_there_is_no_rate(terminal):
    with progress_bars("images") as (scoring,):
        scoring(0, 3)
    assert last_rate(terminal) == "--"


@pytest.mark.parametrize("kind", ["masks", "boxes"])
def test_a_run_tells_of_guessed_orientations_once(tmp_path, monkeypatch, capsys, kind):
    store(photo(), tmp_path / "x.jpg", 3)
    store_mask(object_mask(), tmp_path / "m.png")
    (tmp_path / "list.csv").write_text("image,mask\nx.jpg,m.png\n")
    monkeypatch.setattr("das_explain.explain.pipeline.score_dataset", lambda *_: None)
    monkeypatch.setattr(common, "print_tables", lambda _: None)
    plan = SimpleNamespace(sample=None, seed=0, stratified=False, out=tmp_path)
    run_and_publish(open_dataset(tmp_path / "list.csv"), SimpleNamespace(name=kind), plan, report=False)
    assert capsys.readouterr().out.count("note ") == (kind == "masks")
