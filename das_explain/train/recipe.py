"""What a training run is: a frozen tree of settings, read from YAML, strictly.

The dataclasses below are the schema: a key that is not a field is an error that names it and its close matches, and so
is a value of the wrong type. ``--set schedule.epochs=4`` changes one field of that tree; its value is read as YAML.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from das_explain.errors import UsageError, missing_package


@dataclass(frozen=True)
class Model:
    """The network; ``arguments`` go to ``create_model`` (``alpha``, ``gates``, ``stem``, ``init``)."""

    architecture: str
    attention: str = "none"
    arguments: dict = field(default_factory=dict)
    warm_start: str | None = None  # a model spec whose weights are taken where name and shape agree


@dataclass(frozen=True)
class Data:
    """Data specs; classes are those of ``train``. ``held_out`` images of ``train`` are never trained on, but tested."""

    train: str
    test: str
    held_out: int = 0
    per_epoch: int | None = None  # images an epoch draws, in turn, from the shuffled data; default: all


@dataclass(frozen=True)
class Input:
    """The network's input frame, in pixels, as ``Geometry``; values are normalised with ImageNet's mean and std.

    ``train_size`` is the side of the random views (default: ``size``). Random crops enlarge objects, so a network may
    be trained on smaller views than it is used on: Touvron et al. 2019, "Fixing the train-test resolution discrepancy".
    """

    size: int = 224
    train_size: int | None = None
    resize: int = 256
    interpolation: Literal["bilinear", "bicubic", "lanczos", "nearest"] = "bilinear"


@dataclass(frozen=True)
class Augment:
    """Random resized crop (area fraction, aspect ratio), horizontal flip (probability), colour jitter (+- fraction)."""

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (0.75, 1.3333)
    flip: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0


@dataclass(frozen=True)
class Optimizer:
    """``lr`` is the peak learning rate; ``momentum`` and ``nesterov`` are SGD's."""

    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.1
    weight_decay: float = 1e-4
    momentum: float = 0.9
    nesterov: bool = False
    clip_norm: float | None = None  # largest norm of the whole gradient


@dataclass(frozen=True)
class Schedule:
    """Learning rate per step: linear warm-up, then a cosine to 0, or ``gamma`` at ``milestones`` (epochs), or flat."""

    epochs: int = 90
    name: Literal["cosine", "step", "constant"] = "cosine"
    warmup_epochs: float = 0.0
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1


@dataclass(frozen=True)
class Loop:
    """How it is run. ``precision`` auto: bf16 if the processor has it, else fp32; ``workers`` auto: one per core."""

    batch_size: int = 64
    label_smoothing: float = 0.0
    accumulate: int = 1  # batches per optimiser step
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    channels_last: bool = True
    workers: int | Literal["auto"] = "auto"
    device: Literal["auto", "cpu", "gpu"] = "auto"
    half: bool = False  # ship the weights in half precision; accuracy is measured after rounding


@dataclass(frozen=True)
class Recipe:
    """A whole run. ``name`` is the file's; everything else is in the file."""

    name: str
    model: Model
    data: Data
    description: str = ""
    seed: int = 0
    input: Input = field(default_factory=Input)
    augment: Augment = field(default_factory=Augment)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    loop: Loop = field(default_factory=Loop)

    def to_dict(self) -> dict[str, Any]:
        """JSON- and YAML-serialisable; ``build_recipe`` reads it back."""
        return _plain(asdict(self))


def available_recipes() -> dict[str, str]:
    """Name -> description of every recipe that comes with the package."""
    return {name: str(_parse(f.read_text("utf-8"), f.name).get("description", "")) for name, f in _files().items()}


def load_recipe(recipe: str | Path, settings: Sequence[str] = ()) -> Recipe:
    """Reads a recipe of the package by name, or any by its path, and changes it.

    Args:
        recipe: ``collage-resnet18``, or a path that ends in ``.yaml`` or ``.yml``.
        settings: ``key=value`` with a dotted key (``optimizer.lr=0.05``), applied in order.

    Raises:
        UsageError: no such recipe, an unknown key, a value of the wrong type or out of range.
    """
    name = str(recipe)
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"no recipe file {name}")
        name, text = path.stem, path.read_text("utf-8")
    else:
        known = _files()
        if name not in known:
            hint = _close(name, known)
            raise UsageError(f"unknown recipe {name!r}{hint}; there are {', '.join(known)}, or give a .yaml file")
        text = known[name].read_text("utf-8")
    tree = _parse(text, f"recipe {name}")
    for setting in settings:
        _set(tree, setting)
    return build_recipe({"name": name, **tree})


def build_recipe(tree: dict[str, Any]) -> Recipe:
    """A checked recipe from nested dicts; raises `UsageError` that names the key."""
    recipe = _build(Recipe, tree, "")
    for key, value, allowed in (
        ("schedule.epochs", recipe.schedule.epochs, recipe.schedule.epochs >= 1),
        ("loop.batch_size", recipe.loop.batch_size, recipe.loop.batch_size >= 2),
        ("loop.accumulate", recipe.loop.accumulate, recipe.loop.accumulate >= 1),
        ("loop.workers", recipe.loop.workers, recipe.loop.workers == "auto" or recipe.loop.workers >= 0),
        ("loop.label_smoothing", recipe.loop.label_smoothing, 0 <= recipe.loop.label_smoothing < 1),
        ("input.size", recipe.input.size, recipe.input.size >= 1),
        ("input.train_size", recipe.input.train_size, recipe.input.train_size is None or recipe.input.train_size >= 1),
        ("input.resize", recipe.input.resize, recipe.input.resize >= 1),
        ("data.held_out", recipe.data.held_out, recipe.data.held_out >= 0),
        ("data.per_epoch", recipe.data.per_epoch, recipe.data.per_epoch is None or recipe.data.per_epoch >= 1),
        ("optimizer.lr", recipe.optimizer.lr, recipe.optimizer.lr > 0),
        ("augment.scale", recipe.augment.scale, 0 < recipe.augment.scale[0] <= recipe.augment.scale[1] <= 1),
        ("augment.ratio", recipe.augment.ratio, 0 < recipe.augment.ratio[0] <= recipe.augment.ratio[1]),
        ("augment.flip", recipe.augment.flip, 0 <= recipe.augment.flip <= 1),
        ("seed", recipe.seed, recipe.seed >= 0),
    ):  # fmt: skip
        if not allowed:
            raise UsageError(f"{key} cannot be {value!r}")
    return recipe


def _files() -> dict[str, Any]:
    folder = resources.files("das_explain.train") / "recipes"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {file.name.removesuffix(".yaml"): file for file in files}


def _parse(text: str, where: str) -> dict[str, Any]:
    tree = _yaml(text, where)
    if not isinstance(tree, dict):
        raise UsageError(f"{where}: expected keys and values, found {type(tree).__name__}")
    return tree


def _yaml(text: str, where: str) -> Any:
    """YAML, with 5e-4 read as a number (YAML 1.1 wants 5.0e-4)."""
    try:
        import yaml
    except ImportError:
        raise missing_package("pyyaml", "train", "reading a recipe") from None

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )
    try:
        return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise UsageError(f"{where}: not YAML: {' '.join(str(error).split())}") from None


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
    tree[last] = _yaml(value, f"--set {key}")


def _build(cls: type, tree: Any, where: str) -> Any:
    if not isinstance(tree, dict):
        raise UsageError(f"{where}: expected keys and values, found {tree!r}")
    hints = typing.get_type_hints(cls)
    prefix = f"{where}." if where else ""
    for key in tree:
        if key not in hints:
            raise UsageError(f"unknown key {prefix}{key}{_close(str(key), hints)}; it may be {', '.join(hints)}")
    values = {key: _convert(hints[key], value, f"{prefix}{key}") for key, value in tree.items()}
    for item in fields(cls):
        if item.name not in values and item.default is MISSING and item.default_factory is MISSING:
            raise UsageError(f"the recipe lacks {prefix}{item.name}")
    return cls(**values)


def _convert(kind: Any, value: Any, key: str) -> Any:
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        return _build(kind, value, key)
    if origin is Literal:
        if str(value) in options:
            return str(value)
        raise UsageError(f"{key} cannot be {value!r}{_close(str(value), options)}; it is one of {', '.join(options)}")
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in options:
            return None
        for option in (option for option in options if option is not type(None)):
            try:
                return _convert(option, value, key)
            except UsageError:
                continue
        raise UsageError(f"{key} cannot be {value!r}: expected {' or '.join(map(_say, options))}")
    if origin is tuple and isinstance(value, (list, tuple)):
        if options[-1] is Ellipsis:
            return tuple(_convert(options[0], item, key) for item in value)
        if len(value) == len(options):
            return tuple(_convert(option, item, key) for option, item in zip(options, value, strict=True))
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is float and number:
        return float(value)
    if kind is int and number and float(value).is_integer():
        return int(value)
    if kind is str and (isinstance(value, str) or number):
        return str(value)
    if kind in (bool, dict) and isinstance(value, kind):
        return value
    raise UsageError(f"{key} cannot be {value!r}: expected {_say(kind)}")


def _say(kind: Any) -> str:
    words = {float: "a number", int: "a whole number", str: "text", bool: "true or false", dict: "keys and values",
             type(None): "null"}  # fmt: skip
    if typing.get_origin(kind) is Literal:
        return " or ".join(typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        options = typing.get_args(kind)
        count = "a list" if options[-1] is Ellipsis else f"a list of {len(options)}"
        return f"{count}, each {words.get(options[0], options[0])}"
    return words.get(kind, str(kind))


def _close(word: str, known: Any) -> str:
    matches = difflib.get_close_matches(word, list(known), n=2)
    return f" (did you mean {' or '.join(matches)}?)" if matches else ""


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
