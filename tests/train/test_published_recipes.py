"""The recipes of the papers: every printed number, and a few steps of each on data of the right format."""

from __future__ import annotations

import csv

import pytest
import torch

pytest.importorskip("lightning")

from das_explain.checkpoint.load import load_model
from das_explain.errors import UsageError
from das_explain.nn import create_model
from das_explain.train import available_recipes, load_recipe, train
from das_explain.train.schedules import lr_factor

# From the papers' text, not from the recipes. DAS Sec. 4; DEFCON-1 Sec. 3, 4, 4.4.
# recipe: architecture, attention, epochs, batch, lr, weight decay, {epoch: lr in it}
PRINTED = {
    "imagenet-das-resnet": ("resnet50", "das", 100, 256, 0.1, 1e-4, {0: 0.1, 29: 0.1, 30: 1e-2, 60: 1e-3, 90: 1e-4}),
    "imagenet-das-mobilenetv2": ("mobilenet_v2", "das", 400, 96, 0.045, 4e-5, {1: 0.045 * 0.98, 50: 0.045 * 0.98**50}),
    "cifar100-das-resnet": (
        "resnet18",
        "das",
        300,
        128,
        0.1,
        5e-4,
        {0: 0.1, 69: 0.1, 70: 0.02, 130: 0.004, 200: 8e-4, 259: 8e-4, 260: 1.6e-4, 299: 1.6e-4},
    ),
    "dogs-das-resnet": ("resnet18", "das", 300, 32, 0.1, 1e-4, {0: 0.1, 150: 0.05}),
    "cifar100-defcon1": (
        "resnet50",
        "defcon1",
        400,
        128,
        0.01,
        1e-4,
        {0: 0.01, 25: 0.005, 50: 0.01, 100: 0.005, 150: 0.01, 250: 0.005, 350: 0.01},
    ),
    "cifar100-defcon1-cosine": ("resnet50", "defcon1", 400, 128, 0.01, 1e-4, {0: 0.01, 50: 0.0, 100: 0.01}),
    "cifar100-defcon1-plateau": ("resnet50", "defcon1", 400, 128, 0.01, 1e-4, {0: 0.01, 399: 0.01}),
    "cifar100-defcon1-eca": ("resnet50", "defcon1", 100, 256, 0.1, 1e-4, {29: 0.1, 30: 0.01, 60: 0.001}),
    "cifar100-defcon1-baselines": ("resnet50", "eca", 200, 128, 0.1, 5e-4, {59: 0.1, 60: 0.02, 120: 4e-3, 160: 8e-4}),
}
CIFAR = [name for name in PRINTED if name.startswith("cifar100")]


def test_every_recipe_of_a_paper_is_held_to_it():
    shipped = {name for name in available_recipes() if load_recipe(name).task == "classification"}
    assert shipped - {"collage-resnet18", "collage-das-resnet18", "finetune"} == set(PRINTED)


@pytest.mark.parametrize("name", PRINTED)
def test_the_printed_numbers(name):
    architecture, attention, epochs, batch, lr, decay, rates = PRINTED[name]
    recipe = load_recipe(name)
    assert (recipe.model.architecture, recipe.model.attention) == (architecture, attention)
    assert (recipe.schedule.epochs, recipe.loop.batch_size) == (epochs, batch)
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.optimizer.weight_decay) == ("sgd", lr, decay)
    assert recipe.optimizer.momentum == 0.9
    assert (recipe.schedule.warmup_epochs, recipe.loop.label_smoothing, recipe.loop.ema) == (0, 0, None)
    steps = 7
    for epoch, expected in rates.items():
        assert lr * lr_factor(recipe.schedule, epoch * steps, steps) == pytest.approx(expected, abs=1e-12), epoch
    size = 224 if name.startswith(("imagenet", "dogs")) else 32
    assert (recipe.input.size, recipe.input.train_size) == (size, None)
    assert recipe.augment.flip == 0.5


def test_defcon1_trains_on_40_000_images_normalised_by_the_data_set_s_own_statistics():
    for name in (name for name in CIFAR if "defcon1" in name):
        recipe = load_recipe(name)
        assert 50_000 - recipe.data.held_out == 40_000
        assert recipe.input.mean == pytest.approx((0.50707516, 0.48654887, 0.44091784), abs=1e-4)
        assert recipe.input.std == pytest.approx((0.26733429, 0.25643846, 0.27615047), abs=1e-4)
        assert recipe.optimizer.nesterov == (name == "cifar100-defcon1-baselines")
        assert recipe.model.arguments["stem"] == "padded"  # as in the authors' code
    plateau = load_recipe("cifar100-defcon1-plateau")
    assert (plateau.schedule.name, plateau.loop.validate) == ("plateau", True)


def _network(name, *settings):
    model = load_recipe(name, settings).model
    with torch.device("meta"):  # nothing is computed
        return create_model(model.architecture, model.attention, 100, **model.arguments)


def _parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_defcon1_s_network_has_the_parameters_of_its_table_1():
    assert _parameters(_network("cifar100-defcon1")) == 23_705_756
    assert _parameters(_network("cifar100-defcon1-eca", "model.arguments.offsets=shuffle")) == 23_705_756
    assert _parameters(_network("cifar100-defcon1-baselines")) == 23_705_332


def test_settings_reach_the_other_rows_of_the_tables():
    counts = {
        setting: _parameters(_network("dogs-das-resnet", setting))
        for setting in (
            "model.arguments.alpha=0.2",
            "model.arguments.alpha=0.1",
            "model.arguments.variant=f",
            "model.arguments.norms=[batch,layer]",
            "model.attention=none",
            "model.attention=triplet",
        )
    }
    assert len(set(counts.values())) == len(counts), counts
    assert counts["model.arguments.alpha=0.2"] == _parameters(_network("dogs-das-resnet"))
    assert _network("cifar100-defcon1-eca", "model.arguments.offsets=shuffle").layer1[0].gate.offsets == "shuffle"
    assert _network("imagenet-das-resnet", "model.architecture=resnet101").layer3[22].conv3.out_channels == 1024


SHAPES = {  # how a model's card tells the schedule
    "step": "times 0.",
    "exponential": "times 0.98 after every epoch",
    "cosine": "a cosine to 0",
    "restarts": "cosines to 0, the first in 50 epochs, each 2 times as long as the last",
    "plateau": "times 0.1 after 10 epochs without a lower held-out loss",
}
SMALL = [
    "input.size=32",
    "input.resize=36",
    "loop.workers=0",
    "loop.device=cpu",
    "loop.batch_size=8",
    "schedule.epochs=2",
    "data.per_epoch=32",
]
"""Photos of 32 x 32 pixels, eight steps."""
LEARNS = {  # what else is made small; the rate, where 0.1 is for many more images
    "imagenet-das-resnet": ["model.architecture=resnet18", "optimizer.lr=0.02"],
    "imagenet-das-mobilenetv2": ["data.per_epoch=96", "loop.batch_size=16", "optimizer.lr=0.02"],
    "cifar100-das-resnet": ["model.arguments.stem=imagenet", "input.resize=32", "optimizer.lr=0.02"],
    "dogs-das-resnet": ["optimizer.lr=0.02"],
    **{
        name: [
            "model.architecture=resnet18",
            "model.arguments.stem=imagenet",
            "input.resize=32",
            "data.held_out=4",
            "optimizer.lr=0.01",
        ]
        for name in CIFAR
        if "defcon1" in name
    },
}


@pytest.mark.parametrize("name", PRINTED)
def test_a_few_steps_on_data_of_the_right_format(name, cifar100, imagenet, dogs, tmp_path):
    data = {
        "imagenet": (f"{imagenet}/train", f"{imagenet}/val"),
        "cifar100": (f"cifar:{cifar100}", f"cifar:{cifar100}"),
        "dogs": (f"stanford-dogs:{dogs}", f"stanford-dogs:{dogs}"),
    }[name.split("-")[0]]
    where = [f"data.train={data[0]}", f"data.test={data[1]}"]
    recipe = load_recipe(name, [*SMALL, *LEARNS[name], *where])
    model = load_model(str(train(recipe, tmp_path / "out")))
    with (tmp_path / "out" / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["loss"]) < 0.9 * float(rows[0]["loss"]), rows
    assert int(rows[0]["images"]) == recipe.data.per_epoch // recipe.loop.batch_size * recipe.loop.batch_size
    assert len(model.labels) == 4
    assert model.preprocess.mean == recipe.input.mean
    card = (tmp_path / "out" / "model" / "README.md").read_text()
    assert SHAPES[recipe.schedule.name] in card
    assert ("32 px with 4 px around it" if "cifar" in name else f"{recipe.input.train_size or 32} px") in card


@pytest.mark.parametrize("name", ["imagenet-das-resnet", "dogs-das-resnet"])
def test_data_that_is_not_there_is_one_line_that_says_how_to_name_it(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"^data\.train: no such .*--set data\.train=") as caught:
        train(load_recipe(name), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
