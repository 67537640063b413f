"""Doors that get what nobody thought of: for a time that is given, each takes it or refuses it in one line.

``make stress`` takes longer, and knocks once more where it is guided by the lines that were reached (``coverage_fuzz``).
A failure is shrunk and printed by Hypothesis.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence.run import Run
from das_explain.scoring.run import score_run
from tests.evidence.test_run import copy_of
from tests.hostile.doors import COCO, TARGETS, Door, bent, coco_masks, coco_objects, cut, furnish, knock
from tests.hostile.test_shards import OPTIONS
from tests.report.synthetic_run import Item, make_run

ROUND = 25  # examples between two looks at the clock
SHORT, LONG = 2, 20  # seconds for each target
ROOT = Path(__file__).parents[2]


def score(run: Run) -> Door:
    def write(content: bytes) -> None:
        run.shards.path(0).write_bytes(content)
        score_run(Run.open(run.folder), OPTIONS)

    return write


def manifest(run: Run) -> Door:
    def write(content: Any) -> None:
        (run.folder / "run.json").write_text(json.dumps(content))
        score_run(Run.open(run.folder), OPTIONS)

    return write


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    furnish(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    items = [Item("a.png"), Item("b.png", "dog"), Item("c.png", status="unreadable")]
    return make_run(
        tmp_path_factory.mktemp("made") / "run", items, models=("plain",), blocks=("layer4",), options=OPTIONS
    )


def fuzz(strategy: st.SearchStrategy[Any], door: Door, seconds: float) -> None:
    """Opens the door to examples until the time is over."""
    end, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        rounds += 1

        @seed(rounds)
        @settings(max_examples=ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(strategy)
        def take(example: Any) -> None:
            knock(door, example)

        take()


BUDGETS = pytest.mark.parametrize("seconds", [SHORT, pytest.param(LONG, marks=pytest.mark.stress)])


@BUDGETS
@pytest.mark.parametrize("target", TARGETS)
def test_whatever_comes_is_taken_or_refused_in_one_line(place: Path, target: str, seconds: float):
    fuzz(*TARGETS[target], seconds)


@BUDGETS
def test_a_shard_with_other_bytes_is_taken_or_refused_in_one_line(made: Path, tmp_path: Path, seconds: float):
    run = copy_of(made, tmp_path / "run")
    fuzz(cut(run.shards.path(0).read_bytes()), score(run), seconds)


@BUDGETS
def test_a_manifest_that_is_bent_is_taken_or_refused_in_one_line(made: Path, tmp_path: Path, seconds: float):
    run = copy_of(made, tmp_path / "run")
    fuzz(bent(json.loads((run.folder / "run.json").read_text())), manifest(run), seconds)


@pytest.mark.stress
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="needs atheris, which has no wheel everywhere")
@pytest.mark.parametrize("target", TARGETS)
def test_what_a_fuzzer_finds_that_sees_which_lines_it_reaches_is_taken_or_refused_in_one_line(place: Path, target: str):
    command = [
        sys.executable,
        "-m",
        "tests.hostile.coverage_fuzz",
        target,
        f"-max_total_time={LONG // 2}",
        "-verbosity=0",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=20 * LONG)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("seed_there", ["none", None, float("nan"), float("inf"), "0", [], 1.5, -1])
def test_a_run_without_a_seed_is_refused_in_one_line(made: Path, tmp_path: Path, seed_there: Any):
    run = copy_of(made, tmp_path / "run")
    content = json.loads((run.folder / "run.json").read_text())
    content |= {"seed": seed_there}
    if seed_there == "none":
        del content["seed"]
    (run.folder / "run.json").write_text(json.dumps(content))
    with pytest.raises(DasExplainError, match="has no usable 'seed'"):
        Run.open(run.folder)


@pytest.mark.parametrize("value", [None, 3, "text", {}, [3], [None]])
def test_a_run_whose_lists_hold_no_texts_is_refused_in_one_line(made: Path, tmp_path: Path, value: Any):
    run = copy_of(made, tmp_path / "run")
    content = json.loads((run.folder / "run.json").read_text())
    changed = [{"explaining_assumptions": value}]
    changed += [{"options": {**content["options"], "measures": value}}] if value else []
    for each in changed:
        (run.folder / "run.json").write_text(json.dumps(content | each))
        with pytest.raises(
            DasExplainError, match=f"has no usable '{'measures' if 'options' in each else next(iter(each))}'"
        ):
            Run.open(run.folder)


@pytest.mark.parametrize("number", [10**400, -(10**400), 1e308, float("nan"), "1", None])
def test_a_box_of_a_coco_file_with_a_number_that_is_no_coordinate_is_refused_in_one_line(place: Path, number: Any):
    tree = copy.deepcopy(COCO)
    tree["annotations"][0]["bbox"][0] = number
    (place / "x.json").write_text(json.dumps(tree))
    with pytest.raises(UsageError, match="annotation 1 has no box of four numbers"):
        coco_objects(place / "x.json")
    tree["annotations"][0] |= {"bbox": [1, 1, 5, 5], "segmentation": [[number, 1, 6, 1, 6, 6, 1, 6]]}
    (place / "x.json").write_text(json.dumps(tree))
    knock(coco_masks, place / "x.json")
