"""Ctrl-C and SIGTERM to every command that works for long: 130 and 143, one line that says how to go on, no orphans."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from das_explain.commands import GOES_ON
from das_explain.scoring.options import ScoreOptions
from tests.explain.test_pipeline import LABELS
from tests.models import model_directory
from tests.report.synthetic_run import Item, make_run
from tests.stopped import stop

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
COUNT = 400  # photos: a second or more of work
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture(scope="module")
def setting(tmp_path_factory) -> dict[str, Any]:
    """Photos of three classes with masks, models with and without gates, a scored run, a recipe and a study."""
    folder = tmp_path_factory.mktemp("stopped")
    pixels = np.random.default_rng(0).integers(0, 120, (40, 52, 3), dtype=np.uint8)
    pixels[10:24, 12:30] = 250
    mask = (pixels == 250).all(-1)
    Image.fromarray(mask).save(folder / "mask.png")
    lines = ["image,label,mask"]
    for number in range(COUNT):
        label = LABELS[number % 3]
        (folder / "photos" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(pixels, number, 1)).save(folder / "photos" / label / f"{number}.png")
        lines.append(f"photos/{label}/{number}.png,{label},mask.png")
    (folder / "photos.csv").write_text("\n".join(lines) + "\n")
    recipe = {
        "model": {"architecture": "resnet18"},
        "data": {"train": str(folder / "photos"), "test": str(folder / "photos")},
        "input": {"size": 32, "resize": 32},
        "schedule": {"epochs": 300},
        "loop": {"batch_size": 32, "precision": "32", "workers": 1, "device": "cpu"},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    study = {
        "recipe": "tiny.yaml", "copies": 1, "scored_on": {"all": {"data": str(folder / "photos.csv")}},
        "designs": {"none": {"model.attention": "none"}, "das": {"model.attention": "das"}},
    }  # fmt: skip
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    options = ScoreOptions(measures=("sfd",), nulls=("shuffled",), readings=False)
    items = [Item(f"{number}.png", "cat" if number % 2 else "dog") for number in range(COUNT)]
    return {
        "FOLDER": folder,
        "CSV": folder / "photos.csv",
        "PLAIN": model_directory(folder / "plain", LABELS),
        "DAS": model_directory(folder / "das", LABELS, attention="das", seed=1),
        "RECIPE": folder / "tiny.yaml",
        "STUDY": folder / "study.yaml",
        "RUN": make_run(folder / "run", items, blocks=("layer4",), options=options),
    }


def there(pattern: str) -> Callable[[Path], bool]:
    """Whether a file or folder is there, in the folder that the command writes to."""
    return lambda folder: folder.is_dir() and any(folder.glob(pattern))


AT_WORK = ("--workers", "1")
COMMANDS: dict[str, tuple[tuple[str, ...], Callable[[Path], bool]]] = {
    "sfd": (("sfd", "CSV", "-m", "PLAIN", "--out", "OUT", *AT_WORK), there("sample.csv")),
    "segment": (("segment", "CSV", "--out", "OUT", *AT_WORK), there("masks/**/*.png")),
    "gate": (("gate", "CSV", "-m", "DAS", "--out", "OUT", *AT_WORK), there("*-gate.pdf")),
    "heatmap": (("heatmap", "CSV", "-m", "PLAIN", "--out", "OUT", *AT_WORK), there("*-heatmap.pdf")),
    "evaluate": (("evaluate", "CSV", "-m", "PLAIN", "--out", "OUT", *AT_WORK), there("unfinished.jsonl")),
    "train": (("train", "RECIPE", "--out", "OUT"), there("tensorboard")),
    "score": (("score", "RUN", "--threshold", "0.6", "--no-report"), there(".das-explain-*-tables")),
    "report": (("report", "RUN"), there(".das-explain-*-figures")),
    "study": (("study", "STUDY", "--out", "OUT"), there("units/*/tensorboard")),
    "study of two at once": (("study", "STUDY", "--out", "OUT", "--jobs", "2"), there("units/*/tensorboard")),
}  # fmt: skip
QUICK = {("sfd", signal.SIGINT), ("evaluate", signal.SIGTERM), ("score", signal.SIGINT), ("train", signal.SIGTERM)}
CASES = [
    pytest.param(command, number, marks=[] if (command, number) in QUICK else [pytest.mark.stress])
    for command in COMMANDS
    for number in SIGNALS
]


@pytest.mark.parametrize(("command", "number"), CASES)
def test_a_command_that_is_stopped_says_how_to_go_on_and_leaves_no_process(
    setting: dict[str, Any], tmp_path: Path, monkeypatch, command: str, number: signal.Signals
):
    words, working = COMMANDS[command]
    monkeypatch.setenv("DAS_EXPLAIN_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    folder = setting["RUN"] if "RUN" in words else out
    ended = stop(
        [{**setting, "OUT": out}.get(word, word) for word in words], lambda: working(folder), number, tmp_path / "log"
    )
    assert ended.status == SIGNALS[number], ended.said
    assert ended.line.startswith("das-explain: stopped; "), ended.said
    said = "the same command goes on after epoch" if command in ("train", "study") else GOES_ON[words[0]]
    assert said in ended.line
    assert "Traceback" not in ended.said
    assert not ended.orphans
