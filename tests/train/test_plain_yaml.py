"""Recipes hold what JSON has, finite and in reach; anything else is one line, at once, before a folder is made."""

from __future__ import annotations

import json
import time

import pytest

from das_explain.errors import UsageError
from das_explain.study.schema import load_study
from das_explain.train import load_recipe
from das_explain.train.recipe import read_yaml
from das_explain.train.schema import RANGES, build_recipe
from das_explain.train.strict import build

BOMB = "a: &y0 [a, a, a, a, a, a, a, a, a, a]\n" + "".join(
    f"b{level}: &y{level} [{', '.join([f'*y{level - 1}'] * 10)}]\n" for level in range(1, 9)
)
REFUSED = {
    "an alias bomb": (BOMB, "line 2: the alias *y0 is not taken"),
    "an anchor in itself": ("arguments: &a {stem: *a}", "the alias *a is not taken"),
    "brackets within brackets": ("[" * 100_000, "more than 50 levels"),
    "keys within keys": ("{a: " * 60 + "1" + "}" * 60, "more than 50 levels"),
    "no truth": ("!!bool x", "x is not true or false"),
    "no number": ("!!int x", "x is not a whole number"),
    "an empty number": ("!!int ''", "is not a whole number"),
    "no fraction": ("!!float x", "x is not a number"),
    "a list as a number": ("!!int [1]", "not YAML"),
    "a moment": ("!!timestamp x", "!!timestamp is not taken"),
    "bytes": ("!!binary aGk=", "!!binary is not taken"),
    "a set": ("!!set {a}", "!!set is not taken"),
    "pairs": ("!!omap [a: 1]", "!!omap is not taken"),
    "an object": ("!!python/object/apply:os.system ['true']", "!!python/object/apply:os.system is not taken"),
    "one's own tag": ("!mine 1", "!mine is not taken"),
    "no number at all": ("[.nan]", ".nan is not a finite number"),
    "infinity": ("-.inf", "-.inf is not a finite number"),
    "more than a float": ("1e999", "1e999 is not a finite number"),
    "a whole number beyond a float": ("1" + "0" * 350, "is not a finite number, or too large"),
    "a long hexadecimal number": ("0x" + "f" * 300, "is not a finite number, or too large"),
    "thousands of digits": ("9" * 5000, "is a number of 5,000 characters"),
    "hours, minutes, seconds without end": ("1" + ":10" * 100_000, "is a number of 300,001 characters"),
    "a key that is true": ("{yes: 1}", "the key yes for no text; put it in quotes"),
    "a key that is null": ("{~: 1}", "the key ~ for no text; put it in quotes"),
    "a key that is a list": ("{[1]: 1}", "where a key is expected"),
    "a character beyond Unicode": ('"\\UFFFFFFFF"', "not YAML: an escaped character"),
    "a version of thousands of digits": ("%YAML " + "1" * 5000 + ".1\n--- a", "not YAML"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_json_does_not_have_is_refused_at_once(what: str):
    text, words = REFUSED[what]
    started = time.monotonic()
    with pytest.raises(UsageError) as caught:
        read_yaml(text, "recipe x")
    assert time.monotonic() - started < 20
    assert str(caught.value).startswith("recipe x: ")
    assert words in str(caught.value)
    assert "set_int_max_str_digits" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-4", 5e-4),
        ("1.e3", 1000.0),
        ("2001-01-01", "2001-01-01"),
        ("2001-01-01 00:00:00", "2001-01-01 00:00:00"),
        ("{7: a, 007: b, 2001-01-01: c}", {"7": "a", "007": "b", "2001-01-01": "c"}),
        ("<<: 1", {"<<": 1}),
        ("=", "="),
        ("&a [yes, ~, !!str 1]", [True, None, "1"]),
        ("1" * 100_000 + "x", "1" * 100_000 + "x"),
    ],
)
def test_plain_text_is_read_as_it_is_written(text: str, value: object):
    started = time.monotonic()
    assert read_yaml(text, "") == value
    assert time.monotonic() - started < 20


def test_a_study_is_read_in_the_same_way(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(f"recipe: finetune\nset:\n {BOMB}".replace("\nb", "\n b"))
    with pytest.raises(UsageError, match=r"study study\.yaml: line 4: the alias \*y0"):
        load_study(path)
    path.write_text("needs: {1: a number}\n")
    with pytest.raises(UsageError, match=r"study\.yaml needs 1; a recipe"):
        load_study(path, ["x=1"])


NUMBERS = (-1, 0, 1e308, 10**30, 10**400, 10**5000, float("nan"), float("inf"), -float("inf"))
ZERO = {  # keys that may be 0
    "seed", "data.held_out", "input.mean", "augment.flip", "augment.brightness", "augment.contrast", "augment.saturation", "augment.padding",
    "optimizer.weight_decay", "optimizer.momentum", "schedule.warmup_epochs", "schedule.milestones", "schedule.gamma",
    "schedule.patience", "initial.epochs", "loop.label_smoothing", "loop.workers",
}  # fmt: skip
PAIRS = {"input.mean": 3, "input.std": 3, "augment.scale": 2, "augment.ratio": 2, "schedule.milestones": 1}


@pytest.mark.parametrize("key", RANGES)
def test_a_number_out_of_reach_is_refused(key: str):
    tree = load_recipe("collage-resnet18").to_dict()
    room, *names = key.split(".")
    for number in NUMBERS:
        value = [number] * PAIRS[key] if key in PAIRS else number
        changed = {**tree, room: {**tree[room], names[0]: value} if names else value}
        if (number == 0 and key in ZERO) or (number == -1 and key == "input.mean"):
            assert build_recipe(changed)
            continue
        with pytest.raises(UsageError) as caught:
            build_recipe(changed)
        told = str(caught.value)
        assert told.startswith(f"{key} cannot be ")
        assert len(told) < 200


def test_every_number_of_a_recipe_has_a_range():
    def numbers(tree: dict, prefix: str = ""):
        for key, value in tree.items():
            if isinstance(value, dict):
                yield from numbers(value, f"{prefix}{key}.")
            elif not isinstance(value, bool) and (isinstance(value, (int, float, list))):
                yield f"{prefix}{key}"

    assert set(numbers({**load_recipe("collage-resnet18").to_dict(), "model": {}})) <= set(RANGES)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("seed=18446744073709551616", "seed cannot be 18446744073709551616: expected 0 to 18,446,744,073,709,551,615"),
        ("input.size=100000", "input.size cannot be 100000: expected 1 to 2,048"),
        ("input.resize=100000", "input.resize cannot be 100000: expected 1 to 4,096"),
        ("input.train_size=100000", "input.train_size cannot be 100000"),
        ("loop.workers=3000", "loop.workers cannot be 3000: expected 0 to 512"),
        ("loop.batch_size=1000000000000", "loop.batch_size cannot be 1000000000000"),
        ("optimizer.clip_norm=0", "optimizer.clip_norm cannot be 0"),
        ("optimizer.clip_norm=.nan", "--set optimizer.clip_norm: .nan is not a finite number"),
        ("schedule.period=1e-9", "schedule.period cannot be 1e-09"),
        (
            "model.arguments.num_classes=3",
            "model.arguments.num_classes cannot be set: the classes are those of data.train",
        ),
        ("model.arguments.attention=das", "set model.attention"),
        ("model.arguments.backbone=resnet18", "set model.architecture"),
        ("data.per_epoch=1", "data.per_epoch cannot be 1: expected 2 to"),
        ("augment.ratio=[1, 1e200]", "augment.ratio cannot be (1.0, 1e+200)"),
    ],
)
def test_the_line_says_what_would_do(setting: str, words: str):
    with pytest.raises(UsageError) as caught:
        load_recipe("collage-resnet18", [setting])
    assert words in str(caught.value)


def test_a_plateau_that_lowers_nothing_is_refused():
    settings = ["schedule.name=plateau", "schedule.warmup_epochs=0", "loop.validate=true", "schedule.gamma=1"]
    with pytest.raises(UsageError, match=r"set schedule\.gamma below 1"):
        load_recipe("collage-resnet18", settings)


LONG = {
    "text": "x" * 100_000,
    "list": ["x"] * 100_000,
    "keys": {"y" * 100_000: 1},
    "number": 10**5000,
    "lists": [[10**5000]],
}


@pytest.mark.parametrize("what", LONG)
@pytest.mark.parametrize("key", ["seed", "task", "optimizer", "an unknown key of a thousand letters" * 30])
def test_long_values_are_cut_in_messages(key: str, what: str):
    tree = load_recipe("collage-resnet18").to_dict()
    with pytest.raises(UsageError) as caught:
        build_recipe({**tree, key: LONG[what]})
    assert len(str(caught.value)) < 400


def test_a_key_that_is_no_text_is_told():
    from das_explain.train.schema import Optimizer

    with pytest.raises(UsageError, match="unknown key 1; it may be"):
        build(Optimizer, {1: 2})


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", ".", "", "a\\b", "/etc/x"])
def test_a_recipe_s_name_leads_nowhere(name: str):
    with pytest.raises(UsageError, match="name cannot be .*: expected one without slashes"):
        load_recipe("collage-resnet18", [f"name={json.dumps(name)}"])
