"""What a study is: a YAML file as a frozen tree, and how it is read.

name: collage
recipe: collage-resnet18                  # as of `das-explain train`: a name, or a path from the YAML's folder
set: {schedule.epochs: 5}                 # settings of the recipe, the same for all designs
designs:                                  # name -> its own settings
  none: {model.attention: none}
  das: {model.attention: das}
copies: 5                                 # of each design, with seeds 0, 1, ...
scored_on:                                # name -> a data spec
  test: {data: "collage:test:1000"}
needs: {photos: a folder of photos}       # what the file leaves open: ${photos}, given by --set photos=...
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from das_explain.checkpoint.labels import read_label_map
from das_explain.errors import UsageError
from das_explain.files import read_regular
from das_explain.train.recipe import MOST_BYTES, load_recipe, parse_tree, read_yaml
from das_explain.train.schema import Recipe
from das_explain.train.strict import build

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # of a design or a data set: it names a folder
_OPEN = re.compile(r"\$\{(\w+)\}")
TREES = {  # of a study's file, with what is to stand there
    "needs": "{photos: a folder of photos}",
    "set": "{schedule.epochs: 5}",
    "designs": "{none: {model.attention: none}}",
    "scored_on": "{test: {data: collage:test:1000}}",
}
HALF = {"loop.half": True}  # checkpoints in half precision, unless the study says otherwise


@dataclass(frozen=True)
class ScoredOn:
    """Photos with masks to score on: a data spec, its masks where they lie apart, how many to draw (default: all)."""

    data: str
    masks: str | None = None
    sample: int | None = None
    about: str = ""  # what these photos are, for the page
    label_map: str | None = None  # a CSV (data,model) of what the models call these photos' classes

    @property
    def classes(self) -> dict[str, str] | None:
        """What the label map says. Raises UsageError or DasExplainError for one that cannot be read."""
        return read_label_map(Path(self.label_map)) if self.label_map is not None else None


@dataclass(frozen=True)
class Study:
    """``designs``: name -> settings of the recipe; the first one is what others are compared with. ``blocks``: those to
    explain (none: the last two); ``measures`` and ``nulls`` as of ``das-explain score``."""

    name: str
    recipe: str
    designs: dict
    scored_on: dict
    description: str = ""
    copies: int = 5
    set: dict = field(default_factory=dict)
    needs: dict = field(default_factory=dict)
    blocks: tuple[str, ...] = ()
    measures: tuple[str, ...] = ("all",)
    nulls: tuple[str, ...] = ("shuffled", "centre", "uniform")
    precision: str = "fp32"

    @property
    def data(self) -> dict[str, ScoredOn]:
        """Name -> what is scored on."""
        return {name: build(ScoredOn, tree, f"scored_on.{name}", of="study") for name, tree in self.scored_on.items()}

    def settings(self, design: str) -> list[str]:
        """What ``das-explain train --set`` is given for a copy of a design, but for its seed."""
        merged = {**HALF, **self.set, **self.designs[design]}
        return [f"{key}={_spelled(value)}" for key, value in merged.items()]

    def recipe_of(self, design: str, seed: int) -> Recipe:
        """The recipe of a copy."""
        return load_recipe(self.recipe, [*self.settings(design), f"seed={seed}"])

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable."""
        return asdict(self)


def load_study(
    path: str | Path, settings: Sequence[str] = (), copies: int | None = None
) -> tuple[Study, dict[str, str]]:
    """Reads a study, and what was given for what it needs.

    Args:
        path: the YAML file.
        settings: ``key=value``: what the study needs (``photos=DIR``), or a setting of the recipe of all designs
            (``schedule.epochs=1``).
        copies: of each design; default: the study's.

    Raises:
        UsageError: no such file, an unknown key, a value of the wrong type, something that it needs is not given.
        DasExplainError: a label map that cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"no study file {path}")
    try:
        text = read_regular(path, "study file", most=MOST_BYTES).decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8, as a study file has to be") from None
    tree = parse_tree(text, f"study {path.name}")
    for key, example in TREES.items():
        if not isinstance(tree.get(key) or {}, dict):
            raise UsageError(f"study {path.name}: {key}: expected names and values, such as {example}")
    for key in ("designs", "scored_on"):  # a bare number names a folder as well as a word
        tree[key] = {str(name) if type(name) is int else name: each for name, each in (tree.get(key) or {}).items()}
    needs = tree.get("needs") or {}
    given: dict[str, str] = {}
    changes: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {setting!r}: expected key=value")
        if "." not in key and key not in needs:
            known = ", ".join(needs) or "nothing"
            raise UsageError(f"--set {key}: {path.name} needs {known}; a recipe's setting has a dot: schedule.epochs=4")
        if key in needs:
            given[key] = value
        else:
            changes[key] = read_yaml(value, f"--set {key}")
    for need, about in needs.items():
        if need not in given:
            raise UsageError(f"{path.name} needs --set {need}=... ({about})")
    tree = _filled(tree, given)
    tree["set"] = {**(tree.get("set") or {}), **changes}
    if copies is not None:
        tree["copies"] = copies
    study = build(Study, {"name": path.stem, **tree}, of="study")
    if study.recipe.endswith((".yaml", ".yml")) and not Path(study.recipe).is_absolute():
        study = build(Study, {**study.to_dict(), "recipe": str(path.parent / study.recipe)}, of="study")
    _check(study)
    return study, given


def _check(study: Study) -> None:
    for what, names in (("designs", study.designs), ("scored_on", study.scored_on)):
        if not names:
            raise UsageError(f"the study has no {what}")
        if odd := [name for name in names if not isinstance(name, str)]:
            raise UsageError(f"{what}: YAML reads a name as {odd[0]!r}; put it in quotes")
        if odd := [name for name in names if not NAME.fullmatch(name)]:
            raise UsageError(f"{what}: {odd[0]!r} is no name for a folder; use letters, digits, and . _ - within")
    for name, settings in study.designs.items():
        if not isinstance(settings, dict):
            raise UsageError(f"designs.{name}: expected settings of the recipe, such as {{model.attention: das}}")
    if study.copies < 1:
        raise UsageError(f"copies cannot be {study.copies}")
    if not isinstance(study.data, dict):
        raise UsageError("scored_on: expected names and data")
    for data in study.data.values():
        _ = data.classes  # a label map that cannot be read is told before hours of training
    for design in study.designs:
        study.recipe_of(design, 0)


def _filled(tree: Any, given: Mapping[str, str]) -> Any:
    """The tree with ``${name}`` replaced in every text."""
    if isinstance(tree, dict):
        return {key: value if key == "needs" else _filled(value, given) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_filled(each, given) for each in tree]
    if not isinstance(tree, str):
        return tree

    def value(found: re.Match[str]) -> str:
        if found[1] not in given:
            raise UsageError(f"the study uses ${{{found[1]}}} but does not list it under needs")
        return given[found[1]]

    return _OPEN.sub(value, tree)


def _spelled(value: Any) -> str:
    """A value as ``--set`` has it: text that YAML would take for something else is quoted."""
    if isinstance(value, str) and not _changed_by_yaml(value):
        return value
    return json.dumps(value)


def _changed_by_yaml(text: str) -> bool:
    try:
        return read_yaml(text, "") != text
    except UsageError:
        return True
