from __future__ import annotations

from dataclasses import replace

import pytest

from das_explain.errors import UsageError
from das_explain.train import available_recipes, load_recipe
from das_explain.train.schema import build_recipe


def test_the_shipped_pair_differs_in_attention_only():
    plain, gated = load_recipe("collage-resnet18"), load_recipe("collage-das-resnet18")
    assert (plain.model.attention, gated.model.attention) == ("none", "das")
    same = replace(plain, name=gated.name, description=gated.description, model=replace(plain.model, attention="das"))
    assert same == gated


def test_every_shipped_recipe_is_valid_and_described():
    for name, description in available_recipes().items():
        assert load_recipe(name).name == name
        assert description


def test_settings_change_single_fields_in_order():
    recipe = load_recipe(
        "collage-resnet18",
        [
            "optimizer.lr=5e-4",
            "schedule.epochs=4",
            "schedule.epochs=3",
            "model.arguments.stem=small",
            "data.per_epoch=null",
            "augment.scale=[0.5, 1]",
            "loop.workers=0",
            "loop.precision=32",
        ],
    )
    assert recipe.optimizer.lr == 5e-4
    assert recipe.schedule.epochs == 3
    assert recipe.model.arguments == {"stem": "small"}
    assert recipe.data.per_epoch is None
    assert recipe.augment.scale == (0.5, 1.0)
    assert (recipe.loop.workers, recipe.loop.precision) == (0, "32")
    assert recipe.seed == 0, "other fields stay"


def test_a_recipe_survives_being_written():
    recipe = load_recipe("collage-das-resnet18", ["model.arguments.alpha=0.1"])
    assert build_recipe(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("optimizer.weight_decy=1", ["unknown key optimizer.weight_decy", "did you mean weight_decay"]),
        ("optimiser.lr=1", ["unknown key optimiser", "did you mean optimizer"]),
        ("schedule.epochs=many", ["schedule.epochs", "'many'", "a whole number"]),
        ("schedule.epochs=2.5", ["schedule.epochs", "a whole number"]),
        ("schedule.epochs=0", ["schedule.epochs cannot be 0"]),
        ("schedule.epochs=true", ["schedule.epochs", "a whole number"]),
        ("schedule.name=cosin", ["schedule.name", "did you mean cosine"]),
        ("loop.workers=some", ["loop.workers", "a whole number or auto"]),
        ("augment.scale=[0.5]", ["augment.scale", "a list of 2"]),
        ("augment.scale=[0.9, 0.5]", ["augment.scale"]),
        ("seed.x=1", ["seed is a single value"]),
        ("epochs", ["expected key=value"]),
        ("optimizer=fast", ["optimizer", "keys and values"]),
        ("optimizer.lr=[", ["--set optimizer.lr", "not YAML"]),
        ("schedule.name=restarts", ["needs schedule.period"]),
        ("schedule.name=plateau", ["loop.validate=true"]),
        ("loop.devices=3", ["loop.batch_size=64", "3 processes"]),
        ("loop.ema=1", ["loop.ema cannot be 1"]),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(setting, words):
    with pytest.raises(UsageError) as caught:
        load_recipe("collage-resnet18", [setting])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(UsageError, match=r"loop\.validate needs data\.held_out"):
        load_recipe("collage-resnet18", ["data.held_out=0", "loop.validate=true"])
    with pytest.raises(UsageError, match=r"no view of 128 pixels fits into input\.resize=100 .*padding=4"):
        load_recipe("collage-resnet18", ["augment.crop=fixed", "input.resize=100", "augment.padding=4"])
    with pytest.raises(UsageError, match="plateau has no warm-up"):
        settings = ["schedule.name=plateau", "loop.validate=true", "schedule.warmup_epochs=1"]
        load_recipe("collage-resnet18", settings)


def test_a_recipe_on_a_base_changes_only_what_it_names(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: collage-resnet18\nmodel: {attention: se}\nschedule: {epochs: 3}\n")
    recipe, base = load_recipe(path, ["seed=5"]), load_recipe("collage-resnet18")
    assert recipe.name == "mine"
    assert recipe.model == replace(base.model, attention="se")
    assert recipe.schedule == replace(base.schedule, epochs=3)
    assert (recipe.optimizer, recipe.loop, recipe.seed) == (base.optimizer, base.loop, 5)
    path.write_text("base: cifar100-defcon1-plateau\ndescription: on what is on a base itself\n")
    assert replace(load_recipe(path), name="", description="") == replace(
        load_recipe("cifar100-defcon1-plateau"), name="", description=""
    )
    path.write_text("base: collage-resnet19\n")
    with pytest.raises(UsageError, match=r"unknown recipe 'collage-resnet19' \(did you mean"):
        load_recipe(path)


def test_an_unknown_recipe_lists_those_there_are():
    with pytest.raises(UsageError, match=r"'collage-resnet19' \(did you mean collage-resnet18.*collage-das-resnet18"):
        load_recipe("collage-resnet19")


def test_a_recipe_file_is_checked_like_a_shipped_one(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: {architecture: resnet18}\n")
    with pytest.raises(UsageError, match="lacks data"):
        load_recipe(path)
    path.write_text("model: {architecture: resnet18}\ndata: {train: a}\n")
    with pytest.raises(UsageError, match=r"nothing to test on: set data\.test, or data\.held_out"):
        load_recipe(path)
    path.write_text("- a list\n")
    with pytest.raises(UsageError, match="expected keys and values"):
        load_recipe(path)
    with pytest.raises(UsageError, match="no such recipe"):
        load_recipe(tmp_path / "none.yaml")
