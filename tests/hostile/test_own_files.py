"""Folders that others write to as well: their files stay as they are, ours are replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from das_explain.errors import DasExplainError, UsageError
from das_explain.folders import CLAIM, claim_files, claimed_files, new_files


def test_what_is_claimed_may_be_replaced_and_what_is_gone_is_no_longer_claimed(tmp_path: Path):
    claim_files(tmp_path / "out", ["a.png", "b.png", "tables/c.csv"])
    (tmp_path / "out" / "a.png").write_text("ours")
    assert claimed_files(tmp_path / "out") == {"a.png"}
    claim_files(tmp_path / "out", ["a.png", "d.png"])
    (tmp_path / "out" / "b.png").write_text("mine, where a figure was before")
    with pytest.raises(UsageError, match=r"b\.png was not written by das-explain"):
        claim_files(tmp_path / "out", ["b.png"])


@pytest.mark.parametrize("there", ["mine.png", "folder.png", "link.png", "dangling.png"])
def test_nothing_of_somebody_s_own_is_replaced(tmp_path: Path, there: str):
    (tmp_path / "mine.png").write_text("mine")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("mine.png")
    (tmp_path / "dangling.png").symlink_to("nowhere")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(UsageError, match=f"{there} was not written by das-explain: move it elsewhere"):
        claim_files(tmp_path, ["new.png", there])
    with pytest.raises(UsageError, match=there), new_files(tmp_path) as fresh:
        (fresh / there).write_text("ours")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "mine.png").read_text() == "mine"


CLAIMS = {
    "a list": "[]", "nothing": "", "half of it": '{"written', "brackets": "[" * 100_000, "a number": "3",
    "another object": '{"files": ["mine.png"]}', "names that are numbers": '{"written by das-explain": [1]}',
    "bytes": "\0\x1b",
}  # fmt: skip


@pytest.mark.parametrize("what", CLAIMS)
def test_a_list_of_files_that_is_not_ours_is_refused(tmp_path: Path, what: str):
    (tmp_path / CLAIM).write_text(CLAIMS[what])
    with pytest.raises(UsageError, match="is not das-explain's: choose another folder"):
        claim_files(tmp_path, ["a.png"])


def test_a_list_of_files_names_none_elsewhere(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / CLAIM).write_text(json.dumps({"written by das-explain": ["../mine.txt"]}))
    assert claimed_files(tmp_path / "out") == set()
    with pytest.raises(DasExplainError):
        claim_files(tmp_path / "out", ["../mine.txt"])


def test_new_files_come_together_or_not_at_all(tmp_path: Path):
    with new_files(tmp_path / "out") as fresh:
        (fresh / "tables").mkdir()
        for name in ("a.png", "tables/b.csv"):
            (fresh / name).write_text("first")
    with pytest.raises(KeyError), new_files(tmp_path / "out") as fresh:
        (fresh / "a.png").write_text("second")
        raise KeyError
    assert (tmp_path / "out" / "a.png").read_text() == (tmp_path / "out" / "tables" / "b.csv").read_text() == "first"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [CLAIM, "a.png", "tables"]
