"""What a training run is: a frozen tree of settings. These dataclasses are the schema of a recipe's YAML."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from operator import attrgetter
from typing import Any, Literal

from das_explain.checkpoint.config import MAX_RESIZE, MAX_SIDE, MAX_VALUE
from das_explain.data.geometry import IMAGENET_MEAN, IMAGENET_STD
from das_explain.errors import UsageError
from das_explain.text import shown
from das_explain.train.strict import build

MANY = 10**9  # of epochs, of anything that is counted
RANGES: dict[str, tuple[float, float]] = {  # lowest and highest of each number, where there is one
    "seed": (0, 2**64 - 1),  # torch's
    "data.held_out": (0, MANY),
    "data.per_epoch": (2, 10**8),  # as a batch; an epoch's order is held in memory
    "input.size": (1, MAX_SIDE),
    "input.train_size": (1, MAX_SIDE),
    "input.resize": (1, MAX_RESIZE),
    "input.mean": (-MAX_VALUE, MAX_VALUE),
    "input.std": (1 / MAX_VALUE, MAX_VALUE),
    "augment.scale": (0, 1),
    "augment.ratio": (0.001, 1000),
    "augment.flip": (0, 1),
    "augment.brightness": (0, 10),
    "augment.contrast": (0, 10),
    "augment.saturation": (0, 10),
    "augment.padding": (0, MAX_RESIZE),
    "optimizer.lr": (0, 1e28),  # times the largest weight decay it is a number of fp32
    "optimizer.weight_decay": (0, MANY),
    "optimizer.momentum": (0, 1),
    "optimizer.clip_norm": (0, MANY),
    "schedule.epochs": (1, MANY),
    "schedule.warmup_epochs": (0, MANY),
    "schedule.milestones": (0, MANY),
    "schedule.gamma": (0, 1),  # the learning rate is the peak
    "schedule.period": (0.01, MANY),  # a step looks at all periods before it
    "schedule.period_factor": (1, MANY),
    "schedule.patience": (0, MANY),
    "initial.epochs": (0, MANY),
    "loop.batch_size": (2, 10**6),
    "loop.label_smoothing": (0, 1),
    "loop.accumulate": (1, MANY),
    "loop.workers": (0, 512),  # each is a process
    "loop.devices": (1, 10**6),
    "loop.nodes": (1, 10**6),
    "loop.ema": (0, 1),
}
OWN = {  # arguments of `create_model` that do not stand in ``model.arguments``
    "backbone": "set model.architecture",
    "attention": "set model.attention",
    "num_classes": "the classes are those of data.train",
}


@dataclass(frozen=True)
class Model:
    """The network; ``arguments`` go to ``create_model`` (``alpha``, ``gates``, ``stem``, ``init``)."""

    architecture: str
    attention: str = "none"
    arguments: dict = field(default_factory=dict)
    warm_start: str | None = None  # a model spec whose weights are taken where name and shape agree


@dataclass(frozen=True)
class Data:
    """Data specs; classes are those of ``train``. ``held_out`` images of ``train`` are never trained on, but tested:
    a count, or below 1 a share of every class. Without ``test`` they are the only test.
    """

    train: str
    test: str | None = None
    held_out: int | float = 0
    balanced: bool = False  # every class equally often in an epoch, however many images it has
    per_epoch: int | None = None  # images an epoch draws, in turn, from the shuffled data; default: all


@dataclass(frozen=True)
class Input:
    """The network's input frame, in pixels, as ``Geometry``, and how its values (0 to 1) are normalised.

    ``train_size`` is the side of the random views (default: ``size``). Random crops enlarge objects, so a network may
    be trained on smaller views than it is used on: Touvron et al. 2019, "Fixing the train-test resolution discrepancy".
    """

    size: int = 224
    train_size: int | None = None
    resize: int = 256
    interpolation: Literal["bilinear", "bicubic", "lanczos", "nearest"] = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


@dataclass(frozen=True)
class Augment:
    """Random crop, horizontal flip (probability), colour jitter (+- fraction).

    ``crop`` is ``resized``: a random box (area fraction ``scale``, aspect ratio ``ratio``) becomes the view, Szegedy et
    al. 2015, "Going deeper with convolutions"; or ``fixed``: the shorter side becomes ``input.resize``, ``padding``
    black pixels are added on every side, and the view is cropped there, He et al. 2016, Sec. 4.2.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (0.75, 1.3333)
    flip: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    crop: Literal["resized", "fixed"] = "resized"
    padding: int = 0


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
    """Learning rate: linear warm-up, then from the peak on as ``name`` says (``schedules.lr_factor``).

    ``cosine`` to 0 in ``period`` epochs (default: all) and up again; ``restarts``: the same, but back to the peak at
    once, the next period ``period_factor`` times as long; ``step``: times ``gamma`` at ``milestones`` (epochs);
    ``exponential``: times ``gamma`` after every epoch; ``plateau``: times ``gamma`` when the loss on the held-out
    images has not fallen for ``patience`` epochs; ``constant``.
    """

    epochs: int = 90
    name: Literal["cosine", "restarts", "step", "exponential", "plateau", "constant"] = "cosine"
    warmup_epochs: float = 0.0
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    period: float | None = None
    period_factor: int = 1
    patience: int = 10


@dataclass(frozen=True)
class Loop:
    """How it is run. ``precision`` auto: bf16 if the processor has it, else fp32; ``workers`` auto: one per core.

    A batch is ``batch_size`` images whatever the number of processes, which share it evenly.
    """

    batch_size: int = 64
    label_smoothing: float = 0.0
    accumulate: int = 1  # batches per optimiser step
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    channels_last: bool = True
    workers: int | Literal["auto"] = "auto"
    device: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1  # processes per node, each with one GPU (or the CPU)
    nodes: int = 1  # machines; each is given the same command and MASTER_ADDR, MASTER_PORT and NODE_RANK, or srun's
    sync_batchnorm: bool = False  # batch statistics over all processes
    ema: float | None = None  # decay per step of an average of the weights, which is then what is tested and shipped
    validate: bool = False  # loss and accuracy on the held-out images after every epoch
    half: bool = False  # ship the weights in half precision; accuracy is measured after rounding


@dataclass(frozen=True)
class Initial:
    """Detection: the first ``epochs`` of the run train ``all`` or the ``backbone`` alone at a constant rate; with their
    weights the optimiser and the schedule then start anew, and milestones count from there (DAS Sec. 4).
    """

    epochs: int = 0
    train: Literal["all", "backbone"] = "all"


@dataclass(frozen=True)
class Recipe:
    """A whole run. ``name`` is the file's; everything else is in the file."""

    name: str
    model: Model
    data: Data
    task: Literal["classification", "detection"] = "classification"
    description: str = ""
    seed: int = 0
    input: Input = field(default_factory=Input)
    augment: Augment = field(default_factory=Augment)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    initial: Initial = field(default_factory=Initial)
    loop: Loop = field(default_factory=Loop)

    def to_dict(self) -> dict[str, Any]:
        """JSON- and YAML-serialisable; ``build_recipe`` reads it back."""
        return _plain(asdict(self))


def build_recipe(tree: dict[str, Any]) -> Recipe:
    """A checked recipe from nested dicts; raises `UsageError` that names the key."""
    recipe = build(Recipe, tree)
    data, view, augment = recipe.data, recipe.input, recipe.augment
    optimizer, schedule, loop = recipe.optimizer, recipe.schedule, recipe.loop
    _check_ranges(recipe)
    if recipe.name in ("", ".", "..") or set(recipe.name) & set("/\\\0"):  # of a folder, unless --out names one
        raise UsageError(f"name cannot be {shown(recipe.name)}: expected one without slashes")
    for key, value, allowed in (
        ("loop.ema", loop.ema, loop.ema is None or 0 < loop.ema < 1),
        ("loop.label_smoothing", loop.label_smoothing, loop.label_smoothing < 1),
        ("data.held_out", data.held_out, data.held_out < 1 or isinstance(data.held_out, int)),
        ("optimizer.lr", optimizer.lr, optimizer.lr > 0),
        ("optimizer.clip_norm", optimizer.clip_norm, optimizer.clip_norm is None or optimizer.clip_norm > 0),
        ("augment.scale", augment.scale, 0 < augment.scale[0] <= augment.scale[1]),
        ("augment.ratio", augment.ratio, augment.ratio[0] <= augment.ratio[1]),
        ("initial.epochs", recipe.initial.epochs, recipe.initial.epochs < schedule.epochs),
    ):
        if not allowed:
            raise UsageError(f"{key} cannot be {shown(value)}")
    if taken := [name for name in recipe.model.arguments if name in OWN]:
        raise UsageError(f"model.arguments.{taken[0]} cannot be set: {OWN[taken[0]]}")
    processes = loop.devices * loop.nodes
    if loop.batch_size % processes or loop.batch_size < 2 * processes:
        raise UsageError(f"loop.batch_size={loop.batch_size} cannot be shared evenly by {processes} processes")
    if data.per_epoch is not None and data.per_epoch < 2 * processes:
        raise UsageError(f"data.per_epoch={data.per_epoch} gives each of {processes} processes less than two images")
    side = view.train_size or view.size
    if augment.crop == "fixed" and side > view.resize + 2 * augment.padding:
        raise UsageError(
            f"no view of {side} pixels fits into input.resize={view.resize} with augment.padding={augment.padding}"
        )
    if data.test is None and not data.held_out:
        raise UsageError(
            "the recipe has nothing to test on: set data.test, or data.held_out to a share such as 0.15 or a count"
        )
    if loop.validate and not data.held_out:
        raise UsageError("loop.validate needs data.held_out images")
    if schedule.name == "plateau" and not loop.validate:
        raise UsageError("schedule.name=plateau watches the held-out images: set data.held_out and loop.validate=true")
    if recipe.initial.epochs and recipe.task != "detection":
        raise UsageError("initial.epochs is for task=detection: another classifier begins with model.warm_start")
    if schedule.name == "plateau" and schedule.warmup_epochs:
        raise UsageError("schedule.name=plateau has no warm-up: set schedule.warmup_epochs=0")
    if schedule.name == "plateau" and schedule.gamma == 1:
        raise UsageError("schedule.name=plateau lowers the rate: set schedule.gamma below 1")
    if schedule.name == "restarts" and schedule.period is None:
        raise UsageError("schedule.name=restarts needs schedule.period, the epochs to the first restart")
    return recipe


def _check_ranges(recipe: Recipe) -> None:
    for key, (low, high) in RANGES.items():
        value = attrgetter(key)(recipe)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, (int, float)) and not low <= number <= high:
                raise UsageError(f"{key} cannot be {shown(value)}: expected {low:,} to {high:,}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
