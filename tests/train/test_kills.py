"""A training that is killed at any of its steps on the disk goes on, and ends as if it had never been."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from das_explain.files import PART
from das_explain.folders import LOCK
from das_explain.train import load_recipe, train
from das_explain.train.folder import clear
from tests.kills import every_kill, kills

SMALL = ["model.architecture=mobilenet_v2", "model.arguments={}", "model.attention=none", "loop.batch_size=8"]


def result(out: Path) -> tuple:
    """The weights, what the test said, and the log without its times."""
    with (out / "log.csv").open(newline="") as file:
        log = [{name: cell for name, cell in row.items() if "second" not in name} for row in csv.DictReader(file)]
    files = ("model/model.safetensors", "predictions.csv")
    assert not [path for path in out.rglob("*") if PART.fullmatch(path.name)], "nothing half-written is left"
    return (*((out / name).read_bytes() for name in files), log)


@kills(17)
def test_a_training_that_was_killed_anywhere_goes_on_and_ends_the_same(tiny, tmp_path: Path, stride: int):
    recipe, out = load_recipe(tiny, SMALL), tmp_path / "run"
    train(recipe, tmp_path / "whole")
    whole = result(tmp_path / "whole")
    steps = 0
    for step in every_kill(
        out, lambda: shutil.rmtree(out, ignore_errors=True), lambda: train(recipe, out), stride=stride
    ):
        train(recipe, out)
        assert result(out) == whole, f"step {step}"
        steps = step
    assert steps > 15


@kills(3)
def test_clearing_that_was_killed_anywhere_is_done_by_the_same_command(tiny, tmp_path: Path, stride: int):
    train(load_recipe(tiny, SMALL), tmp_path / "whole")
    out = tmp_path / "run"
    (tmp_path / "whole" / "model" / "mine.txt").write_text("mine")

    def prepare() -> None:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", out)

    for _ in every_kill(out, prepare, lambda: clear(out), stride=stride):
        clear(out)
        left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
        assert left == {"model/mine.txt", LOCK}
