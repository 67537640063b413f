"""True networks, small, by way of the commands: once per photo, told of everywhere, and not loaded a second time."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from das_explain.commands import app
from das_explain.errors import DasExplainError
from das_explain.evidence.run import Run
from das_explain.segment import FINDERS
from das_explain.segment.choose import FINDER_OPTIONS
from das_explain.segment.finders.options import FinderOptions
from das_explain.signals import Stopped
from tests.models import model_directory
from tests.photos import store
from tests.segment.fake_finder import BrightFinder, bright_photo
from tests.segment.networks import scene


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DAS_EXPLAIN_CACHE", str(tmp_path / "cache"))


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments), "--workers", "0"])
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture
def photos(tmp_path) -> Path:
    for name, size in {"cat/wide": (120, 70), "cat/tall": (60, 110), "dog/wide": (90, 64)}.items():
        store(scene(*size), tmp_path / "photos" / f"{name}.png")
    (tmp_path / "photos" / "dog" / "broken.png").write_bytes(b"x")
    return tmp_path / "photos"


def lines(path: Path) -> dict[str, dict]:
    return {record["image"]: record for record in map(json.loads, path.read_text("utf-8").splitlines())}


def known(folder: Path) -> dict[str, dict]:
    """What a run's evidence knows of each image before any model."""
    return {photo.image: asdict(photo) for evidence in Run.open(folder).evidence() for photo in evidence.photos}


def test_a_second_command_builds_no_segmenter_and_tells_the_same(nets, photos, tmp_path, monkeypatch):
    from transformers import PreTrainedModel

    model = ("--model", f"m={model_directory(tmp_path / 'm', ['cat', 'dog'])}", "--blocks", "layer4")
    finder = ("--detector", nets.detector, "--sam", nets.sam, "--detector-side", 64, "--box-threshold", 0.3)
    run("sfd", photos, *model, "--out", tmp_path / "run", "--no-report", *finder)

    built = []
    construct = PreTrainedModel.__init__

    def note(self, *arguments, **named):
        built.append(type(self).__name__)
        construct(self, *arguments, **named)

    monkeypatch.setattr(PreTrainedModel, "__init__", note)
    run("sfd", photos, *model, "--out", tmp_path / "again", "--no-report", *finder)
    run("segment", photos, "--out", tmp_path / "masks", *finder)
    run("heatmap", photos, *model, "--out", tmp_path / "maps", *finder)
    assert built == []
    for name in ("evidence/part-00000.parquet", "scores.csv", "nulls.csv", "summary.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()

    journal = known(tmp_path / "run")
    others = [lines(tmp_path / place / "regions.jsonl") for place in ("masks", "maps")]
    assert set(journal) == set(others[0]) == set(others[1]) and len(journal) == 4
    for name, record in journal.items():
        region = record["region"]
        for other in others:
            assert all(other[name][key] == record[key] for key in ("index", "label", "status", "width", "height"))
            assert other[name]["region"].items() <= region.items()  # masks have no area of their own
        if name == "dog/broken.png":
            assert (record["status"], region) == ("unreadable", {})
            continue
        assert record["status"] == "ok"
        assert region["prompt"] == f"{record['label']}."
        assert len(region["boxes"]) == len(region["scores"]) > 1
        assert region["used"] == [0]
        assert len(region["iou"]) == 1
        assert set(region["seconds"]) == {"detect", "encode", "decode"}

    run("segment", photos, "--out", tmp_path / "other", *finder[:-1], 0.4)
    assert {"GroundingDinoForObjectDetection", "SamModel"} <= set(built), "else nothing was held to anything above"


def test_photos_without_an_object_are_counted_everywhere(nets, photos, tmp_path):
    model = ("--model", f"m={model_directory(tmp_path / 'm', ['cat', 'dog'])}")
    finder = ("--detector", nets.detector, "--sam", nets.sam, "--detector-side", 64, "--box-threshold", 0.9999)
    printed = run("sfd", photos, *model, "--out", tmp_path / "run", *finder)
    assert "0 of 4" in printed
    assert "nan" not in printed
    assert "6 rows of 3 images no_object, 2 rows of 1 image unreadable" in printed
    assert json.loads((tmp_path / "run" / "run.json").read_text())["counts"] == {"no_object": 6, "unreadable": 2}
    summary = pd.read_csv(tmp_path / "run" / "summary.csv")
    assert summary[["n", "n_scored"]].to_numpy().tolist() == [[4, 0], [4, 0]]
    page = (tmp_path / "run" / "report" / "index.html").read_text("utf-8")
    assert "Without R: 3 images" in page
    for record in known(tmp_path / "run").values():
        if record["status"] == "no_object":
            assert "scores above 0.9999" in record["message"]
            assert record["region"]["boxes"] == []
    printed = run("segment", photos, "--out", tmp_path / "masks", *finder)
    assert "3 no_object, 1 unreadable" in printed


def test_a_segment_that_is_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("BRIGHT_LOG", str(tmp_path / "log"))
    monkeypatch.setitem(FINDERS, "grounded-sam", "tests.segment.fake_finder:BrightOptions")
    for number in range(10):
        store(bright_photo(number), tmp_path / "photos" / "cat" / f"{number}.png")
    find = BrightFinder._find

    def stopped(self, sample, image):
        if sample.name == "cat/6.png":
            raise KeyboardInterrupt
        return find(self, sample, image)

    monkeypatch.setattr(BrightFinder, "_find", stopped)
    out = tmp_path / "out"
    with pytest.raises(Stopped):
        run("segment", tmp_path / "photos", "--out", out)
    assert json.loads((out / "segment.json").read_text())["complete"] is False
    assert not (out / "masks.csv").exists()
    assert not (out / "coco.json").exists()
    assert len(list((out / "masks" / "cat").iterdir())) == 6  # what was found is there to look at

    monkeypatch.setattr(BrightFinder, "_find", find)
    run("segment", tmp_path / "photos", "--out", out)
    log = [line.split()[1] for line in (tmp_path / "log").read_text().splitlines()]
    assert log == [f"cat/{number}.png" for number in range(10)]  # none is found again
    assert len(pd.read_csv(out / "masks.csv")) == len(lines(out / "regions.jsonl")) == 10
    assert json.loads((out / "segment.json").read_text())["counts"] == {"ok": 10}
    for number in range(10):
        assert (np.asarray(Image.open(out / "masks" / "cat" / f"{number}.png")) > 0).sum() == 9 * 15


VALUES = {
    "--prompt": "a {label}", "--choice": "best", "--segmenter-precision": "fp32", "--detector-side": "64",
    "--prompts": "p.csv", "--detector": "d", "--sam": "s", "--tokenizer": "t", "--retry-threshold": "0.05",
}  # fmt: skip


@pytest.mark.parametrize("command", [("segment",), ("sfd", "--model", "m=x"), ("heatmap", "--model", "m=x")])
def test_every_flag_reaches_the_finder(tmp_path, monkeypatch, command):
    seen = {}

    def create(options, name, dataset=None):
        seen.update(vars(options))
        raise DasExplainError("seen")

    monkeypatch.setattr(FinderOptions, "create", create)
    store(bright_photo(0), tmp_path / "photos" / "cat" / "0.png")
    values = {field: VALUES.get(_flag(field), "0.1") for field in FINDER_OPTIONS}
    given = [part for field, value in values.items() for part in (_flag(field), value)]
    with pytest.raises(DasExplainError, match="seen"):
        run(
            command[0],
            tmp_path / "photos",
            *command[1:],
            "--out",
            tmp_path / "out",
            "--segmenter",
            "grounded-sam",
            *given,
        )
    told = {FINDER_OPTIONS[field]: value for field, value in values.items()}
    assert {option: str(seen[option]) for option in told} == told


def _flag(field: str) -> str:
    return f"--{field.replace('_', '-')}"
