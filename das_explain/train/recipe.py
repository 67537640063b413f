"""Recipes: YAML files in, ``Recipe`` out. ``--set schedule.epochs=4`` changes one field; its value is read as YAML.

A recipe that says ``base: NAME`` is that recipe of the package with its own keys in place of the other's.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from das_explain.errors import UsageError
from das_explain.files import read_regular
from das_explain.train.schema import Recipe, build_recipe
from das_explain.train.strict import close_matches

UNTOLD = ("loop.workers", "loop.device", "loop.devices", "loop.nodes")  # settings that no description speaks of

MOST_BYTES = 1 << 20  # of a recipe


def available_recipes() -> dict[str, str]:
    """Name -> description of every recipe that comes with the package."""
    return {name: str(parse_tree(f.read_text("utf-8"), f.name).get("description", "")) for name, f in _files().items()}


def load_recipe(recipe: str | Path, settings: Sequence[str] = ()) -> Recipe:
    """Reads a recipe of the package by name, or any by its path, and changes it.

    Args:
        recipe: ``collage-resnet18``, or a path that ends in ``.yaml`` or ``.yml``.
        settings: ``key=value`` with a dotted key (``optimizer.lr=0.05``), applied in order. A recipe that they change
            is no longer what its description says and loses it, unless ``description=...`` gives another.

    Raises:
        UsageError: no such recipe, an unknown key, a value of the wrong type or out of range.
    """
    name = str(recipe)
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        text = read_regular(path, "recipe", most=MOST_BYTES).decode("utf-8", "backslashreplace")
        name, tree = path.stem, _on_base(parse_tree(text, f"recipe {path.stem}"))
    else:
        tree = _read_shipped(name)
    if any(setting.partition("=")[0] not in UNTOLD for setting in settings):
        tree.pop("description", None)  # it speaks of the recipe as it stands in the file
    for setting in settings:
        _set(tree, setting)
    return build_recipe({"name": name, **tree})


def _read_shipped(name: str) -> dict[str, Any]:
    known = _files()
    if name not in known:
        hint = close_matches(name, known)
        raise UsageError(f"unknown recipe {name!r}{hint}; there are {', '.join(known)}, or give a .yaml file")
    return _on_base(parse_tree(known[name].read_text("utf-8"), f"recipe {name}"))


def _on_base(tree: dict[str, Any]) -> dict[str, Any]:
    own = dict(tree)
    base = own.pop("base", None)
    return own if base is None else _merge({**_read_shipped(str(base)), "description": ""}, own)


def _merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged


def _files() -> dict[str, Any]:
    folder = resources.files("das_explain.train") / "recipes"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {file.name.removesuffix(".yaml"): file for file in files}


def parse_tree(text: str, where: str) -> dict[str, Any]:
    """YAML with keys and values at its top; ``where`` names it in an error. Raises ``UsageError``."""
    tree = read_yaml(text, where)
    if not isinstance(tree, dict):
        raise UsageError(f"{where}: expected keys and values, found {type(tree).__name__}")
    return tree


def read_yaml(text: str, where: str) -> Any:
    """YAML of what JSON has; ``where`` names it in an error. Raises ``UsageError``."""
    from das_explain.train.plain_yaml import read_plain

    return read_plain(text, where)


def _set(tree: dict[str, Any], setting: str) -> None:
    key, equals, value = setting.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {setting!r}: expected key=value, such as schedule.epochs=4")
    *parents, last = key.split(".")
    for parent in parents:
        below = tree.get(parent)
        if below is None:
            below = tree[parent] = {}
        if not isinstance(below, dict):
            raise UsageError(f"--set {key}: {parent} is a single value and has no {last}")
        tree = below
    tree[last] = read_yaml(value, f"--set {key}")
