"""A run that was stopped, and whose files somebody has changed since: one line says which, and what to do."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

pytest.importorskip("lightning")

from das_explain.errors import DasExplainError
from das_explain.train import load_recipe, train
from das_explain.train.schema import Recipe


class Evil:
    """A pickle of it makes a folder."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("evil",)


def _changed(**changes: object):
    def change(path: Path) -> None:
        torch.save({**torch.load(path, weights_only=True), **changes}, path)

    return change


CHECKPOINTS = {
    "a program": lambda path: torch.save({"x": Evil()}, path),
    "a list": lambda path: torch.save([1], path),
    "a number": lambda path: torch.save(3, path),
    "no weights": lambda path: torch.save({"state_dict": {}}, path),
    "other weights": _changed(state_dict={"a": torch.zeros(1)}),
    "another optimiser": _changed(optimizer_states=[{"state": 3}]),
    "no loops": _changed(loops={}),
    "nothing": lambda path: path.write_bytes(b""),
    "half of it": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "all bytes": lambda path: path.write_bytes(bytes(range(256))),
}
HEADER = b"epoch,lr,loss,random_views_top1,images,seconds,images_per_second\n"
LOGS = {
    "all bytes": bytes(range(256)),
    "nothing": b"",
    "a header": HEADER,
    "other columns": b"a,b\n1,2,3\n",
    "columns of another task": b"epoch,loss,seconds\n1,0.5,2\n",
    "letters": HEADER + b"1,x,0.5,0.5,8,2,4\n",
    "no seconds": HEADER + b"1,0,0.5,0.5,8,nan,4\n",
    "too few values": HEADER + b"1,0,0.5,0.5,8,2\n",
    "too many values": HEADER + b"1,0,0.5,0.5,8,2,4,5\n",
    "an epoch and a half": HEADER + b"1.5,0,0.5,0.5,8,2,4\n",
    "a quote that never ends": HEADER + b'"1,0,0.5,0.5,8,2,4\n',
    "a value of a million letters": HEADER + b"1,0,0.5,0.5,8,2," + b"4" * 1_000_000 + b"\n",
}


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    """A recipe of one epoch and its run."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(
        f"model: {{architecture: mobilenet_v2}}\ndata: {{train: '{photos}', test: '{photos}'}}\n"
        "input: {size: 32, resize: 32}\noptimizer: {lr: 0.01}\nschedule: {epochs: 1}\n"
        "loop: {batch_size: 4, precision: 32, workers: 0, device: cpu}\n"
    )
    recipe = load_recipe(folder / "tiny.yaml")
    train(recipe, folder / "out")
    return recipe, folder / "out"


@pytest.fixture
def stopped(finished: tuple[Recipe, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Recipe, Path]:
    """The same before its test."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished[1], tmp_path / "out")
    (tmp_path / "out" / "model" / "config.json").unlink()
    return finished[0], tmp_path / "out"


def refused(recipe: Recipe, out: Path, name: str) -> str:
    """The line with which the run does not go on; its model is not written."""
    with pytest.raises(DasExplainError) as caught:
        train(recipe, out)
    told = str(caught.value)
    assert str(out / name) in told
    assert len(told) < 600
    assert not (out / "model" / "config.json").exists()
    return told


@pytest.mark.parametrize("what", CHECKPOINTS)
def test_a_checkpoint_that_is_none_any_more_is_one_line(stopped, tmp_path: Path, what: str):
    recipe, out = stopped
    CHECKPOINTS[what](out / "last.ckpt")
    assert "--no-resume trains anew" in refused(recipe, out, "last.ckpt")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("what", LOGS)
def test_a_log_that_is_none_any_more_is_one_line(stopped, what: str):
    recipe, out = stopped
    (out / "log.csv").write_bytes(LOGS[what])
    (out / "predictions.csv").unlink()
    assert "--no-resume trains anew" in refused(recipe, out, "log.csv")
    assert not (out / "predictions.csv").exists(), "before anything is tested"


def test_a_log_that_is_gone_is_one_line(stopped):
    recipe, out = stopped
    (out / "log.csv").unlink()
    assert "put it back, or --no-resume trains anew" in refused(recipe, out, "log.csv")


def test_the_log_as_it_is_written_is_read(stopped):
    recipe, out = stopped
    (out / "log.csv").write_bytes(HEADER + b"1,0,0.5,0.5,8,2,4\n")
    assert (train(recipe, out) / "config.json").is_file()


@pytest.mark.skipif(os.name == "nt", reason="no such files there")
@pytest.mark.parametrize("name", ["log.csv", "last.ckpt", "predictions.csv", "run.json"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_refused_before_training(stopped, name: str, make):
    recipe, out = stopped
    (out / name).unlink()
    make(out / name)
    assert "is no file: move it elsewhere" in refused(recipe, out, name)


def test_a_run_whose_files_are_whole_goes_on(stopped):
    recipe, out = stopped
    assert (train(recipe, out) / "config.json").is_file()


def test_workers_that_the_machine_does_not_start_are_one_line(
    finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(self: DataLoader) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(DataLoader, "_get_iterator", full)
    recipe = replace(finished[0], loop=replace(finished[0].loop, workers=2))
    with pytest.raises(DasExplainError, match="cannot start loop.workers=2 processes: Too many open files; set fewer"):
        train(recipe, tmp_path / "out")
