"""Studies of other kinds than two labelled designs in two copies, and what is told before hours of training."""

from __future__ import annotations

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
from das_explain.errors import UsageError
from das_explain.study.schema import load_study


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
