"""Accuracies, intervals and comparisons by hand, and ``das-explain evaluate`` on photos as a user runs it."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest
from torch import nn
from typer.testing import CliRunner

from das_explain.accuracy.classifiers import PREDICTIONS, accuracy_table, class_table, comparison_table, predict
from das_explain.batches.load import Batch
from das_explain.checkpoint.load import load_model
from das_explain.checkpoint.model import LoadedModel
from das_explain.commands import app
from das_explain.data.geometry import Geometry, Preprocess
from das_explain.errors import DasExplainError, UsageError
from das_explain.explain.contestants import Contestant
from das_explain.stats.intervals import wilson
from das_explain.types import Sample
from tests.models import model_directory


def _predictions(**ranks: list[int | None]) -> pd.DataFrame:
    """One model per keyword; image i has the label ``a`` if i is even; ``None`` is an image that could not be scored."""
    rows = [
        {
            "image": f"{i}.png",
            "model": model,
            "label": "ab"[i % 2],
            "predicted": "ab"[i % 2] if rank == 1 else "c",
            "confidence": 0.5,
            "rank": rank,
            "status": "ok" if rank else "unreadable",
            "message": "",
        }
        for model, values in ranks.items()
        for i, rank in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=PREDICTIONS).astype({"rank": "Int64"})


def test_accuracies_and_wilson_by_hand() -> None:
    table = accuracy_table(_predictions(m=[1, 2, 1, 6, 1, 1, 5, None, 1, 1]), {"m": 10}).iloc[0]
    assert (table["n"], table["top1"], table["top5"]) == (9, pytest.approx(6 / 9), pytest.approx(8 / 9))
    z, p, n = 1.959963984540054, 6 / 9, 9
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert (table["top1_low"], table["top1_high"]) == (pytest.approx(centre - half), pytest.approx(centre + half))
    expected = binomtest(8, 9).proportion_ci(0.95, "wilson")
    assert (table["top5_low"], table["top5_high"]) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_top5_of_five_classes_is_no_number() -> None:
    row = accuracy_table(_predictions(m=[1, 2]), {"m": 5}).iloc[0]
    assert row["top1"] == 0.5
    assert row[["top5", "top5_low", "top5_high"]].isna().all()
    assert not accuracy_table(_predictions(m=[1, 2]), {"m": 6})["top5"].isna().any()


def test_classes_and_what_they_are_taken_for() -> None:
    predictions = _predictions(m=[1, 2, 3, 1, 2, 1, 2])  # a: images 0, 2, 4, 6; b: 1, 3, 5
    predictions.loc[[2, 4, 6], "predicted"] = ["d", "c", "c"]
    table = class_table(predictions, {"m": 10}).set_index("label")
    assert list(table.index) == ["a", "b"]
    assert table.loc["a", ["n", "top1", "confused_with", "confused_n"]].tolist() == [4, 0.25, "c", 2]
    assert table.loc["b", ["n", "confused_with", "confused_n"]].tolist() == [3, "c", 1]
    assert table.loc["b", "top1"] == pytest.approx(2 / 3)
    assert (table.loc["a", "top1_low"], table.loc["a", "top1_high"]) == wilson(1, 4)
    right = class_table(_predictions(m=[1, 1]), {"m": 10})
    assert right["confused_with"].isna().all() and (right["confused_n"] == 0).all()


def test_comparison_by_hand() -> None:
    # both right 3, only a 1, only b 4, neither 2; one more that b could not be shown
    a = [1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 1]
    b = [1, 1, 1, 2, 1, 1, 1, 1, 2, 2, None]
    row = comparison_table(_predictions(a=a, b=b), ["a", "b"]).iloc[0]
    assert row[["model_a", "model_b", "n", "only_a", "only_b"]].tolist() == ["a", "b", 10, 1, 4]
    assert row["difference"] == pytest.approx(0.3)
    assert (row["top1_a"], row["top1_b"]) == (0.4, 0.7)
    assert row["p_value"] == pytest.approx(2 * (1 + 5) / 32), "two-sided binomial of 1 in 5"
    p_a, p_b = 2 / 12, 5 / 12  # Bonett and Price 2012
    reach = 1.959963984540054 * math.sqrt((p_a + p_b - (p_b - p_a) ** 2) / 12)
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(p_b - p_a - reach), pytest.approx(p_b - p_a + reach))
    same = comparison_table(_predictions(a=a, b=a), ["a", "b"]).iloc[0]
    assert (same["difference"], same["p_value"]) == (0, 1)
    assert same["ci_low"] < 0 < same["ci_high"]
    three = comparison_table(_predictions(a=a, b=b, c=[1] * 11), ["a", "b", "c"])
    assert three[["model_a", "model_b"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    smallest = three["p_value"].min()
    assert three["p_adjusted"].min() == pytest.approx(min(1, 3 * smallest)), "Holm"


class _Brightness(nn.Module):
    """Logits that are the first pixels of the image's first row."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * x[:, 0, 0, :7]


def test_ranks_ties_and_statuses() -> None:
    preprocess = Preprocess(Geometry((8, 8), 8), (0.0,) * 3, (1 / 255,) * 3)  # pixels as they are
    labels = list("abcdefg")
    model = LoadedModel("m", "m", _Brightness(), {}, labels, preprocess, "", {"num_classes": 7})
    contestant = Contestant(model, model.network, {}, {label: i for i, label in enumerate(labels)})
    frames = torch.zeros(5, 3, 8, 8, dtype=torch.uint8)
    frames[0, 0, 0, :7] = torch.tensor([0, 2, 4, 6, 4, 1, 0])
    frames[1:, 0, 0, 0] = 3
    names = [("0", "e"), ("1", "a"), ("2", None), ("3", "z"), ("4", "b")]
    samples = [Sample(name, i, label) for i, (name, label) in enumerate(names)]
    statuses = ["ok", "ok", "ok", "ok", "unreadable"]
    batch = Batch(samples, {contestant.geometry: frames}, statuses=statuses, messages=["", "", "", "", "4: broken"])
    rows = list(predict([contestant], [batch], 5))
    assert [(row["status"], row["rank"]) for row in rows] == [
        ("ok", 3),  # of c and e, equal, c is the first
        ("ok", 1),
        ("unlabelled", None),
        ("unknown_label", None),
        ("unreadable", None),
    ]
    assert rows[0]["predicted"] == "d"
    logits = np.array([0, 2, 4, 6, 4, 1, 0])
    assert rows[0]["confidence"] == pytest.approx(np.exp(6) / np.exp(logits).sum(), rel=1e-5)
    assert rows[4]["message"] == "4: broken"
    with torch.no_grad():
        model.network.scale.fill_(float("nan"))
    assert {row["status"] for row in predict([contestant], [batch], 5)} == {"nonfinite", "unreadable"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(1)
    for label in ("apple", "bear", "cup"):
        (folder / label).mkdir()
        for i in range(5):
            Image.fromarray(rng.integers(0, 255, (40, 36, 3), np.uint8)).save(folder / label / f"{i}.png")
    (folder / "cup" / "4.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, labels = tmp_path_factory.mktemp("models"), ["apple", "bear", "cup", "dog", "egg", "fig"]
    return [model_directory(folder / f"m{seed}", labels, attention="das", seed=seed) for seed in (0, 1)]


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_files_passed_over_are_told(photos, models, tmp_path) -> None:
    mixed = tmp_path / "mixed"
    (mixed / "cup").mkdir(parents=True)
    (mixed / "cup" / "0.png").write_bytes((photos / "cup" / "0.png").read_bytes())
    for name in ("a.xyz", "b.jp2", "c.jp2"):
        (mixed / "cup" / name).write_bytes(b"")
    command = ["evaluate", f"one={models[0]}", str(mixed), "--out", str(tmp_path / "out"), "--device", "cpu"]
    result = CliRunner().invoke(app, [*command, "--workers", "0"], env={"COLUMNS": "300"})
    assert result.exit_code == 0, result.output
    assert f"note        3 files passed over in {mixed}: 2 .jp2, 1 .xyz" in result.output


def test_the_command_agrees_with_the_network_run_by_hand(photos, models, tmp_path) -> None:
    out = tmp_path / "out"
    command = ["evaluate", f"one={models[0]}", str(photos), "--model", f"two={models[1]}", "--out", str(out)]
    result = CliRunner().invoke(app, [*command, "--workers", "0", "--device", "cpu"], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    assert "2 unreadable" in result.output, "a row for each model"
    rows = _csv(out / "predictions.csv")
    assert len(rows) == 30
    for name, path in zip(("one", "two"), models):
        model = load_model(str(path), device="cpu")
        mine = [row for row in rows if row["model"] == name]
        right = 0
        for row in mine:
            if row["image"] == "cup/4.png":
                assert (row["status"], row["rank"]) == ("unreadable", "")
                continue
            with Image.open(photos / row["image"]) as image, torch.no_grad():
                logits = model.network(model.preprocess(image)[None])[0]
            order = logits.argsort(descending=True).tolist()
            assert row["predicted"] == model.labels[order[0]]
            assert int(row["rank"]) == order.index(model.labels.index(row["label"])) + 1
            assert float(row["confidence"]) == pytest.approx(float(logits.softmax(0).max()), abs=1e-4)
            right += row["rank"] == "1"
        table = next(row for row in _csv(out / "accuracy.csv") if row["model"] == name)
        assert (int(table["n"]), float(table["top1"])) == (14, pytest.approx(right / 14, rel=1e-5))
        assert f"{100 * right / 14:.1f}" in result.output
        assert float(table["top5"]) == sum(int(row["rank"] or 9) <= 5 for row in mine) / 14 or len(mine) == 0
    classes = _csv(out / "classes.csv")
    assert [(row["model"], row["label"], row["n"]) for row in classes][:3] == [
        ("one", "apple", "5"),
        ("one", "bear", "5"),
        ("one", "cup", "4"),
    ]
    assert len(_csv(out / "comparison.csv")) == 1
    told = json.loads((out / "evaluation.json").read_text())
    assert [each["name"] for each in told["models"]] == ["one", "two"]
    assert told["counts"] == {"ok": 28, "unreadable": 2}


def test_model_and_data_alone_and_a_sample(photos, models, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [
        "evaluate",
        str(models[0]),
        str(photos),
        "--sample",
        "6",
        "--stratified",
        "--seed",
        "2",
        "--workers",
        "0",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    out = tmp_path / "runs" / "evaluate" / "m0"
    rows = _csv(out / "predictions.csv")
    assert sorted(row["label"] for row in rows) == ["apple"] * 2 + ["bear"] * 2 + ["cup"] * 2
    assert not (out / "comparison.csv").exists()
    before = (out / "predictions.csv").read_bytes()
    assert CliRunner().invoke(app, arguments).exit_code == 0, "the same again is no conflict"
    assert (out / "predictions.csv").read_bytes() == before
    other = CliRunner().invoke(app, [*arguments[:-2], "--workers", "0", "--seed", "3"])
    assert isinstance(other.exception, DasExplainError)
    assert "holds another evaluation" in str(other.exception)
    assert (out / "predictions.csv").read_bytes() == before
    assert CliRunner().invoke(app, [*arguments, "--seed", "3", "--overwrite"]).exit_code == 0
    assert (out / "predictions.csv").read_bytes() != before


def test_refusals(photos, models, tmp_path) -> None:
    def said(*arguments: str) -> str:
        return str(CliRunner().invoke(app, ["evaluate", *arguments, "--workers", "0"]).exception)

    assert "evaluate what on" in said(str(photos))
    assert "has no labels" in said(str(models[0]), str(photos / "apple"), "--out", str(tmp_path / "a"))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "predictions.csv").write_text("mine")
    assert "is of something else" in said(str(models[0]), str(photos), "--out", str(tmp_path / "b"))
    assert (tmp_path / "b" / "predictions.csv").read_text() == "mine"
    few = model_directory(tmp_path / "few", ["apple", "bear", "cup"])
    result = CliRunner().invoke(
        app, ["evaluate", str(few), str(photos), "--out", str(tmp_path / "c"), "--workers", "0"]
    )
    assert "no top-5, as it has only 3 classes" in result.output
    assert isinstance(CliRunner().invoke(app, ["evaluate", str(photos)]).exception, UsageError)
