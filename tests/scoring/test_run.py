"""Scoring reads evidence: the same options give the same bytes, other options those of a fresh run, and no network runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from das_explain.checkpoint import load as checkpoint
from das_explain.commands import app
from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence.codec import encode
from das_explain.evidence.run import ALL, Run
from das_explain.evidence.values import BlockMaps, Key
from das_explain.explain.contestants import ExplainOptions
from das_explain.scoring import scorer
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from das_explain.stats.intervals import caution
from tests.explain.test_pipeline import everything, run, setting  # noqa: F401 - a fixture
from tests.report.synthetic_run import Item, make_run

OTHER = ScoreOptions(threshold=0.5, scaling="exp", box="region", measures=("iou",), nulls=("all",))


@pytest.fixture(scope="module")
def mine(setting: dict, tmp_path_factory) -> Path:  # noqa: F811
    return run(setting, tmp_path_factory.mktemp("mine") / "run").folder


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr(checkpoint, "load_model", lambda *_, **__: pytest.fail("a network was loaded"))


@pytest.mark.usefixtures("no_network")
def test_scored_again_as_before_gives_the_same_bytes(mine: Path):
    before, manifest = everything(mine), (mine / "run.json").read_bytes()
    score_run(Run.open(mine))
    assert everything(mine) == before
    assert (mine / "run.json").read_bytes() == manifest


def test_scored_otherwise_is_a_fresh_run_with_those_options(setting: dict, mine: Path, tmp_path: Path):  # noqa: F811
    fresh = run(setting, tmp_path / "fresh", scoring=OTHER).folder
    before = everything(mine)
    copy = Run.open(mine).copy_to(tmp_path / "copy")
    score_run(copy, OTHER)
    assert everything(copy.folder) == everything(fresh)
    assert everything(mine) == before
    assert everything(fresh)["scores.csv"] != before["scores.csv"]
    score_run(copy, ScoreOptions())
    assert everything(copy.folder) == before


@pytest.mark.parametrize("box", ["rect", "shared"])
def test_how_many_maps_are_looked_at_together_changes_nothing(mine: Path, tmp_path: Path, monkeypatch, box: str):
    options = ScoreOptions(box=box, nulls=("all",))
    together, alone = (Run.open(mine).copy_to(tmp_path / name) for name in ("together", "alone"))
    score_run(together, options)
    monkeypatch.setattr(scorer, "PIXELS", 1)
    score_run(alone, options)
    assert everything(alone.folder) == everything(together.folder)


@pytest.mark.usefixtures("no_network")
def test_the_command_changes_what_is_given_and_leaves_the_rest(mine: Path, tmp_path: Path):
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["score", str(mine), "--scaling", "linear", "--out", str(out), "--no-report"])
    assert done.exit_code == 0, done.output
    scoring = Run.open(out).manifest["scoring"]
    assert scoring == {**Run.open(mine).manifest["scoring"], "scaling": "linear"}
    assert len(Run.open(out).table("scores")) == len(Run.open(mine).table("scores"))


def test_the_same_identity_is_explained_once(setting: dict, tmp_path: Path):  # noqa: F811
    first = run(setting, tmp_path / "run")
    parts = {path: path.stat().st_mtime_ns for path in (first.folder / "evidence").iterdir()}
    del first
    again = run(setting, tmp_path / "run", scoring=OTHER, batch=2)
    assert {path: path.stat().st_mtime_ns for path in (again.folder / "evidence").iterdir()} == parts
    assert again.manifest["scoring"]["threshold"] == 0.5


def test_what_the_evidence_cannot_answer_is_one_line(setting: dict, mine: Path, tmp_path: Path):  # noqa: F811
    with pytest.raises(UsageError, match="--measure insertion asks the networks, and .* was explained without it"):
        score_run(Run.open(mine), ScoreOptions(measures=("insertion",)))
    with pytest.raises(UsageError, match="--measure 'beauty' is unknown; choose among sfd"):
        score_run(Run.open(mine), ScoreOptions(measures=("beauty",)))
    with pytest.raises(DasExplainError, match="is not empty; choose another folder"):
        Run.open(mine).copy_to(mine)


def test_measures_that_ask_the_network_are_evidence(setting: dict, tmp_path: Path):  # noqa: F811
    how = {"options": ExplainOptions(measures=("insertion", "average_drop")), "sample": 5}
    scoring = ScoreOptions(measures=("insertion", "average_drop"))
    finished = run(setting, tmp_path / "run", scoring=scoring, **how)
    table = finished.table("measures")
    scored = table[table["status"] == "ok"]
    assert set(scored["measure"]) == {"sfd", "insertion", "average_drop"}
    assert scored.loc[scored["measure"] == "insertion", "value"].between(0, 1).all()
    nulls = finished.table("nulls")
    assert set(zip(nulls["measure"], nulls["null"])) == {
        (measure, null) for measure in ("sfd", *scoring.measures) for null in ScoreOptions().nulls
    }
    before = everything(finished.folder)
    score_run(finished)
    assert everything(finished.folder) == before


def test_maps_that_are_next_to_nothing_are_counted(tmp_path: Path):
    made = Run.open(make_run(tmp_path / "run", [Item(f"{i}.jpg") for i in range(5)]))
    assert made.manifest["assumptions"] == [caution(5, "images of plain at layer3")]
    evidence = next(made.evidence(ALL))
    key = Key("das", "layer4")
    faint = np.array([0.5, 1e-12, 0.0, 2e-3, 1e-9], np.float32)
    evidence.maps[key] = BlockMaps(evidence.maps[key].native, faint)
    made.shards.write(0, encode(evidence))
    score_run(made)
    assert made.manifest["assumptions"] == [
        "each map is scaled to its own greatest weight, however faint: of das at layer4 that was below 1e-06 of the largest "
        "logit (faint_cam) on 2 of 5 images",
        caution(5, "images of plain at layer3"),
    ]
    assert made.manifest["counts"]["faint_cam"] == 2
