"""Networks asked about maps that know nothing of the photos, when all photos have been explained."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from das_explain.cam.maps import upsample
from das_explain.data.dataset import open_dataset
from das_explain.errors import UsageError
from das_explain.evidence import shards
from das_explain.evidence.join import join_runs
from das_explain.evidence.provenance import asked, asked_about
from das_explain.evidence.run import ALL, Run
from das_explain.evidence.values import Key
from das_explain.explain.contestants import Contestant, ExplainOptions, load_contest
from das_explain.explain.explainer import Explainer
from das_explain.measures import MEASURES, MeasureOptions, Probe
from das_explain.nulls import NULLS
from das_explain.nulls.pairing import derangement
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from tests.explain import test_pipeline
from tests.explain.test_pipeline import LABELS, everything, write_photos
from tests.explain.test_pipeline import setting as gated  # noqa: F401 - a fixture
from tests.runs import assert_same_numbers

MEASURED = ("average_drop", "deletion")
SCORING = ScoreOptions(measures=MEASURED, nulls=("all",), readings=False)
HOW: dict[str, Any] = {"options": ExplainOptions(measures=MEASURED), "sample": 7}


@pytest.fixture(scope="module")
def setting(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("asking")
    models = tuple(f"{name}=python:tests.networks:small?size=32&seed={seed}" for seed, name in enumerate("ab"))
    (folder / "labels.txt").write_text("\n".join(LABELS))
    return {"csv": write_photos(folder), "models": models, "labels": folder / "labels.txt"}


def run(setting: dict, out: Path, **changes: Any) -> Run:
    return test_pipeline.run(setting, out, label_files=[setting["labels"]] * len(setting["models"]), **changes)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SIZE", 3)


@pytest.fixture(scope="module")
def whole(setting: dict, tmp_path_factory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SIZE", 3)
        return run(setting, tmp_path_factory.mktemp("whole") / "run", scoring=SCORING, **HOW)


def test_every_measure_has_its_lift_over_every_null(whole: Run):
    lifts = whole.table("lift")
    known = {(*at, measure, null) for at in _keys(whole) for measure in ("sfd", *MEASURED) for null in NULLS}
    assert set(zip(lifts["model"], lifts["block"], lifts["measure"], lifts["null"])) == known
    assert (lifts["n"] > 3).all()
    values, nulls = whole.table("measures"), whole.table("nulls")
    for row in lifts.itertuples():
        own = _values(values, row.model, row.block, row.measure)
        theirs = _values(nulls[nulls["null"] == row.null], row.model, row.block, row.measure)
        assert row.lift == pytest.approx((own - theirs).mean(), abs=2e-6)


def test_the_values_are_those_of_the_measure_on_the_null_s_map(whole: Run, setting: dict):
    """By hand: the photo as the network saw it, the map of the partner by the sample's derangement."""
    nulls = whole.table("nulls")
    dataset = open_dataset(str(setting["csv"]))
    files = [setting["labels"]] * 2
    contest = load_contest(setting["models"], dataset.labels, ExplainOptions(), device="cpu", label_files=files)
    parts = list(whole.evidence(ALL))
    partner = derangement(sum(len(part.shown) for part in parts), 0)
    samples = {sample.name: sample for sample in dataset.samples}
    names = [part.photos[i].image for part in parts for i in part.shown]
    compared = 0

    def standardize(photos: torch.Tensor) -> torch.Tensor:
        return preprocess.standardize(photos.clone())  # which is done in place

    for contestant in contest.contestants:
        network, preprocess = contestant.network.eval(), contestant.model.preprocess
        for block in contestant.blocks:
            natives = np.concatenate([part.maps[Key(contestant.name, block)].native for part in parts])
            targets = np.concatenate([part.logits[contestant.name].target for part in parts])
            maps = upsample(torch.from_numpy(natives), preprocess.geometry.size)
            for place, name in enumerate(names):
                frame = preprocess.geometry.frame(dataset.read(samples[name]))
                image = torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None].float() / 255
                target = torch.tensor([int(targets[place])])
                probe = Probe.of(network, standardize, image, target)
                for null, fake in (
                    ("shuffled", maps[partner[place]][None]),
                    ("uniform", torch.ones(1, *preprocess.geometry.size)),
                ):
                    with torch.no_grad():
                        ours = MEASURES["average_drop"].compute(fake, fake > 2, MeasureOptions(probe=probe))
                    at = [name, contestant.name, block, null, "average_drop"]
                    row = nulls[(nulls[["image", "model", "block", "null", "measure"]] == at).all(axis=1)]
                    if len(row):  # the photo has a region
                        assert row["status"].tolist() == ours.status
                        assert row["value"].iloc[0] == pytest.approx(float(ours.values), abs=2e-5, nan_ok=True)
                        compared += 1
    assert compared > 20


@pytest.mark.parametrize("how", [{"engine": "inline"}, {"batch": 1}])
def test_neither_engine_nor_batch_moves_a_number(whole: Run, setting: dict, tmp_path: Path, how: dict[str, Any]):
    other = run(setting, tmp_path / "run", scoring=SCORING, **HOW, **how).table("nulls")
    assert_same_numbers(other, whole.table("nulls"))


def test_deep_and_gated_networks_are_asked_alike_in_any_batch(gated: dict, tmp_path: Path):  # noqa: F811
    one, many = (
        test_pipeline.run(
            gated,
            tmp_path / str(batch),
            options=ExplainOptions(measures=("average_drop",)),
            scoring=replace(SCORING, measures=("average_drop",), nulls=("shuffled", "uniform")),
            sample=7,
            batch=batch,
        ).table("nulls")
        for batch in (1, 4)
    )
    assert set(many["model"]) == {"plain", "das"}
    assert (many.loc[many["measure"] == "average_drop", "status"] == "ok").sum() > 20
    assert_same_numbers(one, many)


def test_stopped_between_two_parts_it_says_so_and_goes_on(whole: Run, setting: dict, tmp_path: Path):
    def stop(done: int, of: int) -> None:
        if done > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(setting, tmp_path / "run", scoring=SCORING, asking=stop, **HOW)
    part = Run.open(tmp_path / "run")
    assert [len(asked_about(part.shards.path(number))) for number in range(3)] == [len(NULLS), 0, 0]
    score_run(part, SCORING)
    assert "the networks have not been asked about blind maps on 4 of 7 images yet" in part.manifest["assumptions"]
    nulls = part.table("nulls")
    assert set(nulls.loc[nulls["status"] == "not_asked", "image"]) <= set(part.sample[3:])
    assert nulls.loc[nulls["status"] == "not_asked", "value"].isna().all()
    before = part.shards.path(0).stat().st_mtime_ns
    del part
    again = run(setting, tmp_path / "run", scoring=SCORING, **HOW)
    assert again.shards.path(0).stat().st_mtime_ns == before
    assert everything(again.folder) == everything(whole.folder)
    assert not list(again.folder.glob(".das-explain-*"))


def test_another_null_is_asked_about_alone(whole: Run, setting: dict, tmp_path: Path):
    few = replace(SCORING, nulls=("centre", "uniform"))
    first = run(setting, tmp_path / "run", scoring=few, **HOW)
    with pytest.raises(UsageError, match="--nulls shuffled: the networks were not asked about such maps"):
        score_run(first, SCORING)
    before = first.shards.read(0, ("maps", "measured")).to_pydict()
    first.manifest["asked"].append("nobody's")
    first.save_manifest()
    del first
    again = run(setting, tmp_path / "run", scoring=SCORING, **HOW)
    assert again.shards.read(0, ("maps", "measured")).to_pydict() == before
    assert everything(again.folder) == everything(whole.folder)
    assert set(again.asked) == set(NULLS)
    score_run(again, few)
    assert set(again.table("lift")["null"]) == {"centre", "uniform"}


def test_scored_with_fewer_nulls_it_is_a_fresh_run_with_them(whole: Run, setting: dict, tmp_path: Path):
    few = replace(SCORING, nulls=("shuffled",))
    fresh = run(setting, tmp_path / "fresh", scoring=few, **HOW)
    copy = whole.copy_to(tmp_path / "copy")
    score_run(copy, few)
    assert everything(copy.folder) == everything(fresh.folder)


def test_a_photo_that_has_gone_since_loses_only_its_lift(setting: dict, tmp_path: Path, monkeypatch):
    source = type(open_dataset(str(setting["csv"])).source)
    read, gone = source.read, []

    def reading(self: Any, sample: Any) -> Any:
        if sample.name in gone:
            raise OSError("gone")
        return read(self, sample)

    def begin(done: int, of: int) -> None:
        gone[:] = [name]

    name = next(photo["image"] for photo in run(setting, tmp_path / "first", **HOW).photos() if photo["status"] == "ok")
    monkeypatch.setattr(source, "read", reading)
    made = run(setting, tmp_path / "run", scoring=SCORING, asking=begin, **HOW)
    nulls = made.table("nulls")
    lost = nulls[(nulls["image"] == name) & (nulls["measure"] != "sfd")]
    assert set(lost["status"]) == {"unreadable"}
    assert lost["value"].isna().all()
    assert not (nulls.loc[nulls["image"] != name, "status"] == "unreadable").any()
    assert made.unasked == 3, "its part"
    del made
    gone.clear()
    again = run(setting, tmp_path / "run", scoring=SCORING, **HOW)
    assert again.unasked == 0
    nulls = again.table("nulls")
    assert (nulls.loc[(nulls["image"] == name) & (nulls["measure"] != "sfd"), "status"] == "ok").all()


def test_answers_that_no_shard_speaks_of_are_given_again(whole: Run, setting: dict, tmp_path: Path):
    shutil.copytree(whole.folder, tmp_path / "run")
    made = Run.open(tmp_path / "run")
    for number in range(3):
        path = made.shards.path(number)
        table = made.shards.read(number)
        made.shards.write(number, asked(table, ["left"], path))
    del made
    none = replace(SCORING, nulls=())
    run(setting, tmp_path / "run", scoring=none, **HOW)
    assert set(Run.open(tmp_path / "run").asked) == set(NULLS), "what was asked before is not forgotten"
    again = run(setting, tmp_path / "run", scoring=SCORING, **HOW)
    assert everything(again.folder) == everything(whole.folder)
    assert set(asked_about(again.shards.path(0))) == {"left", *NULLS}


def test_a_stranger_s_evidence_of_a_class_that_is_not_there_is_one_line(setting: dict):
    network = (
        load_contest(setting["models"], None, ExplainOptions(target="predicted"), device="cpu").contestants[0].network
    )
    probe = Probe.of(network.eval(), lambda photos: photos, torch.rand(1, 3, 32, 32), torch.tensor([5000]))
    with pytest.raises(UsageError, match="class 5000 is to be asked about, and the network has 3"):
        probe.before()


def test_a_null_that_does_not_exist_is_told_before_anything_is_loaded(setting: dict, tmp_path: Path):
    with pytest.raises(UsageError, match="--nulls 'spot' is unknown"):
        run(setting, tmp_path / "run", nulls=("spot",), **HOW)


def test_joined_runs_keep_what_all_were_asked(whole: Run, setting: dict, tmp_path: Path):
    apart = [
        run({**setting, "models": (spec,)}, tmp_path / spec.partition("=")[0], scoring=SCORING, **HOW)
        for spec in setting["models"]
    ]
    joined = join_runs(apart, tmp_path / "joined")
    score_run(joined, SCORING)
    assert everything(joined.folder) == everything(whole.folder)
    other = Run(apart[1].folder, {**apart[1].manifest, "asked": ["uniform"]})
    fewer = join_runs([apart[0], other], tmp_path / "fewer")
    score_run(fewer, SCORING)
    lifts = fewer.table("lift")
    assert set(lifts.loc[lifts["measure"] != "sfd", "null"]) == {"uniform"}
    assert any("stand beside uniform alone" in note for note in fewer.manifest["assumptions"])
    seeded = Run(apart[1].folder, {**apart[1].manifest, "seed": 1})
    assert set(join_runs([apart[0], seeded], tmp_path / "seeded").asked) == {"centre", "centre-fitted", "uniform"}


def _keys(of: Run) -> list[tuple[str, str]]:
    return [(entry["name"], block) for entry in of.manifest["models"] for block in entry["blocks"]]


def _values(table: pd.DataFrame, model: str, block: str, measure: str) -> pd.Series:
    mine = table[(table["model"] == model) & (table["block"] == block) & (table["measure"] == measure)]
    return mine.set_index("image")["value"]


@pytest.mark.parametrize("when", ["explaining", "blind maps"])
def test_memory_that_runs_out_while_networks_are_asked_halves_what_they_are_shown(
    whole: Run,
    setting: dict,
    tmp_path: Path,
    monkeypatch,
    when: str,
):
    answering, shown, begun = Contestant.answering.fget, [], []

    def scarce(contestant: Contestant):
        network = answering(contestant)

        def ask(photos):
            if (when == "explaining" or begun) and len(photos) > 2:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
            shown.append(len(photos))
            return network(photos)

        return ask

    real = Explainer.ask
    monkeypatch.setattr(Explainer, "ask", lambda self, *how: begun.append(1) or real(self, *how))
    monkeypatch.setattr(Contestant, "answering", property(scarce))
    made = run(setting, tmp_path / "run", scoring=SCORING, **HOW, batch=3)
    assert begun and shown and (max(shown) <= 2) == (when == "explaining")
    for name in ("measures", "nulls", "lift"):
        assert_same_numbers(made.table(name), whole.table(name))
