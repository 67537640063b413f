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
from das_explain.text import shown
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
MOST_COPIES = 1000  # of a design
GREATEST = 1 << 63  # beyond every number that a study or a recipe has
MOST_VALUES, DEEPEST = 10_000, 30  # of a study's file
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
    for key in ("designs", "scored_on"):
        tree[key] = tree.get(key) or {}
    check_plain(tree, f"study {path.name}")
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
            check_plain(changes[key], f"--set {key}")
    for need, about in needs.items():
        if need not in given:
            raise UsageError(f"{path.name} needs --set {need}=... ({about})")
    tree = _filled(tree, given)
    tree["set"] = {**(tree.get("set") or {}), **changes}
    if copies is not None:
        check_copies(copies, "--copies")
        tree["copies"] = copies
    study = build(Study, {"name": path.stem, **tree}, of="study")
    if study.recipe.endswith((".yaml", ".yml")) and not Path(study.recipe).is_absolute():
        study = build(Study, {**study.to_dict(), "recipe": str(path.parent / study.recipe)}, of="study")
    _check(study)
    return study, given


def check_plain(tree: Any, where: str) -> None:
    """Raises UsageError for what JSON does not have, which YAML makes of a bare date, ``.nan`` or ``!!binary``: keys that
    are no text, values that are neither text, number, true, false nor null; and for a tree that does not end.

    ``where`` names the tree in an error.
    """
    waiting, seen = [(where, tree, 0)], 0
    while waiting:
        place, value, depth = waiting.pop()
        seen += len(value) if isinstance(value, (dict, list)) else 0
        if seen > MOST_VALUES or depth > DEEPEST:
            raise UsageError(f"{where}: it has more than {MOST_VALUES:,} values, or they are nested too deeply")
        if isinstance(value, dict):
            if odd := [key for key in value if not _is_plain(key) or not isinstance(key, str)]:
                raise UsageError(f"{place}: YAML reads a name as {_brief(odd[0])}; put it in quotes")
            waiting += [(f"{place}: {key}", each, depth + 1) for key, each in value.items()]
        elif isinstance(value, list):
            waiting += [(place, each, depth + 1) for each in value]
        elif not _is_plain(value):
            raise UsageError(
                f"{place}: YAML reads this as {_brief(value)}, which no setting can be; put text in quotes"
            )


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        try:
            return bool(value.encode("utf-8", "surrogateescape")) or not value
        except UnicodeEncodeError:  # half a character
            return False
    if isinstance(value, (int, float)):
        return -GREATEST < value < GREATEST  # NaN is not
    return value is None


def _brief(value: Any) -> str:
    """What YAML read, short; a whole number of thousands of digits has no text."""
    if isinstance(value, int) and not _is_plain(value):
        return "a number of so many digits"
    kind = type(value).__name__
    return f"a {kind}" if isinstance(value, (set, tuple)) else f"{shown(value)} ({kind})"


def check_copies(copies: int, what: str) -> None:
    """Raises UsageError for a number of copies that no study has; ``what`` asks for them."""
    if not 1 <= copies <= MOST_COPIES:
        told = copies if _is_plain(copies) else "so large"
        raise UsageError(f"{what} cannot be {told}: a study has 1 to {MOST_COPIES:,} copies of each design")


def _check(study: Study) -> None:
    for what, names in (("designs", study.designs), ("scored_on", study.scored_on)):
        if not names:
            raise UsageError(f"the study has no {what}")
        if odd := [name for name in names if not NAME.fullmatch(name)]:
            raise UsageError(f"{what}: {odd[0]!r} is no name for a folder; use letters, digits, and . _ - within")
    for name, settings in study.designs.items():
        if not isinstance(settings, dict):
            raise UsageError(f"designs.{name}: expected settings of the recipe, such as {{model.attention: das}}")
    for key in (key for settings in (study.set, *study.designs.values()) for key in settings if "=" in key):
        raise UsageError(f"{key!r} is no setting of a recipe: no key has an equals sign")
    check_copies(study.copies, "copies")
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
