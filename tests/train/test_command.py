"""The command as a user gives it: the model's path on stdout, everything else on stderr, nothing of Lightning's."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("lightning")

from das_explain.commands.train import train
from das_explain.errors import UsageError


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(train)
    return app


def test_train_prints_the_model_directory_and_one_line_per_epoch(app, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [str(tiny), "--set", "schedule.warmup_epochs=0", "--seed", "7"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout == "runs/train/tiny/model\n"
    lines = result.stderr.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        lines[0],
        "epoch 1/2",
        "epoch 2/2",
        lines[-1],
    ]
    assert lines[0].startswith("tiny: 2 classes, 2 epochs of 8 images (of 8), ")
    assert lines[-1].startswith("test: ")
    training = json.loads((tmp_path / "runs/train/tiny/model/config.json").read_text())["training"]
    assert training["seed"] == 7
    assert training["command"] == f"das-explain train {tiny} --set schedule.warmup_epochs=0 --set seed=7"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "tiny.yaml"]


def test_a_wrong_recipe_is_told_before_anything_is_made(app, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="unknown recipe"):
        CliRunner().invoke(app, ["nothing"], catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []
