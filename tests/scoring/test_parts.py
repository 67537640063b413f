"""Several processes read evidence as one does, and what goes wrong in them is told as here."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from das_explain.errors import DasExplainError
from das_explain.evidence.run import Run
from das_explain.files import PART
from das_explain.scoring import parts
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from tests.report.synthetic_run import Item, make_run

TABLES = ("scores", "measures", "nulls", "lift", "readings", "best_iou", "comparison", "strata")


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> Path:
    items = [Item(f"{i:03d}.png", status="no_object" if i % 9 == 4 else "ok") for i in range(200)]
    return make_run(tmp_path_factory.mktemp("scored") / "run", items, options=ScoreOptions())


@pytest.fixture
def copy(scored: Path, tmp_path: Path, monkeypatch) -> Path:
    """The same run; 200 images are enough for three processes here."""
    monkeypatch.setattr(parts, "EACH", 60)
    return shutil.copytree(scored, tmp_path / "run")


def test_processes_move_no_byte(scored: Path, copy: Path, monkeypatch):
    for name in TABLES:
        (copy / f"{name}.csv").unlink()
    used = []
    side_by_side = parts._side_by_side
    monkeypatch.setattr(parts, "_side_by_side", lambda *how: used.append(how[-1]) or side_by_side(*how))
    seen = []
    score_run(Run.open(copy), progress=lambda done, total: seen.append((done, total)), processes=8)
    assert used == [3]
    assert seen == [(64, 200), (128, 200), (192, 200), (200, 200)], "in order"
    for name in TABLES:
        assert (copy / f"{name}.csv").read_bytes() == (scored / f"{name}.csv").read_bytes(), name
    assert not [path for path in copy.rglob("*") if PART.fullmatch(path.name)], "the maps of partners are gone"


def test_few_images_are_not_worth_a_process(copy: Path, monkeypatch):
    monkeypatch.setattr(parts, "EACH", 101)
    monkeypatch.setattr(parts, "_side_by_side", None)
    score_run(Run.open(copy), processes=8)


def test_a_damaged_shard_is_one_line_from_a_process_too(copy: Path):
    shard = sorted((copy / "evidence").glob("*.parquet"))[2]
    shard.write_bytes(shard.read_bytes()[:500])
    with pytest.raises(DasExplainError, match="part-00002.parquet"):
        score_run(Run.open(copy), ScoreOptions(nulls=()), processes=2)


class _Deadly:
    """Ends the process that is given it."""

    def __reduce__(self):
        return os._exit, (9,)


def test_a_process_that_is_killed_is_one_line(copy: Path):
    with pytest.raises(DasExplainError, match="a process that scored evidence was killed"):
        list(parts.read_parts(Run.open(copy), _Deadly(), 2))
