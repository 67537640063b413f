"""A run's folder: whoever is killed can begin again, nothing of anybody else's is touched, a part is called a part."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence import shards
from das_explain.evidence.join import join_runs
from das_explain.evidence.run import Run
from das_explain.report.publish import publish
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from das_explain.types import Sample
from tests.kills import every_kill, kills
from tests.report.synthetic_run import Item, make_run

OPTIONS = ScoreOptions(measures=("sfd",), nulls=("shuffled",), readings=False)
OTHER = ScoreOptions(measures=("sfd",), nulls=("shuffled",), readings=False, threshold=0.7)
ITEMS = [Item(f"{number}.png", "cat" if number % 2 else "dog") for number in range(6)]
FOREIGN = (
    "notes.txt", "my scores.csv", "frames/holiday.jpg", "figures/mine.png", "figures/paired-mine.pdf", "report/notes.html",
    "report/images/mine.jpg", "evidence/part-99999.parquet", "evidence/part-00000.parquet.bak", "thesis/scores.csv",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A scored run of two shards, and what somebody has put into its folder."""
    folder = tmp_path_factory.mktemp("made") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SIZE", 3)
        make_run(folder, ITEMS, blocks=("layer4",), options=OPTIONS)
        publish(Run.open(folder))
    for name in FOREIGN:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"mine: {name}")
    return folder


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SIZE", 3)


def copy_of(made: Path, to: Path) -> Run:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(made, to, symlinks=True)
    return Run.open(to)


def tables_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.csv") if path.name != "my scores.csv"}


def foreign_of(folder: Path) -> set[str]:
    return {name for name in FOREIGN if (folder / name).is_file() and (folder / name).read_text() == f"mine: {name}"}


def other_manifest(run: Run) -> dict:
    return {**run.manifest, "seed": 7}


def samples() -> list[Sample]:
    return [Sample(item.name, index, item.label) for index, item in enumerate(ITEMS)]


def test_a_start_that_was_killed_anywhere_can_be_repeated(made: Path, tmp_path: Path):
    out, manifest = tmp_path / "run", Run.open(made).manifest

    def start() -> Run:
        return Run.start(out, manifest, samples())

    kills = 0
    for _ in every_kill(out, lambda: shutil.rmtree(out, ignore_errors=True), start):
        kills += 1
        assert start().sample == [item.name for item in ITEMS]
        assert sorted(path.name for path in out.iterdir()) == [".lock", "run.json", "sample.csv"]
    assert kills > 4


@kills(9)
def test_replacing_that_was_killed_anywhere_goes_on_and_leaves_what_is_not_ours(made: Path, tmp_path: Path, stride):
    out = tmp_path / "run"
    manifest = other_manifest(Run.open(made))

    def start() -> Run:
        return Run.start(out, manifest, samples(), overwrite=True)

    for step in every_kill(out, lambda: copy_of(made, out), start, stride=stride):
        assert Run.open(out).sample, f"step {step}"
        assert foreign_of(out) == set(FOREIGN), f"step {step}"
        start()
        assert foreign_of(out) == set(FOREIGN)
        left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
        assert left - set(FOREIGN) == {".lock", "run.json", "sample.csv"}
    assert step > 20


@kills(19)
def test_scoring_that_was_killed_anywhere_leaves_old_tables_or_says_that_they_are_none(
    made: Path, tmp_path: Path, stride
):
    old, new = copy_of(made, tmp_path / "old"), copy_of(made, tmp_path / "new")
    score_run(new, OTHER)
    before, after = tables_of(old.folder), tables_of(new.folder)
    assert before["scores.csv"] != after["scores.csv"]
    out = tmp_path / "run"
    for step in every_kill(out, lambda: copy_of(made, out), lambda: score_run(Run.open(out), OTHER), stride=stride):
        killed = Run.open(out)
        if killed.is_scored:
            assert tables_of(out) in (before, after), f"step {step}: a mixture passes for a result"
        killed.lock()
        score_run(killed, None if killed.manifest["scoring"]["threshold"] == 0.7 else OTHER)
        assert tables_of(out) == after, f"step {step}"
        assert foreign_of(out) == set(FOREIGN)
        del killed
    assert step > 20


@kills(17)
def test_publishing_that_was_killed_anywhere_keeps_a_whole_report_and_all_foreign_files(
    made: Path, tmp_path: Path, stride
):
    out = tmp_path / "run"
    page = publish(copy_of(made, out)).read_bytes()
    for step in every_kill(out, lambda: copy_of(made, out), lambda: publish(Run.open(out)), stride=stride):
        again = Run.open(out)
        again.lock()
        publish(again)
        assert (out / "report" / "index.html").read_bytes() == page, f"step {step}"
        assert foreign_of(out) == set(FOREIGN), f"step {step}"
        assert not list(out.glob(".das-explain-*")) and not (out / ".report.old").exists()
        del again
    assert step > 10


@kills(7)
@pytest.mark.parametrize("how", ["copy", "join"])
def test_a_run_made_of_others_that_was_killed_anywhere_can_be_made_again(made, tmp_path, how: str, stride):
    one = Run.open(made)
    two = Run.open(make_run(tmp_path / "two", ITEMS, models=("third",), blocks=("layer4",), options=OPTIONS))
    out = tmp_path / "run"

    def make() -> Run:
        return one.copy_to(out) if how == "copy" else join_runs([one, two], out)

    for _ in every_kill(out, lambda: shutil.rmtree(out, ignore_errors=True), make, stride=stride):
        whole = make()
        score_run(whole, OPTIONS)
        assert whole.models == (["plain", "das"] if how == "copy" else ["plain", "das", "third"])
        assert len(whole.table("summary")) == len(whole.models)
        del whole
    with pytest.raises(UsageError, match="is not empty; choose another folder"):
        score_run(make(), OPTIONS)
        make()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "content",
    ['{"version": 3}', "[]", "1", "{", '{"schema": 2, "models": [], "sample": []}', '{"recipe": {}, "data": {}}', "[" * 9999],
)  # fmt: skip
def test_a_run_json_of_somebody_else_is_refused_and_nothing_is_touched(made, tmp_path, content, overwrite):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("scores.csv", "figures/a.png", "report/index.html", "frames/0.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
    (folder / "run.json").write_text(content)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="choose another --out") as refused:
        Run.start(folder, Run.open(made).manifest, samples(), overwrite=overwrite)
    assert "\n" not in str(refused.value)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


LINKS = (
    "run.json",
    "scores.csv",
    "sample.csv",
    "evidence",
    "evidence/part-00001.parquet",
    "report",
    "figures",
    ".lock",
)


@pytest.mark.parametrize("name", LINKS)
def test_a_link_that_leads_out_of_the_folder_is_neither_read_nor_written(made: Path, tmp_path: Path, name: str):
    out = tmp_path / "run"
    copy_of(made, out)
    elsewhere = tmp_path / "elsewhere" / Path(name).name
    elsewhere.parent.mkdir()
    if (out / name).exists():
        shutil.move(out / name, elsewhere)
    else:
        elsewhere.write_text("mine")
    (out / name).symlink_to(elsewhere)
    before = {path: path.read_bytes() for path in [elsewhere, *elsewhere.rglob("*")] if path.is_file()}

    def everything() -> None:
        run = Run.open(out)
        run.lock()
        run.table("sample")
        run.table("scores")
        score_run(run, OPTIONS)
        publish(run)

    with pytest.raises(DasExplainError, match="leads out of .* by a link: remove the link"):
        everything()
    assert {path: path.read_bytes() for path in [elsewhere, *elsewhere.rglob("*")] if path.is_file()} == before


def test_a_link_to_another_place_in_the_folder_is_no_harm(made: Path, tmp_path: Path):
    run = copy_of(made, tmp_path / "run")
    (run.folder / "scores.csv").rename(run.folder / "kept.csv")
    (run.folder / "scores.csv").symlink_to("kept.csv")
    assert len(run.table("scores")) == 12


def unfinished(made: Path, out: Path) -> Run:
    run = copy_of(made, out)
    run.shards.path(1).unlink()
    return run


def test_a_part_is_called_a_part_wherever_it_is_shown(made: Path, tmp_path: Path):
    run = unfinished(made, tmp_path / "run")
    assert not run.is_scored, "the tables are of more images than the evidence"
    score_run(run, OPTIONS)
    assert run.is_scored and run.part == Run.open(run.folder).part == "3 of 6 images"
    assert run.manifest["scored"] == {"images": 3, "of": 6, "device": "cpu"}
    assert set(run.table("scores")["image"]) == set(run.sample[:3])
    assert "3 of 6 images" in publish(run).read_text()
    joined = join_runs([run, copy_of(made, tmp_path / "whole")], tmp_path / "joined")
    score_run(joined, OPTIONS)
    assert joined.part == "3 of 6 images"
    assert Run.open(made).part is None


def test_foreign_files_are_where_they_were_after_report_and_replacement(made: Path, tmp_path: Path):
    run = copy_of(made, tmp_path / "run")
    publish(run)
    assert foreign_of(run.folder) == set(FOREIGN)
    (run.folder / "figures" / "paired-plain-das.png").unlink()
    mine = run.folder / "figures" / "lift.png"
    run.manifest["figures"] = []
    run.save_manifest()
    mine.write_text("mine")
    with pytest.raises(DasExplainError, match="is not of this run: move it elsewhere"):
        publish(run)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("name", ["report/index.html", "report.html"])
def test_a_page_of_somebody_else_is_not_replaced(made: Path, tmp_path: Path, name: str):
    run = copy_of(made, tmp_path / "run")
    shutil.rmtree(run.folder / "report")
    (run.folder / name).parent.mkdir(exist_ok=True)
    (run.folder / name).write_text("my homepage")
    with pytest.raises(DasExplainError, match="exists and is no report"):
        publish(run, single_file=name == "report.html")
    assert (run.folder / name).read_text() == "my homepage"


CORRUPT: dict[str, Callable[[dict], object]] = {
    "a list": lambda manifest: [manifest],
    "models that are words": lambda manifest: {**manifest, "models": ["plain"]},
    "models that are numbered": lambda manifest: {**manifest, "models": [{"name": 3}]},
    "images that are numbers": lambda manifest: {**manifest, "sample": [1, 2]},
    "no options": lambda manifest: {**manifest, "options": None},
    "another schema": lambda manifest: {**manifest, "schema": "2"},
}


@pytest.mark.parametrize("what", CORRUPT)
def test_a_manifest_of_other_types_is_one_line(made: Path, tmp_path: Path, what: str):
    run = copy_of(made, tmp_path / "run")
    (run.folder / "run.json").write_text(json.dumps(CORRUPT[what](run.manifest)))
    with pytest.raises(DasExplainError) as refused:
        Run.open(run.folder)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(os.name == "nt", reason="no such files there")
@pytest.mark.parametrize("name", ["run.json", "scores.csv", "evidence/part-00000.parquet"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(made: Path, tmp_path: Path, name: str):
    run = copy_of(made, tmp_path / "run")
    (run.folder / name).unlink()
    os.mkfifo(run.folder / name)
    with pytest.raises(DasExplainError, match="is no file"):
        opened = Run.open(run.folder)
        list(opened.evidence())
        opened.table("scores")
