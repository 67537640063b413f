"""An evaluation that goes on knows what was measured before, and by whom."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from das_explain.accuracy.journal import JOURNAL, Journal
from das_explain.evidence.provenance import sentences

WHAT = {"schema": 1, "models": [{"name": "a"}]}
OLD, NEW = ({"das-explain": "1.0", "torch": torch, "device": "cpu"} for torch in ("2.0", "2.1"))


def write(folder: Path, now: dict, lines: int, batch: int = 1) -> Journal:
    with Journal(folder, WHAT, now, batch) as journal:
        for number in range(lines):
            journal.add([now["torch"], number])
    return journal


def test_what_was_measured_is_kept_with_who_measured_it(tmp_path: Path):
    assert write(tmp_path, OLD, 5).made_by(5) == [{**OLD, "images": 5}]
    same = write(tmp_path, OLD, 2)
    assert len(same.done) == 5
    assert same.made_by(7) == [{**OLD, "images": 7}]
    assert sentences(same.made_by(7)) == []
    other = write(tmp_path, NEW, 1)
    assert [line[0] for line in other.done] == ["2.0"] * 7
    assert other.made_by(8) == [{**OLD, "images": 7}, {**NEW, "images": 1}]
    (sentence,) = sentences(other.made_by(8))
    assert (
        "7 images with das-explain 1.0, torch 2.0 on cpu; 1 images with das-explain 1.0, torch 2.1 on cpu" in sentence
    )


def test_what_does_not_fill_a_batch_is_measured_again_by_whoever_goes_on(tmp_path: Path):
    write(tmp_path, OLD, 5, batch=4)
    last = write(tmp_path, NEW, 6, batch=4)
    assert last.done == [["2.0", number] for number in range(4)]
    assert last.made_by(10) == [{**OLD, "images": 4}, {**NEW, "images": 6}]
    write(tmp_path, NEW, 0, batch=20)  # nothing fills such a batch
    assert Journal(tmp_path, WHAT, NEW, 20).made_by(3) == [{**NEW, "images": 3}]


@pytest.mark.parametrize(
    "head",
    [WHAT, {"identity": WHAT}, {"identity": WHAT, "turns": 3}, {"identity": WHAT, "turns": [{"from": "x"}]}, [], None, "[" * 9999],
)  # fmt: skip
def test_a_journal_that_is_not_ours_is_begun_anew(tmp_path: Path, head: object):
    text = head if isinstance(head, str) else json.dumps(head)
    (tmp_path / JOURNAL).write_text(f"{text}\n[1]\n")
    assert write(tmp_path, NEW, 1).done == []
    assert Journal(tmp_path, WHAT, NEW).done == [["2.1", 0]]
