"""Photos and classes of one's own: how they are split, how often each class comes, and what the model card says."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

pytest.importorskip("lightning")

from das_explain.checkpoint.load import load_model, save_model
from das_explain.data.dataset import open_dataset
from das_explain.errors import UsageError
from das_explain.nn import create_model
from das_explain.train import load_recipe, train
from das_explain.train.data import BalancedSampler, TrainingData
from das_explain.train.split import hold_out

COUNTS = {"ant": 1, "bee": 2, "cat": 7, "dog": 20}
SMALL = [
    "input.size=32",
    "input.resize=32",
    "input.train_size=32",
    "schedule.epochs=2",
    "schedule.warmup_epochs=0",
    "data.per_epoch=16",
    "loop.batch_size=8",
    "loop.workers=0",
    "loop.device=cpu",
    "loop.precision=32",
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 30 photos of 40 x 36 pixels: 1 ant, 2 bees, 7 cats, 20 dogs."""
    folder, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    lines = ["image,label"]
    for place, (label, count) in enumerate(COUNTS.items()):
        for number in range(count):
            pixels = np.clip(60 * place + rng.normal(30, 20, (36, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{label}{number}.png")
            lines.append(f"{label}{number}.png,{label}")
    (folder / "my.csv").write_text("\n".join(lines) + "\n")
    return folder / "my.csv"


def _counted(samples) -> dict[str, int]:
    return dict(Counter(sample.label for sample in samples))


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.15, {"bee": 1, "cat": 1, "dog": 3}),
        (0.5, {"bee": 1, "cat": 4, "dog": 10}),
        (0.99, {"bee": 1, "cat": 6, "dog": 19}),
    ],
)
def test_a_share_is_taken_from_every_class_and_leaves_some_of_it(table, share, expected):
    source = open_dataset(table)
    held_out = hold_out(source, share, seed=3)
    assert _counted(held_out) == expected
    assert [sample.index for sample in held_out] == sorted(sample.index for sample in held_out)
    assert hold_out(source, share, seed=3) == held_out
    assert set(hold_out(source, 0.15, seed=3)) <= set(held_out), "a larger share holds the smaller one"


def test_another_seed_holds_other_images_out(table):
    source = open_dataset(table)
    assert hold_out(source, 0.15, seed=3) != hold_out(source, 0.15, seed=4)


def test_a_count_that_takes_a_whole_class_is_refused(table):
    source = open_dataset(table)
    with pytest.raises(UsageError, match=r"data\.held_out=8 takes every image of 'ant'; data\.held_out=0\.15"):
        hold_out(source, 8, seed=0)
    with pytest.raises(UsageError, match=r"data\.held_out=30 leaves nothing of 30 images"):
        hold_out(source, 30, seed=0)


def test_classes_of_one_image_each_leave_nothing_to_hold_out(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "only.png")
    with pytest.raises(UsageError, match="no class has two images"):
        hold_out(open_dataset(tmp_path), 0.15, seed=0)


def test_balanced_classes_come_equally_often_and_images_in_turn():
    targets = np.repeat([0, 1, 2], [2, 3, 7])
    sampler = BalancedSampler(targets.tolist(), per_epoch=10, seed=5)
    stream = np.concatenate([sampler.order(epoch) for epoch in range(21)])
    assert len(stream) == 210
    turns = targets[stream].reshape(70, 3)
    assert (np.sort(turns, 1) == [0, 1, 2]).all(), "every class once before any comes again, across epochs"
    assert len({tuple(turn) for turn in turns.tolist()}) == 6, "in all orders"
    for number, size in enumerate((2, 3, 7)):
        members = stream[targets[stream] == number]
        for start in range(0, len(members) // size * size, size):
            assert sorted(members[start : start + size]) == np.flatnonzero(targets == number).tolist()
    other = BalancedSampler(targets.tolist(), per_epoch=10, seed=6)
    assert not np.array_equal(other.order(0), sampler.order(0))
    sampler.set_epoch(4)
    assert list(sampler) == [(4, int(index)) for index in sampler.order(4)]


def test_the_shipped_recipe_asks_for_a_share_and_balanced_classes(table):
    recipe = load_recipe("finetune", [f"data.train={table}"])
    data = TrainingData(recipe)
    assert recipe.data.test is None
    assert list(data.tests) == ["held_out"]
    assert _counted(data.tests["held_out"].samples) == {"bee": 1, "cat": 1, "dog": 3}
    assert _counted(data.train.samples) == {"ant": 1, "bee": 1, "cat": 6, "dog": 17}
    assert isinstance(data.train_loader().sampler, BalancedSampler)
    assert data.per_epoch == 2000
    assert data.warnings == []


def test_finetuning_writes_a_card_of_the_data_it_saw(table, tmp_path):
    start = tmp_path / "start"
    save_model(start, create_model("resnet18", num_classes=9), architecture="resnet18")
    out = io.StringIO()
    recipe = load_recipe("finetune", [f"data.train={table}", f"model.warm_start={start}", *SMALL])
    folder = train(recipe, tmp_path / "out", console=Console(file=out, width=200))
    printed = out.getvalue()
    assert "for 4 classes where the weights have 9" in printed
    assert "warning" not in printed
    epochs = [line for line in printed.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == 2
    for line in epochs:
        learnt, held_out = line.split("held out: ")
        assert "% on random training views" in learnt
        assert "top-1" in held_out and "views" not in held_out
    header = (tmp_path / "out" / "log.csv").read_text().splitlines()[0].split(",")
    assert "random_views_top1" in header and "held_out_top1" in header and "top1" not in header
    card = (folder / "README.md").read_text()
    assert card.startswith(f"# resnet18, trained on {table}\n")
    assert f"| images of `{table}` that were not trained on |" in card
    assert "| dog | 17 | " in card and "| ant | 1 | none |" in card
    assert "every class equally often, of 25 images in all; 5 more held out" in card
    assert f"Start: {start}" in card
    assert "embedded" not in card and "collage" not in card and "shipped" not in card
    model = load_model(str(folder))
    assert model.labels == list(COUNTS)
    training = json.loads((folder / "config.json").read_text())["training"]
    assert list(training["data"]) == ["train"]
    assert training["accuracy"]["held_out"]["count"] == 5


def test_a_changed_recipe_is_not_what_its_description_says(table, tmp_path):
    """Whoever trains by a shipped recipe on photos of their own does not get the shipped baseline."""
    settings = [f"data.train={table}", "data.test=null", "data.held_out=0.15", *SMALL]
    out = io.StringIO()
    recipe = load_recipe("collage-resnet18", settings)
    folder = train(recipe, tmp_path / "out", console=Console(file=out, width=200))
    card = (folder / "README.md").read_text()
    assert recipe.description == ""
    for word in ("embedded", "baseline", "shipped", "background"):
        assert word not in card
    assert f"# resnet18, trained on {table}" in card


def test_a_description_stays_with_the_recipe_it_describes(tmp_path):
    described = load_recipe("collage-resnet18").description
    assert "embedded photo set" in described
    assert load_recipe("collage-resnet18", ["loop.workers=3"]).description == described
    assert load_recipe("collage-resnet18", ["seed=1"]).description == ""
    assert load_recipe("collage-resnet18", ["description=mine", "data.train=mine.csv"]).description == "mine"
    (tmp_path / "own.yaml").write_text("base: collage-resnet18\ndata: {train: mine.csv}\n")
    assert load_recipe(tmp_path / "own.yaml").description == ""


@pytest.mark.parametrize(("held_out", "warned"), [(6, False), (7, True), (0.2, False), (0.25, True)])
def test_more_than_a_fifth_held_out_is_said_once(tmp_path, held_out, warned):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(15):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{number}.png")
    data = TrainingData(load_recipe("finetune", [f"data.train={tmp_path}", f"data.held_out={held_out}"]))
    assert len(data.warnings) == warned
    if warned:
        images = len(data.tests["held_out"])
        assert data.warnings[0].startswith(f"{images} of 30 images ({images / 30:.0%}) are held out")
        assert "\n" not in data.warnings[0]


def test_the_warning_is_printed_and_stands_in_the_card(tiny, tmp_path):
    out = io.StringIO()
    folder = train(
        load_recipe(tiny, ["data.held_out=0.5", "schedule.epochs=1", "schedule.warmup_epochs=0"]),
        tmp_path / "out",
        console=Console(file=out, width=60),
    )
    line = "4 of 8 images (50%) are held out and never trained on, more than a fifth; "
    assert [line in text for text in out.getvalue().splitlines() if text.startswith("warning: ")] == [True]
    assert f"**Warning:** {line}" in (folder / "README.md").read_text()
    assert line in json.loads((folder / "config.json").read_text())["training"]["warnings"][0]


@pytest.mark.parametrize("setting", ["data.held_out=1.5", "data.held_out=-0.1", "data.held_out=-1"])
def test_a_share_that_is_none_is_refused(setting):
    with pytest.raises(UsageError, match=r"data\.held_out cannot be"):
        load_recipe("finetune", [setting])


def test_foreign_classes_of_the_test_data_say_what_to_do(table, photos):
    recipe = load_recipe("finetune", [f"data.train={table}", f"data.test={photos}"])
    with pytest.raises(
        UsageError, match=r"has class 'blue'; the training data has ant, bee, cat, dog; .*data\.test=null"
    ):
        TrainingData(recipe)


def test_photos_without_a_class_are_named(tmp_path):
    for name in "abc":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "my.csv").write_text("image,label\na.png,\nb.png,x\nc.png,x\n")
    with pytest.raises(UsageError, match=r"my\.csv: a\.png has no class; give it one or leave it out"):
        TrainingData(load_recipe("finetune", [f"data.train={tmp_path / 'my.csv'}"]))


def test_without_photos_the_message_says_how_to_name_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"^data\.train: no such .*photos.*--set data\.train="):
        TrainingData(load_recipe("finetune"))


def test_files_passed_over_are_told_and_stand_on_the_card(table, tmp_path):
    """What a folder holds beside the photos that were trained and tested on, once each."""
    for split in ("mine", "others"):
        for name in ("cat0", "cat1", "dog0", "dog1"):
            (tmp_path / split / name[:3]).mkdir(parents=True, exist_ok=True)
            (tmp_path / split / name[:3] / f"{name}.png").write_bytes((table.parent / f"{name}.png").read_bytes())
        for name in ("a.xyz", "b.jp2", "c.jp2"):
            (tmp_path / split / "cat" / name).write_bytes(b"")
    mine, others = tmp_path / "mine", tmp_path / "others"
    settings = [
        *SMALL,
        "data.per_epoch=4",
        "loop.batch_size=4",
        "schedule.epochs=1",
        "data.held_out=0",
        "loop.validate=false",
    ]
    told = io.StringIO()
    out = train(
        load_recipe("finetune", [*settings, f"data.train={mine}", f"data.test={others}"]),
        tmp_path / "run",
        console=Console(file=told, width=500),
    )
    notes = json.loads((out / "config.json").read_text())["training"]["notes"]
    for note, folder in zip(notes, (mine, others), strict=True):
        assert note.startswith(f"3 files passed over in {folder}: 2 .jp2, 1 .xyz")
        assert f"note: {note}\n" in told.getvalue()
        assert f"\n- {note}\n" in (out / "README.md").read_text()
    same = TrainingData(load_recipe("finetune", [*settings, f"data.train={mine}", f"data.test={mine}"]))
    assert len(same.notes) == 1
