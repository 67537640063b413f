"""Folders and files whose names are no Unicode, which Linux allows, are written to and read as any others."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from das_explain.checkpoint.files import read_weights
from das_explain.checkpoint.load import load_model
from das_explain.errors import DasExplainError
from das_explain.evidence.run import Run
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from tests.explain.test_pipeline import LABELS
from tests.hostile.test_terminal import main
from tests.models import model_directory


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder whose name is no Unicode."""
    folder = tmp_path / os.fsdecode(b"odd\xfd")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("the system takes Unicode only")
    return folder


def test_a_run_is_made_gone_on_with_and_scored_there(odd: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    model_directory(odd / "net", LABELS)
    words = ("sfd", "collage:2", "--model", f"net={odd / 'net'}", "--target", "predicted", "--measure", "sfd",
        "--nulls", "shuffled", "--no-readings", "--no-report", "--device", "cpu", "--out", str(odd / "run"))  # fmt: skip
    assert main(monkeypatch, *words) == 0, capsys.readouterr().err
    assert main(monkeypatch, *words) == 0, capsys.readouterr().err
    run = Run.open(odd / "run")
    table = run.path("scores.csv").read_bytes()
    score_run(run, ScoreOptions(threshold=0.6, measures=(), nulls=(), readings=False))
    assert run.path("scores.csv").read_bytes() != table


@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".pt"])
def test_weights_are_read_there(odd: Path, tmp_path: Path, ending: str):
    folder = model_directory(tmp_path / "net", LABELS)
    state, path = load_file(Path(folder) / "model.safetensors"), odd / f"w{ending}"
    if ending == ".safetensors":
        shutil.copyfile(Path(folder) / "model.safetensors", path)
    else:
        with path.open("wb") as file:
            torch.save(state, file, _use_new_zipfile_serialization=ending == ".pth")
    read = read_weights(path)[0].state
    assert read.keys() == state.keys()
    assert all(torch.equal(read[key], state[key]) for key in state)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DasExplainError, match="cannot be read as weights|is not a PyTorch weight file"):
        read_weights(path)


def test_a_key_that_is_no_unicode_is_a_foreign_one(tmp_path: Path):
    torch.save({chr(0xD800): torch.ones(1), "conv1.weight": torch.ones(1)}, tmp_path / "k.pth")
    for spec in ("k.pth", "k.pth@resnet18"):
        with pytest.raises(DasExplainError) as refused:
            load_model(str(tmp_path / spec), device="cpu")
        assert str(refused.value).isprintable()
