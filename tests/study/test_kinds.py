"""Studies of other kinds than two labelled designs in two copies, and what is told before hours of training."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

pytest.importorskip("lightning")

from das_explain.commands import app
from das_explain.errors import DasExplainError, UsageError
from das_explain.study.schema import check_plain, load_study
from das_explain.study.scoring import _State
from das_explain.study.units import Unit, training_of


def changed(small: Path, folder: Path, **entries: Any) -> Path:
    """The small study's file with other entries, of few steps; ``None`` leaves one out."""
    tree = yaml.safe_load(small.read_text())
    tree = {**tree, "recipe": str(small.parent / tree["recipe"]), **entries}
    path = folder / "other.yaml"
    path.write_text(yaml.safe_dump({key: each for key, each in tree.items() if each is not None}, sort_keys=False))
    return path


def run(path: Path, photos: Path, out: Path, *words: str):
    return CliRunner().invoke(app, ["study", str(path), "--set", f"photos={photos}", "--out", str(out), *words])


def passed(*arguments: Any) -> str:
    done = run(*arguments)
    assert done.exit_code == 0, done.output + str(done.exception)
    return done.output


@pytest.fixture(scope="module")
def finished(small: Path, photos: Path, tmp_path_factory) -> tuple[Path, Path]:
    """The small study on one set, whole: its file and its folder."""
    folder = tmp_path_factory.mktemp("finished")
    path = changed(small, folder, scored_on={"all": {"data": "${photos}/photos.csv"}}, measures=["sfd", "iou"])
    passed(path, photos, folder / "out", "--set", "schedule.epochs=1")
    return path, folder / "out"


@pytest.fixture
def again(finished: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of its folder."""
    shutil.copytree(finished[1], tmp_path / "out")
    return tmp_path / "out"


def test_one_copy_of_each_speaks_of_checkpoints(small: Path, photos: Path, tmp_path: Path):
    path = changed(small, tmp_path, scored_on={"all": {"data": "${photos}/photos.csv"}})
    told = passed(path, photos, tmp_path / "out", "--copies", "1", "--set", "schedule.epochs=1")
    assert "over images only" in told
    means = pd.read_csv(tmp_path / "out/tables/design_means.csv")
    assert set(means["copies"]) == {1}
    differences = pd.read_csv(tmp_path / "out/tables/design_differences.csv")
    assert set(differences["claim"]) == {"checkpoints"}
    page = (tmp_path / "out/report/index.html").read_text()
    assert "One copy of each was trained" in page and "sfd beside maps that know nothing of the photo" in page
    alone = changed(small, tmp_path, designs={"das": {"model.attention": "das"}}, blocks=["layer2"])
    told = passed(alone, photos, tmp_path / "alone", "--copies", "1", "--set", "schedule.epochs=1")
    assert "nothing is compared" in told


def test_photos_without_labels_and_designs_of_other_blocks(small: Path, photos: Path, tmp_path: Path):
    shutil.copytree(photos, tmp_path / "photos")
    table = pd.read_csv(photos / "photos.csv")
    table[["image", "mask"]].to_csv(tmp_path / "photos/nolabel.csv", index=False)
    path = changed(
        small,
        tmp_path,
        designs={"res": {"model.attention": "none"}, "mobile": {"model.architecture": "mobilenet_v2"}},
        scored_on={"bare": {"data": "${photos}/nolabel.csv"}, 2012: {"data": "${photos}/photos.csv"}},
        blocks=[],
    )
    large = ("--set", "input.size=96", "--set", "input.resize=96")
    told = passed(path, tmp_path / "photos", tmp_path / "out", "--set", "schedule.epochs=1", *large)
    assert "On 2012, mobile is right on" in told
    summary = (tmp_path / "out/summary.md").read_text()
    outcome = [line.split("|")[1:-1] for line in summary.splitlines() if line.startswith("| bare | ")][:2]
    assert [row[1].strip() for row in outcome] == ["res", "mobile"]
    assert all(row[3].strip() == "–" for row in outcome), "no accuracy without labels"
    scored = [[cell.strip()[:2] == "0." for cell in row[4:]] for row in outcome]
    assert scored[0] == [True, True, False, False]
    assert scored[1][:2] == [False, False] and any(scored[1][2:]), "sfd at its own blocks"
    shown = {path.name for path in (tmp_path / "out/report/images").iterdir()}
    assert any(name.startswith("set0-0-3-") for name in shown), "a map of the last copy of the second design"


def test_designs_in_another_order_are_told_the_other_way_round(finished: tuple[Path, Path], photos: Path, again: Path):
    path, out = finished
    tree = yaml.safe_load(path.read_text())
    turned = changed(path, again.parent, designs=dict(reversed(tree["designs"].items())))
    before = (again / "runs/all/evidence/part-00000.parquet").stat().st_mtime_ns
    told = passed(turned, photos, again, "--set", "schedule.epochs=1")
    assert "none is right on" in told and "none is right on" not in (out / "summary.md").read_text()
    assert (again / "runs/all/evidence/part-00000.parquet").stat().st_mtime_ns == before
    mine, theirs = (pd.read_csv(each / "tables/design_differences.csv") for each in (again, out))
    assert set(mine["group_a"]) == {"das"}
    for column, other, sign in (("delta", "delta", -1), ("ci_low", "ci_high", -1), ("mean_a", "mean_b", 1)):
        assert (mine[column] - sign * theirs[other]).abs().max() < 1e-12
    assert (again / "figures/readings-all-das-none.png").exists()
    assert not (again / "figures/readings-all-none-das.png").exists()


def test_every_measure_of_a_design_stands_on_the_page(finished: tuple[Path, Path]):
    _, out = finished
    summary = (out / "summary.md").read_text()
    rows = [
        line
        for line in summary.split("## The other measures of each design")[1].split("##")[0].splitlines()
        if "| IoU |" in line
    ]
    assert len(rows) == 4, "two designs at two blocks"
    assert max(row.count("[") for row in rows) == 3, "the mean and two lifts, each with its interval"
    means = pd.read_csv(out / "tables/design_means.csv")
    iou = means[(means["measure"] == "iou") & (means["block"] == "layer2") & (means["group"] == "das")]["mean"].iloc[0]
    assert any(f"{iou:.3f}" in row for row in rows)


def test_another_choice_of_scoring_explains_nothing_again_and_leaves_nothing_old(
    finished: tuple[Path, Path], photos: Path, again: Path
):
    path, _ = finished
    for weights in again.glob("units/*/model/*.safetensors"):
        weights.unlink()
    before = (again / "runs/all/evidence/part-00000.parquet").stat().st_mtime_ns
    own = again / "figures/lift-mine.png"
    own.write_bytes(b"mine")
    tree = {"data": "${photos}/photos.csv", "about": "said in other words"}
    other = changed(path, again.parent, nulls=[], measures=["sfd"], scored_on={"all": tree})
    folder = again.parent / "published"
    passed(other, photos, again, "--set", "schedule.epochs=1", "--publish", str(folder))
    assert (again / "runs/all/evidence/part-00000.parquet").stat().st_mtime_ns == before
    assert not (again / "tables/design_lifts.csv").exists()
    assert not (again / "figures/lift-all.png").exists()
    assert own.read_bytes() == b"mine"
    assert not [path.name for path in folder.glob("*/*") if "lift" in path.name]
    assert "said in other words" in (again / "summary.md").read_text()


def test_weights_that_are_gone_are_told_before_more_copies_are_trained(
    finished: tuple[Path, Path], photos: Path, again: Path
):
    path, _ = finished
    for weights in again.glob("units/*/model/*.safetensors"):
        weights.unlink()
    refused = run(path, photos, again, "--set", "schedule.epochs=1", "--copies", "3")
    assert "the weights of none-0, das-0, none-1, das-1 were not kept" in str(refused.exception)
    assert not (again / "units/none-2").exists()


DATA = "${photos}/photos.csv"
MISTAKES = [
    ({"measures": ["nope"]}, "--measure 'nope' is unknown"),
    ({"nulls": ["nope"]}, "--nulls 'nope' is unknown"),
    ({"precision": "fp7"}, "--precision 'fp7' is unknown"),
    ({"blocks": ["layer99"]}, "designs.none: .*layer99"),
    ({"scored_on": {"x": {"data": "nosuch.csv"}}}, "scored_on.x: .*nosuch.csv"),
    ({"scored_on": {"x": {"data": DATA, "masks": "nosuch"}}}, "scored_on.x: .*nosuch"),
    ({"scored_on": {"x": {"data": DATA, "sample": 0}}}, "scored_on.x: cannot draw 0 images"),
    ({"scored_on": {"x": {"data": "${photos}/strange.csv"}}}, "scored_on.x: no class of the data"),
    ({"scored_on": {"x": {"data": "${photos}/bare.csv"}}}, "scored_on.x: .*sam-vit-base"),
    ({"designs": {"none": {}, "a": {"model.attention": "nosuch"}}}, "nosuch"),
    ({"designs": {"none": {}, "a": {"model.attention": "das", "model.arguments": {"gates": ["layer77"]}}}}, "layer77"),
]


@pytest.mark.parametrize(("entries", "told"), MISTAKES, ids=[told for _, told in MISTAKES])
def test_mistakes_are_told_before_anything_is_trained(
    small: Path, photos: Path, tmp_path: Path, monkeypatch, entries: dict[str, Any], told: str
):
    shutil.copytree(photos, tmp_path / "photos")
    table = pd.read_csv(photos / "photos.csv")
    table[["image", "label"]].to_csv(tmp_path / "photos/bare.csv", index=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    table.assign(label="unicorn").to_csv(tmp_path / "photos/strange.csv", index=False)
    path = changed(small, tmp_path, **entries)
    for words in ((), ("--dry-run",)):
        refused = run(path, tmp_path / "photos", tmp_path / "out", *words)
        assert refused.exit_code in (1, 2), refused.output
        assert re.search(told, str(refused.exception))
        assert not list(tmp_path.glob("out/units/*"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"\xff\xfe\x00", "no text in UTF-8"),
        (b"needs: [photos]", "needs: expected names and values"),
        (b"needs: photos", "needs: expected names and values"),
        (b"set: [a]", "set: expected names and values"),
        (b"designs: [a]", "designs: expected names and values"),
        (b"scored_on: 3", "scored_on: expected names and values"),
        (b"recipe: finetune\ndesigns: {no: {}}\nscored_on: {a: {data: x}}", "put it in quotes"),
    ],
)
def test_a_file_of_another_kind_is_one_clear_line(tmp_path: Path, text: bytes, told: str):
    (tmp_path / "s.yaml").write_bytes(text)
    with pytest.raises(UsageError, match=told):
        load_study(tmp_path / "s.yaml")


MANY, HUGE = b"0" * 400, b"0x" + b"f" * 5000
NO_JSON = [
    (b"needs: {1: x}", "needs: YAML reads a name as 1 .int.; put it in quotes"),
    (b"set: {description: 2024-01-01}", "set: description: YAML reads this as datetime.date"),
    (b"designs: {a: {x: !!binary aGk=}}", "designs: a: x: YAML reads this as b'hi'"),
    (b"designs: {a: {x: !!set {b}}}", "designs: a: x: YAML reads this as a set"),
    (b"designs: {a: {x: [{2.5: b}]}}", "designs: a: x: YAML reads a name as 2.5"),
    (b"set: {optimizer.lr: .nan}", "set: optimizer.lr: YAML reads this as nan"),
    (b"set: {optimizer.lr: .inf}", "set: optimizer.lr: YAML reads this as inf"),
    (b'description: "\\ud800"', "description: YAML reads this as '.ud800'"),
    (b"set: {a: &a [*a]}", "nested too deeply"),
    (b"set: {a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1], b: [" + b"*a, " * 2000 + b"]}", "more than 10,000 values"),
    (b"copies: 1" + MANY, "copies: YAML reads this as a number of so many digits"),
    (b"copies: " + HUGE, "copies: YAML reads this as a number of so many digits"),
    (b"scored_on: {t: {data: x, sample: 1" + MANY + b"}}", "t: sample: YAML reads this as a number of so many digits"),
    (b"designs: {" + HUGE[:1000] + b": {}}", "designs: YAML reads a name as a number of so many digits"),
]


@pytest.mark.parametrize(("text", "told"), NO_JSON, ids=[told for _, told in NO_JSON])
def test_what_json_does_not_have_is_one_clear_line(tmp_path: Path, text: bytes, told: str):
    with pytest.raises(UsageError, match=told):
        check_plain(yaml.safe_load(text), "study")
    (tmp_path / "s.yaml").write_bytes(text)
    with pytest.raises(UsageError):
        load_study(tmp_path / "s.yaml", ["foo=1"])


def test_a_dry_run_counts_measures_that_ask_networks(small: Path, photos: Path, tmp_path: Path):
    path = changed(small, tmp_path, measures=["insertion"])
    told = passed(path, photos, tmp_path / "out", "--dry-run")
    from das_explain.study.probe import estimates, probe
    from das_explain.study.units import units_of

    assert told.count("score on") == 2
    seconds = []
    for each in (small, path):
        study, _ = load_study(each, [f"photos={photos}"])
        units = units_of(study, tmp_path / "out")
        lines = estimates(study, units, probe(study, units), "last", [])
        seconds.append(sum(line.seconds for line in lines if line.what.startswith("score")))
    assert seconds[1] > 2 * seconds[0], "a network that is asked 60 times about each map takes longer"


def refused(path: Path, photos: Path, out: Path) -> str:
    """What a study that trains nothing says in one line."""
    done = run(path, photos, out, "--set", "schedule.epochs=1")
    assert isinstance(done.exception, DasExplainError), done.output + str(done.exception)
    return str(done.exception)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("place", ["tables", "figures", "report", "runs", "runs/all", "units", "units/none-0"])
def test_a_link_out_of_the_folder_is_refused_before_anything_is_done(
    finished: tuple[Path, Path], photos: Path, tmp_path: Path, again: Path, place: str
):
    own = tmp_path / "own"
    own.mkdir()
    for name in ("copies.csv", "units.csv", ".das-explain-1-x"):
        (own / name).write_text("mine")
    shutil.rmtree(again / "units/das-1")  # there would be something to train
    shutil.rmtree(again / place)
    (again / place).symlink_to(own)
    for words in ((), ("--dry-run",)):
        done = run(finished[0], photos, again, "--set", "schedule.epochs=1", *words)
        assert f"{place} leads out of" in str(done.exception)
    assert bytes_of(own) == dict.fromkeys(("copies.csv", "units.csv", ".das-explain-1-x"), b"mine")
    assert not (again / "units/das-1").exists()


@pytest.mark.parametrize(
    ("place", "bend", "told"),
    [
        ("scored.json", os.mkfifo, "scored.json is no file"),
        ("scored.json", Path.mkdir, "scored.json is no file"),
        ("scored.json", lambda path: path.symlink_to("/dev/zero"), "scored.json leads out of"),
        ("summary.md", os.mkfifo, "summary.md is no file"),
        ("units/das-1.log", os.mkfifo, "das-1.log is no file"),
        ("tables", lambda path: path.write_text(""), "tables is no folder"),
        ("units/das-1", lambda path: path.write_text(""), "das-1 is no folder"),
    ],
)
def test_what_can_be_no_part_of_a_study_is_one_line(
    finished: tuple[Path, Path], photos: Path, again: Path, place: str, bend, told: str
):
    path = again / place
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    bend(path)
    assert told in refused(finished[0], photos, again)


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "{", '{"runs": [], "weights": 3}', "\0\udcff"])
def test_a_bent_list_of_what_was_scored_says_nothing(tmp_path: Path, text: str):
    (tmp_path / "scored.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert _State(tmp_path / "scored.json").of("all") is None


@pytest.mark.parametrize(
    "training",
    [
        {"seconds": 10**400},
        {"seconds": float("nan")},
        {"seconds": -1},
        {"seconds": True},
        {"seconds": "1"},
        {"seconds": 1, "notes": 3},
        {"seconds": 1, "accuracy": [1]},
        {"seconds": 1, "accuracy": {"t": 1}},
        {"seconds": 1, "accuracy": {"t": {}}},
        {"seconds": 1, "accuracy": {"t": {"top1": "0.5"}}},
        {"seconds": 1, "accuracy": {"t": {"top1": float("nan")}}},
        {"seconds": 1, "accuracy": {"t": {"top1": 10**400}}},
        {},
        [],
        None,
        "[" * 100_000,
    ],
    ids=lambda training: str(training)[:40],
)
def test_a_unit_that_does_not_say_how_it_was_trained_is_one_line(tmp_path: Path, training: Any):
    (tmp_path / "das-0/model").mkdir(parents=True)
    text = training if isinstance(training, str) else json.dumps({"training": training})
    (tmp_path / "das-0/model/config.json").write_text(text)
    with pytest.raises(DasExplainError, match="config.json does not say how it was trained: delete .*das-0 to train"):
        training_of(Unit("das", 0, "recipe.yaml", (), tmp_path / "das-0"))


def test_a_unit_that_does_not_say_it_is_told_before_others_are_trained(
    finished: tuple[Path, Path], photos: Path, again: Path
):
    shutil.rmtree(again / "units/none-0")
    (again / "units/das-1/model/config.json").write_text("{}")
    assert "config.json does not say how it was trained" in refused(finished[0], photos, again)
    assert not (again / "units/none-0").exists()


def test_nothing_but_the_studys_own_tables_is_published(finished: tuple[Path, Path], photos: Path, again: Path):
    (again / "tables/mine.csv").write_text("mine")
    passed(finished[0], photos, again, "--set", "schedule.epochs=1", "--publish", str(again.parent / "published"))
    tables = {path.name for path in (again.parent / "published/tables").iterdir()}
    assert {"units.csv", "copies.csv", "design_means.csv"} <= tables and "mine.csv" not in tables


@pytest.mark.parametrize("entries", [{"scoring": None}, {"scoring": []}, {"scoring": {"a": 1}}, {"models": []}])
def test_a_run_that_does_not_say_how_it_was_made_is_made_again(
    finished: tuple[Path, Path], photos: Path, again: Path, entries: dict[str, Any]
):
    path = again / "runs/all/run.json"
    before = json.loads(path.read_text())
    path.write_text(json.dumps({**before, **entries}))
    passed(finished[0], photos, again, "--set", "schedule.epochs=1")
    after = json.loads(path.read_text())
    assert after["scoring"] == before["scoring"] and len(after["models"]) == 4


@pytest.mark.parametrize("name", ["copies", "design_lifts"])
@pytest.mark.parametrize("bend", [lambda table: pd.concat([table, table]), lambda table: table.assign(measure="")])
def test_a_table_that_was_changed_is_one_line(finished: tuple[Path, Path], photos: Path, again: Path, name: str, bend):
    path = again / f"runs/all/{name}.csv"
    bend(pd.read_csv(path, keep_default_na=False)).to_csv(path, index=False)
    assert f"{name}.csv was changed by another program: delete" in refused(finished[0], photos, again)
    (again / "scored.json").unlink()
    passed(finished[0], photos, again, "--set", "schedule.epochs=1")
