"""Runs that were made apart become the run that would have been made together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from das_explain.commands import app
from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence.codec import encode
from das_explain.evidence.join import join_runs
from das_explain.evidence.run import ALL, Run
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from tests.explain.test_pipeline import everything, run, setting  # noqa: F401 - a fixture
from tests.models import model_directory
from tests.report.synthetic_run import Item, make_run

OPTIONS = ScoreOptions(nulls=("shuffled",), readings=False)
ITEMS = [Item(f"{number}.png", "cat" if number % 2 else "dog") for number in range(5)]


@pytest.fixture(scope="module")
def together(setting: dict, tmp_path_factory) -> Run:  # noqa: F811
    return run(setting, tmp_path_factory.mktemp("together") / "run", scoring=OPTIONS)


@pytest.fixture(scope="module")
def apart(setting: dict, tmp_path_factory) -> list[Run]:  # noqa: F811
    folder = tmp_path_factory.mktemp("apart")
    return [
        run({**setting, "models": (spec,)}, folder / spec.partition("=")[0], scoring=OPTIONS)
        for spec in setting["models"]
    ]


def changed(runs: list[Run], **entries) -> list[Run]:
    """The same runs, of which the last one's manifest says something else."""
    *before, last = runs
    return [*before, Run(last.folder, {**last.manifest, **entries})]


def test_joined_they_are_the_run_of_both_models(together: Run, apart: list[Run], tmp_path: Path):
    joined = join_runs(apart, tmp_path / "joined")
    score_run(joined, OPTIONS)
    assert everything(joined.folder) == everything(together.folder)
    for name in ("models", "groups", "sample", "options", "counts", "assumptions"):
        assert joined.manifest[name] == together.manifest[name]
    assert [part["folder"] for part in joined.manifest["joined"]] == [str(each.folder) for each in apart]
    shards = [list(each.evidence(ALL)) for each in (joined, together)]
    assert [encode(part) for part in shards[0]] == [encode(part) for part in shards[1]]


def test_the_command_joins_scores_and_compares_with_a_baseline(apart: list[Run], tmp_path: Path):
    words = ["compare", *(str(each.folder) for each in apart), "--out", str(tmp_path / "out"), "--no-report"]
    refused = CliRunner().invoke(app, [*words, "--baseline", "plane"])
    assert isinstance(refused.exception, UsageError)
    assert "--baseline plane: no model is called so; the run's models are plain, das" in str(refused.exception)
    assert not (tmp_path / "out").exists()
    done = CliRunner().invoke(app, [*words, "--baseline", "das"])
    assert done.exit_code == 0, done.output
    table = Run.open(tmp_path / "out").table("comparison")
    assert set(zip(table["model_a"], table["model_b"])) == {("das", "plain")}
    again = CliRunner().invoke(app, words)
    assert "is not empty; choose another folder" in str(again.exception)


def test_a_model_that_both_runs_have_is_taken_once(together: Run, apart: list[Run], tmp_path: Path):
    joined = join_runs([apart[0], together, apart[1]], tmp_path / "joined")
    assert joined.models == ["plain", "das"]
    score_run(joined, OPTIONS)
    assert everything(joined.folder) == everything(together.folder)


def synthetic(folder: Path, models: tuple[str, ...], prints: str, groups: dict | None = None, **more) -> Run:
    """A run whose models have these fingerprints, one letter each."""
    made = Run.open(make_run(folder, ITEMS, models=models, options=OPTIONS, **more))
    for entry, letter in zip(made.manifest["models"], prints, strict=True):
        entry["fingerprint"] = letter * 64
    made.manifest["groups"] = groups or {model: [model] for model in models}
    made.save_manifest()
    return made


def test_copies_of_one_group_that_were_trained_apart_become_one_group(tmp_path: Path):
    one = synthetic(
        tmp_path / "one", ("das#1", "das#2", "plain"), "abc", {"das": ["das#1", "das#2"], "plain": ["plain"]}
    )
    two = synthetic(tmp_path / "two", ("plain", "das"), "db", seed=1)  # its das is the former's second
    three = synthetic(tmp_path / "three", ("das", "plain"), "ef", seed=2)
    joined = join_runs([one, two, three], tmp_path / "joined")
    assert joined.manifest["groups"] == {"das": ["das#1", "das#2", "das#3"], "plain": ["plain#1", "plain#2", "plain#3"]}
    prints = {entry["name"]: entry["fingerprint"][0] for entry in joined.manifest["models"]}
    assert prints == {"das#1": "a", "das#2": "b", "plain#1": "c", "plain#2": "d", "das#3": "e", "plain#3": "f"}
    score_run(joined, OPTIONS)
    designs = joined.table("designs")
    assert set(zip(designs["copies_a"], designs["copies_b"])) == {(3, 3)}
    assert set(designs["claim"]) == {"designs"}
    assert (
        "das names checkpoints of several runs: they are taken for 3 copies of one design"
        in joined.manifest["assumptions"]
    )
    own = three.table("scores").query("model == 'das'")["sfd"].tolist()
    assert joined.table("scores").query("model == 'das#3'")["sfd"].tolist() == own


def test_checkpoints_that_differ_in_more_than_weights_are_no_copies(tmp_path: Path):
    one = synthetic(tmp_path / "one", ("das",), "a")
    two = synthetic(tmp_path / "two", ("das",), "b")
    two.manifest["models"][0]["spec"] += "+gates=open"
    joined = join_runs([one, two], tmp_path / "joined")
    assert joined.manifest["groups"] == {"one-das": ["one-das"], "two-das": ["two-das"]}
    assert joined.models == ["one-das", "two-das"]
    clash = synthetic(tmp_path / "three", ("one-das",), "c")
    with pytest.raises(DasExplainError, match="two models would both be called one-das: rename the folder of a run"):
        join_runs([clash, one, two], tmp_path / "clash")


def test_other_models_of_one_name_are_called_by_their_run(setting: dict, apart: list[Run], tmp_path: Path):  # noqa: F811
    other = model_directory(tmp_path / "other", ["dot", "square", "stripe"], seed=7)
    words = {**setting, "models": (f"plain={other}",)}
    tuesday = run(words, tmp_path / "tuesday", scoring=OPTIONS, blocks=("layer1", "layer4"))
    joined = join_runs([apart[0], tuesday], tmp_path / "joined")
    assert joined.models == ["plain-plain", "tuesday-plain"]
    assert joined.manifest["groups"] == {name: [name] for name in joined.models}
    score_run(joined, OPTIONS)
    scores, before = joined.table("scores"), tuesday.table("scores")
    mine = scores.loc[scores["model"] == "tuesday-plain", "sfd"]
    assert mine.dropna().tolist() == before["sfd"].dropna().tolist()


def test_what_sets_runs_apart_is_named(apart: list[Run], tmp_path: Path):
    manifest = apart[1].manifest
    for entries, said in (
        (
            {"data": {"spec": "other.csv", "fingerprint": "ab" * 32}},
            r"they differ in data \(.*photos.csv, .* and other.csv",
        ),
        ({"sample": manifest["sample"][1:]}, "their sample, 00.png is only in the former"),
        ({"options": {**manifest["options"], "target": "predicted"}}, r'the option target \("label" and "predicted"\)'),
        ({"segmenter": {**manifest["segmenter"], "name": "boxes"}}, "the name of the segmenter"),
    ):
        with pytest.raises(DasExplainError, match=said):
            join_runs(changed(apart, **entries), tmp_path / "out")
    with pytest.raises(UsageError, match="compare needs two runs or more"):
        join_runs(apart[:1], tmp_path / "out")
    lacking = apart[1].copy_to(tmp_path / "lacking")
    lacking.shards.path(0).unlink()
    with pytest.raises(DasExplainError, match="have no image in common yet"):
        join_runs([apart[0], lacking], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_image_that_fared_otherwise_is_named(tmp_path: Path):
    one = Run.open(make_run(tmp_path / "one", ITEMS, models=("plain",), options=OPTIONS))
    items = [replace(ITEMS[0], status="no_object"), *ITEMS[1:]]
    two = Run.open(make_run(tmp_path / "two", items, models=("das",), options=OPTIONS))
    with pytest.raises(DasExplainError, match="0.png has the status ok in one and no_object in the other"):
        join_runs([one, two], tmp_path / "out")


def test_where_masks_differ_the_first_runs_are_used_and_that_is_said(tmp_path: Path):
    one = Run.open(make_run(tmp_path / "one", ITEMS, models=("plain",), options=OPTIONS))
    two = Run.open(make_run(tmp_path / "two", ITEMS, models=("das",), options=OPTIONS))
    (evidence,) = two.evidence(ALL)
    (masks,) = evidence.masks.values()
    masks[3] = False
    masks[3, :10, :10] = True
    two.shards.write(0, encode(evidence))
    joined = join_runs([one, two], tmp_path / "out")
    score_run(joined, OPTIONS)
    (said,) = (each for each in json.loads((tmp_path / "out/run.json").read_text())["assumptions"] if "region" in each)
    assert said == "the joined runs found another region R on 1 of 5 images (least IoU 0.00): the first run's is used"
    (used,) = next(joined.evidence()).masks.values()
    assert (used == next(iter(next(one.evidence()).masks.values()))).all()
