"""A study's file: what it says, what it leaves open, what is refused; no network is trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from das_explain.commands.study import _Told
from das_explain.errors import DasExplainError, UsageError
from das_explain.study import scoring, units
from das_explain.study.schema import load_study
from das_explain.types import no_progress

SHIPPED = Path(__file__).parents[2] / "studies"


def changed(small: Path, tmp_path: Path, **changes) -> Path:
    tree = {**yaml.safe_load(small.read_text()), "recipe": str(small.with_name("tiny.yaml")), **changes}
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def test_each_copy_has_its_designs_recipe_and_a_seed_of_its_own(small: Path):
    study, given = load_study(small, ["photos=there", "schedule.epochs=3"])
    assert given == {"photos": "there"}
    recipe = study.recipe_of("das", 4)
    assert (recipe.model.attention, recipe.model.arguments, recipe.seed) == ("das", {"gates": ["layer2"]}, 4)
    assert (recipe.data.train, recipe.schedule.epochs, recipe.loop.half) == ("there/photos.csv", 3, True)
    assert study.recipe_of("none", 0).model.attention == "none"
    assert study.data["few"].sample == 6
    assert load_study(small, ["photos=there"], copies=7)[0].copies == 7


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        ([], {}, r"other.yaml needs --set photos=... \(a folder with photos.csv\)"),
        (["photos=a", "other=b"], {}, "--set other: other.yaml needs photos; a recipe's setting has a dot"),
        (["photos"], {}, "--set 'photos': expected key=value"),
        (["photos=a"], {"designs": {}}, "the study has no designs"),
        (["photos=a"], {"designs": {"../up": {}}}, "designs: '../up' is no name for a folder"),
        (["photos=a"], {"designs": {"a": "das"}}, "designs.a: expected settings of the recipe"),
        (["photos=a"], {"designs": {"a": {"model.atention": "das"}}}, "unknown key model.atention"),
        (["photos=a"], {"copies": 0}, "copies cannot be 0: a study has 1 to 1,000"),
        (["photos=a"], {"copies": -1}, "copies cannot be -1: a study has 1 to 1,000"),
        (["photos=a"], {"copies": 10**9}, "copies cannot be 1000000000: a study has 1 to 1,000"),
        (["photos=a"], {"copies": 2.5}, "copies cannot be 2.5: expected a whole number"),
        (["photos=a"], {"copies": True}, "copies cannot be True: expected a whole number"),
        (["photos=a"], {"designs": {"a": {"x=y": 1}}}, "'x=y' is no setting of a recipe"),
        (["photos=a", "optimizer.lr=.nan"], {}, r"--set optimizer.lr: \.nan is not a finite number"),
        (["photos=a"], {"scored_on": {"x": {"sample": 3}}}, "the study lacks scored_on.x.data"),
        (["photos=a"], {"seeds": 3}, "unknown key seeds"),
        (["photos=a"], {"set": {"data.train": "${elsewhere}"}}, r"uses \$\{elsewhere\} but does not list it"),
    ],
)
def test_mistakes_are_told_by_their_key(small: Path, tmp_path: Path, settings, changes, message):
    with pytest.raises(UsageError, match=message):
        load_study(changed(small, tmp_path, **changes), settings)


@pytest.mark.parametrize("copies", [0, -1, 1001, 10**9, 10**400, 1 << 20_000], ids=int.bit_length)
def test_as_many_copies_as_no_study_has_are_one_line(small: Path, copies: int):
    with pytest.raises(UsageError, match="--copies cannot be .*: a study has 1 to 1,000 copies of each design"):
        load_study(small, ["photos=there"], copies)


def test_photos_of_other_names_have_a_label_map(small: Path, photos: Path, tmp_path: Path, monkeypatch):
    (tmp_path / "map.csv").write_text("data,model\nblue,sky\nred,0\n")
    data = f"{photos}/photos.csv"
    mapped = {"data": data, "label_map": str(tmp_path / "map.csv")}
    path = changed(small, tmp_path, scored_on={"plain": {"data": data}, "mapped": mapped})
    study, _ = load_study(path, [f"photos={photos}"])
    plans = []
    monkeypatch.setattr(scoring, "collect", lambda plan, *_, **__: plans.append(plan))
    rests = []
    for each in study.data.values():
        dataset = scoring.open_data(each)
        scoring._explain(study, [], each, dataset, tmp_path / "run", "local", "cpu", 16, 0, no_progress)
        rests.append(scoring._what(study, [], each, dataset, scoring._State(tmp_path / "scored.json"))["data"])
    assert [plan.label_map for plan in plans] == [None, {"blue": "sky", "red": "0"}]
    assert set(rests[0]) == {"data", "masks", "sample", "fingerprint"}, "studies of before are not done again"
    assert rests[1]["classes"] == {"blue": "sky", "red": "0"}, "another map is another run"
    (tmp_path / "map.csv").write_text("data,model\n")
    with pytest.raises(DasExplainError, match="map.csv: a label map without a row"):
        load_study(path, [f"photos={photos}"])  # before hours of training


def test_files_passed_over_are_told_once_of_data_to_train_and_to_score_on(
    small: Path, photos: Path, tmp_path: Path, monkeypatch, capsys
):
    mixed = tmp_path / "mixed"
    shutil.copytree(photos, mixed / "blue", ignore=shutil.ignore_patterns("*.csv"))
    (mixed / "blue" / "a.xyz").write_bytes(b"")
    path = changed(small, tmp_path, scored_on={"one": {"data": str(mixed)}, "two": {"data": str(mixed), "sample": 3}})
    study, _ = load_study(path, [f"photos={photos}"])
    monkeypatch.setattr(scoring, "_explain", lambda *_: None)
    monkeypatch.setattr(scoring, "score_run", lambda *_: None)
    monkeypatch.setattr(scoring, "Run", SimpleNamespace(open=lambda _: None))
    note = f"1 file passed over in {mixed}: 1 .xyz"
    monkeypatch.setattr(units, "training_of", lambda _: {"notes": ["2 files passed over in train: 2 .jp2"]})
    told = _Told(copies := [SimpleNamespace(name=name, finished=True) for name in ("none-0", "das-0")])
    for unit in copies:
        told(unit, 1.0)
    scoring.score_units(study, [], tmp_path, note=told.note)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note ")]
    assert lines[0] == "note        2 files passed over in train: 2 .jp2"
    assert len(lines) == 2 and note in lines[1].replace("note        ", "")


def test_a_value_is_no_yaml(small: Path):
    study, _ = load_study(small, ["photos=a, b: {c}"])
    assert study.recipe_of("none", 0).data.train == "a, b: {c}/photos.csv"


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_studies_that_come_with_the_project_are_whole(path: Path):
    study, _ = load_study(path, ["photos=photos"] if "needs:" in path.read_text() else [])
    assert study.copies == 5
    assert list(study.designs)[:2] == ["none", "das"]
    for design in study.designs:
        recipe = study.recipe_of(design, 0)
        assert recipe.loop.half
        assert recipe.model.attention == design


def test_no_file_is_one_line(tmp_path: Path):
    with pytest.raises(DasExplainError, match="no study file"):
        load_study(tmp_path / "none.yaml")
