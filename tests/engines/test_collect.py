"""Who made the evidence is known of every shard, and names that would collide are found before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from das_explain.checkpoint import load as checkpoint
from das_explain.checkpoint.spec import parse_spec
from das_explain.engines import shard
from das_explain.errors import UsageError
from das_explain.evidence import provenance, shards
from das_explain.evidence.provenance import maker_of
from das_explain.evidence.run import Run
from das_explain.explain import contestants
from das_explain.files import package_versions
from tests.explain.test_pipeline import run, setting  # noqa: F401 - a fixture


def test_a_run_continued_on_another_machine_says_so_and_lists_both(setting: dict, tmp_path: Path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(shards, "SIZE", 10)
    versions = package_versions()
    here = {"das-explain": versions["das-explain"], "torch": versions["torch"], "device": "cpu"}
    first = run(setting, tmp_path / "run")
    assert maker_of(first.shards.path(0)) == here
    assert first.manifest["made_by"] == [{**here, "images": 16}]
    assert not any("one roof" in sentence for sentence in first.manifest["assumptions"])
    first.shards.path(1).unlink()
    del first
    there = {"das-explain": "9.9", "torch": "9.8", "device": "cuda (a card)"}
    monkeypatch.setattr(shard, "maker", lambda device: there)
    monkeypatch.setattr(provenance, "package_versions", lambda: {"das-explain": "9.9", "torch": "9.8"})
    said: list[str] = []
    again = run(setting, tmp_path / "run", note=said.append)
    assert said == [
        f"the run goes on under other versions: 10 images with das-explain {here['das-explain']}, torch {here['torch']} "
        "on cpu; from here on das-explain 9.9, torch 9.8 on cpu"
    ], "it says so before it goes on"
    assert Run.open(again.folder).manifest["made_by"] == [{**here, "images": 10}, {**there, "images": 6}]
    (told,) = (each for each in again.manifest["assumptions"] if "one roof" in each)
    assert "6 images with das-explain 9.9, torch 9.8 on cuda (a card)" in told


@pytest.mark.parametrize("names", [("a", "a", "a#2"), ("a#1", "a", "a")])
def test_copies_whose_names_collide_are_found_before_models_are_loaded(setting, tmp_path, monkeypatch, names):  # noqa: F811
    monkeypatch.setattr(contestants, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    monkeypatch.setattr(checkpoint, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    spec = setting["models"][0].partition("=")[2]
    with pytest.raises(UsageError, match="two models would be called a#"):
        run(setting, tmp_path / "run", models=tuple(f"{name}={spec}" for name in names))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\nb", "\udcff", " "])
def test_a_model_name_that_cannot_be_shown_is_refused(name: str):
    with pytest.raises(UsageError, match="cannot name a model") as refused:
        parse_spec(f"{name}=torchvision:resnet18")
    assert str(refused.value).isprintable()
