"""Maps are measured on another device as on the processor: one code path, shown on a card that is pretended."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from das_explain.commands import app
from das_explain.errors import UsageError
from das_explain.evidence.run import Run
from das_explain.scoring import run as scoring
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from tests.pretended import pretended_cuda
from tests.report.synthetic_run import Item, blob, make_run

NULLS = ("shuffled", "centre", "uniform", "centre-fitted", "random")


def odd(*at) -> np.ndarray:
    """A map now and then that is empty, flat or no number."""
    made = blob(*at)
    kind = int(1000 * float(made.sum())) % 7
    return {0: np.zeros_like(made), 1: np.ones_like(made), 2: np.full_like(made, np.nan)}.get(kind, made)


@pytest.mark.parametrize("box", ["rect", "region", "shared"])
@pytest.mark.parametrize("scaling", ["antilog", "exp"])
def test_another_device_gives_the_same_numbers(tmp_path: Path, monkeypatch, box: str, scaling: str):
    options = ScoreOptions(nulls=NULLS, box=box, scaling=scaling, tolerance=2.0)
    items = [Item(f"{i:02d}.png", status="no_object" if i % 9 == 4 else "ok") for i in range(40)]
    folder = make_run(tmp_path / "run", items, options=options, map_of=odd)
    names = ("scores", "measures", "nulls")
    here = {name: pd.read_csv(folder / f"{name}.csv") for name in names}
    assert Run.open(folder).manifest["scored"]["device"] == "cpu"

    monkeypatch.setattr(scoring, "describe_device", lambda device: f"{device.type} (pretended)")
    with pretended_cuda() as card:
        score_run(Run.open(folder), options, device="cuda")
    assert card.calls > 1000, "it was there that they were measured"
    assert Run.open(folder).manifest["scored"]["device"] == "cuda (pretended)"
    for name in names:
        pd.testing.assert_frame_equal(pd.read_csv(folder / f"{name}.csv"), here[name], rtol=1e-4, atol=1e-5, obj=name)


def test_the_pretended_card_refuses_what_a_card_does():
    with pretended_cuda():
        there = torch.ones(3, device="cuda")
        assert there.device.type == "cuda" and (there + 1).device.type == "cuda" and there.cpu().device.type == "cpu"
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.ones(3)
        assert float((there + torch.tensor(2.0)).sum()) == 9, "a number goes with any"


@pytest.mark.parametrize(
    "device",
    [
        pytest.param("cuda", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")),
        *("cuda:99", "mps", "meta", "hpu:0", "abacus"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(tmp_path: Path, device: str):
    run = Run.open(make_run(tmp_path / "run", [Item("a.png"), Item("b.png")]))
    before = run.path("scores.csv").read_bytes()
    with pytest.raises(UsageError) as caught:
        score_run(run, device=device)
    assert "\n" not in str(caught.value) and device.partition(":")[0] in str(caught.value)
    assert run.path("scores.csv").read_bytes() == before


@pytest.mark.parametrize("command", ["sfd", "score", "compare"])
def test_a_command_that_is_to_score_elsewhere_says_so_before_it_works(tmp_path: Path, command: str):
    run, out = make_run(tmp_path / "run", [Item("a.png"), Item("b.png")]), tmp_path / "out"
    asked = {"sfd": ["collage:2", "-m", "collage-resnet18"], "score": [run], "compare": [run, run]}[command]
    words = [command, *map(str, asked), "--out", str(out), "--score-on", "mps"]
    ended = CliRunner().invoke(app, words)
    assert isinstance(ended.exception, UsageError) and "cpu or cuda, not on mps" in str(ended.exception)
    assert not out.exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_card_gives_the_same_numbers(tmp_path: Path):
    folder = make_run(tmp_path / "run", [Item(f"{i:02d}.png") for i in range(40)], options=ScoreOptions(nulls=NULLS))
    here = pd.read_csv(folder / "measures.csv")
    score_run(Run.open(folder), ScoreOptions(nulls=NULLS), device="cuda")
    pd.testing.assert_frame_equal(pd.read_csv(folder / "measures.csv"), here, rtol=1e-4, atol=1e-5)
