"""What the commands show: the bar's rate, notes, tables."""

from __future__ import annotations

import io
import re
import time

import pytest
import rich.console
from typer.testing import CliRunner

from das_explain.commands import app
from das_explain.commands.common import progress_bars
from das_explain.commands.tables import pair, print_table, span
from tests.models import model_directory
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


@pytest.mark.parametrize("flags", [(), ("--box-masks",)], ids=["masks", "boxes"])
def test_a_run_tells_of_guessed_orientations_once(tmp_path, flags):
    store(photo(), tmp_path / "x.jpg", 3)
    store_mask(object_mask(), tmp_path / "m.png")
    (tmp_path / "list.csv").write_text("image,mask,x0,y0,x1,y1\nx.jpg,m.png,2,2,9,9\n")
    model = model_directory(tmp_path / "model", ["cat", "dog"])
    words = ("sfd", tmp_path / "list.csv", "--model", model, "--out", tmp_path / "run", "--no-report", "--workers", 0)
    result = CliRunner().invoke(app, [*map(str, words), *flags])
    assert result.exception is None, result.exception
    assert result.output.count("with an EXIF orientation that the mask") == (not flags)


def test_a_table_fits_and_names_keep_their_ends(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    long = "photos/of/many/things/and/people/in/many/places/0001.jpg"
    print_table(("image", "model", "a header of words"), [(long, "[das]", "0.5"), ("b", "plain", "-")], title="t")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert [line for line in lines if line.split("┃")[-2:-1] == [" header "]]  # headers break at spaces
    (row,) = (line for line in lines if "jpg" in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[0].startswith("photos/of/many")
    assert cells[0].endswith("0001.jpg")
    assert cells[1:] == ["[das]", "0.5"]  # no markup


def test_a_table_of_no_rows_is_not_printed(capsys):
    print_table(("a", "b"), [])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(0.25, 0.5, "0.250 to 0.500"), (float("nan"), float("nan"), "-"), (None, None, "-"), (0.1, float("nan"), "-")],
)
def test_an_interval_that_is_none_is_a_dash(low, high, shown):
    assert span(low, high) == shown


def test_both_names_of_a_difference_keep_their_ends():
    assert pair("das", "plain") == "das - plain"
    assert pair("resnet50-with-attention-seed1", "resnet50-with-attention-seed2") == (
        "resnet50-wit…ntion-seed1 - resnet50-wit…ntion-seed2"
    )
