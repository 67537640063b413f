"""A whole run on eight images: it learns, it goes on as if never stopped, its model directory is what was tested."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

pytest.importorskip("lightning")

from das_explain.checkpoint.load import load_model
from das_explain.errors import DasExplainError
from das_explain.folders import LOCK, lock_folder
from das_explain.train import callbacks, load_recipe, train
from das_explain.train.callbacks import LastCheckpoint
from das_explain.train.card import clock, describe, score
from das_explain.train.classification import Classification
from das_explain.train.data import TrainingData

SMALL = ["model.architecture=mobilenet_v2", "model.arguments={}"]
"""A fifth of the weights, and dropout, which a resumed run has to draw again."""


class _Killed(BaseException):
    """As sudden as a signal: nothing in between may catch it."""


def _log(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _board(out: Path) -> list[tuple[int, float]]:
    """(epoch, loss) that TensorBoard shows."""
    events = EventAccumulator(str(out / "tensorboard")).Reload()
    return [(event.step, pytest.approx(event.value, abs=1e-4)) for event in events.Scalars("loss")]


def _state(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / "last.ckpt", weights_only=True)["state_dict"]


def test_loss_goes_down_and_the_model_directory_is_what_was_tested(tiny, tmp_path, monkeypatch):
    workplace = tmp_path / "cwd"
    workplace.mkdir()
    monkeypatch.chdir(workplace)
    recipe = load_recipe(tiny, ["schedule.epochs=6", "data.held_out=2", "loop.batch_size=3"])
    before = set(tmp_path.rglob("*"))
    model = train(recipe, tmp_path / "out", command="das-explain train tiny.yaml")
    assert {path.relative_to(tmp_path).parts[0] for path in set(tmp_path.rglob("*")) - before} == {"out"}

    rows = _log(tmp_path / "out")
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert float(rows[-1]["loss"]) < 0.7 * float(rows[0]["loss"])
    assert float(rows[0]["loss"]) == pytest.approx(math.log(2), rel=0.8), "untrained, two classes"

    loaded = load_model(str(model))
    assert loaded.labels == ["blue", "red"]
    assert loaded.preprocess.geometry.size == (32, 32)
    assert {t.dtype for t in load_file(model / "model.safetensors").values()} == {torch.float16, torch.int64}
    # The accuracy on the card is that of the weights in the directory, counted here without the training code.
    right = total = 0
    for sample in TrainingData(recipe).tests["test"].samples:
        with Image.open(sample.path) as photo, torch.no_grad():
            guess = int(loaded.network(loaded.preprocess(photo)[None]).argmax())
        right, total = right + (loaded.labels[guess] == sample.label), total + 1
    training = json.loads((model / "config.json").read_text())["training"]
    assert (training["accuracy"]["test"]["right"], training["accuracy"]["test"]["count"]) == (right, total)
    assert training["accuracy"]["held_out"]["count"] == 2
    card = (model / "README.md").read_text()
    for words in (
        "das-explain train tiny.yaml",
        "seed 0",
        "6 epochs",
        f"| {right} | {total} |",
        f"torch {version('torch')}",
    ):
        assert words in card


@pytest.mark.parametrize(
    "settings",
    [
        [*SMALL, "loop.workers=0"],
        [*SMALL, "loop.workers=1", "loop.precision=bf16", "optimizer.lr=0.01"],
        [
            *SMALL,
            "loop.ema=0.5",
            "loop.accumulate=2",
            "schedule.name=restarts",
            "schedule.period=0.6",
            "data.per_epoch=9",
        ],
        [
            *SMALL,
            "schedule.name=plateau",
            "schedule.warmup_epochs=0",
            "schedule.patience=0",
            "data.held_out=2",
            "loop.validate=true",
            "optimizer.lr=0.01",
            "optimizer.momentum=0",
            "loop.ema=0.5",
        ],
    ],
    ids=["plain", "bf16", "restarts", "plateau"],
)
def test_a_killed_run_goes_on_bit_for_bit(tiny, tmp_path, monkeypatch, settings):
    recipe = load_recipe(tiny, ["schedule.epochs=3", "data.per_epoch=6", "loop.batch_size=3", *settings])
    train(recipe, tmp_path / "whole")

    save = LastCheckpoint.on_train_epoch_end

    def save_then_die(self, trainer, module):
        if trainer.current_epoch == 1:  # in the second epoch, after its steps and before its checkpoint
            raise _Killed
        save(self, trainer, module)

    with monkeypatch.context() as patch:
        patch.setattr(LastCheckpoint, "on_train_epoch_end", save_then_die)
        with pytest.raises(_Killed):
            train(recipe, tmp_path / "parts")
    assert not (tmp_path / "parts" / "model").exists()
    torch.rand(17)  # whatever else the process draws must not matter
    epochs = []
    with monkeypatch.context() as patch:
        patch.setattr(
            LastCheckpoint,
            "on_train_epoch_end",
            lambda self, trainer, module: (epochs.append(trainer.current_epoch), save(self, trainer, module)),
        )
        train(recipe, tmp_path / "parts")
    assert epochs == [1, 2], "it goes on after the first epoch and does not start again"

    whole, parts = _state(tmp_path / "whole"), _state(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert [key for key in whole if not torch.equal(whole[key], parts[key])] == []
    numbers = [column for column in _log(tmp_path / "whole")[0] if "second" not in column]
    assert ("held_out_loss" in numbers) == recipe.loop.validate
    assert [[r[n] for n in numbers] for r in _log(tmp_path / "whole")] == [
        [r[n] for n in numbers] for r in _log(tmp_path / "parts")
    ]
    assert _board(tmp_path / "parts") == [(int(r["epoch"]), float(r["loss"])) for r in _log(tmp_path / "parts")]
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_a_run_that_goes_on_under_other_versions_says_so_and_lists_them(tiny, tmp_path):
    recipe, said = load_recipe(tiny, SMALL), io.StringIO()
    train(recipe, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "model")  # killed before the end
    state = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [each["torch"] for each in state["made_by"]] == [version("torch")]
    state["made_by"][0]["torch"] = "1.0"
    (tmp_path / "run" / "run.json").write_text(json.dumps(state))
    train(recipe, tmp_path / "run", console=Console(file=said, width=300))
    assert "the run goes on under other versions: " in said.getvalue()
    assert "torch 1.0" in said.getvalue() and f"torch {version('torch')}" in said.getvalue()
    state = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [each["torch"] for each in state["made_by"]] == ["1.0", version("torch")]


def test_a_run_killed_before_its_test_still_ships_the_average(tiny, tmp_path, monkeypatch):
    recipe = load_recipe(tiny, [*SMALL, "loop.ema=0.5", "loop.half=false"])
    train(recipe, tmp_path / "whole")

    def die(*_) -> None:
        raise _Killed

    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr(Classification, "finish", die)
        train(recipe, tmp_path / "parts")
    model = train(recipe, tmp_path / "parts")
    whole, parts = load_file(tmp_path / "whole/model/model.safetensors"), load_file(model / "model.safetensors")
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    current = torch.load(tmp_path / "whole/last.ckpt", weights_only=True)["current_model_state"]
    assert not torch.equal(whole["classifier.1.weight"], current["network.classifier.1.weight"]), "not the last step's"


def test_the_number_of_workers_changes_nothing(tiny, tmp_path):
    train(load_recipe(tiny, SMALL), tmp_path / "a")
    train(load_recipe(tiny, [*SMALL, "loop.workers=2"]), tmp_path / "b")
    a, b = _state(tmp_path / "a"), _state(tmp_path / "b")
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_finished_run_is_left_alone_and_another_recipe_is_refused(tiny, tmp_path):
    out = tmp_path / "out"
    model = train(load_recipe(tiny, SMALL), out)
    stamp = os.stat(model / "model.safetensors").st_mtime_ns
    assert train(load_recipe(tiny, [*SMALL, "loop.workers=1"]), out) == model, "workers change no result"
    assert os.stat(model / "model.safetensors").st_mtime_ns == stamp
    other = load_recipe(tiny, [*SMALL, "optimizer.lr=0.5"])
    with pytest.raises(DasExplainError, match=r"optimizer\.lr is 0\.02 there, 0\.5 now"):
        train(other, out)
    train(load_recipe(tiny, [*SMALL, "schedule.epochs=1"]), out, resume=False)
    assert len(_log(out)) == 1


def test_a_broken_photo_in_a_worker_is_one_line(tiny, photos, tmp_path):
    shutil.copytree(photos, tmp_path / "broken")
    (tmp_path / "broken" / "red" / "2.png").write_bytes(b"not a picture")
    recipe = load_recipe(tiny, [f"data.train={tmp_path / 'broken'}", "loop.workers=1"])
    with pytest.raises(DasExplainError, match=r"2\.png") as caught:
        train(recipe, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_diverging_run_says_so(tiny, tmp_path):
    with pytest.raises(DasExplainError, match=r"loss became (nan|inf).*lower optimizer\.lr"):
        train(
            load_recipe(tiny, ["optimizer.lr=1e25", "schedule.epochs=4", "schedule.warmup_epochs=0"]), tmp_path / "out"
        )


def test_wilson_interval_and_words():
    outcome = score(["a"] * 8 + ["b"] * 2, ["a"] * 8 + ["b", "a"])
    assert (outcome.right, outcome.count, outcome.classes) == (9, 10, {"a": [8, 8], "b": [1, 2]})
    z = 1.959963984540054  # Wilson 1927, by hand
    centre = (0.9 + z * z / 20) / (1 + z * z / 10)
    half = z / (1 + z * z / 10) * math.sqrt(0.9 * 0.1 / 10 + z * z / 400)
    assert (outcome.low, outcome.high) == (pytest.approx(centre - half), pytest.approx(centre + half))
    assert describe(outcome) == "90.0 % (95 % interval 59.6 to 98.2 %, 9 of 10)"
    assert (clock(247), clock(3753)) == ("4:07", "1:02:33")


def test_others_networks_with_gates_are_trained_by_recipe(tiny, tmp_path):
    pytest.importorskip("timm")
    changes = [
        "model.architecture=timm:resnet10t",
        "model.arguments={gates: [layer3, layer4], alpha: 0.1}",
        "model.warm_start=timm:resnet10t?pretrained=false&num_classes=7",
        "schedule.epochs=1",
        "loop.half=false",
    ]
    model = load_model(train(load_recipe(tiny, changes), tmp_path / "out"), device="cpu")
    assert (model.config["architecture"], model.config["attention"]) == ("timm:resnet10t", "das")
    assert model.config["arguments"] == {"gates": ["layer3", "layer4"], "alpha": 0.1, "modulation_scale": 1}
    start = load_model("timm:resnet10t?pretrained=false&num_classes=7", device="cpu").network.state_dict()
    trained = model.network.state_dict()
    moved = {key for key in start if key in trained and not torch.equal(trained[key], start[key])}
    assert "layer1.0.conv1.weight" in moved, "the backbone learns, too"
    pair = (state["layer4.0.conv2.weight"].flatten() for state in (trained, start))
    assert torch.cosine_similarity(*pair, dim=0) > 0.9, "it began with the weights it was given; others are near 0"


def test_what_a_run_goes_on_from_is_saved_seldom_where_epochs_are_short(tiny, tmp_path, monkeypatch):
    saved, save = [], callbacks.replace_file
    monkeypatch.setattr(callbacks, "replace_file", lambda path, write: (saved.append(path.name), save(path, write)))
    recipe = load_recipe(tiny, ["schedule.epochs=4", "schedule.warmup_epochs=0"])
    monkeypatch.setattr(callbacks, "SHARE", 1e9)  # saving costs nothing
    train(recipe, tmp_path / "often")
    monkeypatch.setattr(callbacks, "SHARE", 1e-9)  # saving costs more than there is
    train(recipe, tmp_path / "seldom")
    assert saved == ["last.ckpt"] * (4 + 2), "after the first and the last"
    often, seldom = _state(tmp_path / "often"), _state(tmp_path / "seldom")
    assert all(torch.equal(often[key], seldom[key]) for key in often)


def test_one_process_at_a_time_trains_into_a_folder(tiny, tmp_path):
    out = tmp_path / "out"
    recipe = load_recipe(tiny, ["schedule.epochs=1", *SMALL])
    with lock_folder(out), pytest.raises(DasExplainError, match="another process is writing to"):
        train(recipe, out)
    assert {path.name for path in out.iterdir()} == {LOCK}, "nothing was begun"
    leaving = f"""
import time
from pathlib import Path
from das_explain.folders import lock_folder
with lock_folder(Path({str(out)!r})):
    print("locked", flush=True)
    time.sleep(1)
"""
    with subprocess.Popen([sys.executable, "-c", leaving], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        assert (train(recipe, out, patience=60) / "config.json").is_file()
