"""What a model directory says about its training: the numbers, with intervals, and the text around them."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

import torch

from das_explain.devices import processor_name
from das_explain.stats.intervals import wilson
from das_explain.train.data import TrainingData
from das_explain.train.machine import on_gpu
from das_explain.train.schema import Recipe, Schedule
from das_explain.train.task import RANDOM_VIEWS

PACKAGES = (
    "das-explain",
    "torch",
    "torchvision",
    "lightning",
    "numpy",
    "pillow",
    "opencv-python-headless",
    "scikit-image",
    "scikit-learn",
)

SHOWN = 100  # classes; more are no longer read


@dataclass(frozen=True)
class Outcome:
    """Top-1 of a test: fractions, with the 95 % Wilson interval; ``classes`` is label -> [right, count]."""

    right: int
    count: int
    top1: float
    low: float
    high: float
    classes: dict[str, list[int]]


def score(labels: Sequence[str], predicted: Sequence[str]) -> Outcome:
    """Counts what is right."""
    classes = {label: [0, 0] for label in sorted(set(labels))}
    for label, guess in zip(labels, predicted, strict=True):
        classes[label][0] += label == guess
        classes[label][1] += 1
    right, count = sum(r for r, _ in classes.values()), len(labels)
    low, high = wilson(right, count)
    return Outcome(right, count, right / count, low, high, classes)


def describe(outcome: Outcome) -> str:
    """``91.2 % (95 % interval 89.3 to 92.8 %, 912 of 1000)``."""
    return (
        f"{outcome.top1:.1%} (95 % interval {100 * outcome.low:.1f} to {100 * outcome.high:.1f} %, "
        f"{outcome.right} of {outcome.count})"
    ).replace("%", " %", 1)


def versions(*more: str) -> dict[str, str]:
    """Python and the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in (*PACKAGES, *more):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def model_card(
    recipe: Recipe,
    data: TrainingData,
    outcomes: dict[str, Outcome],
    log: list[dict[str, str]],
    *,
    precision: str,
    command: str | None,
) -> tuple[dict, str]:
    """``(training, card)``: what goes into ``config.json`` under ``training``, and the text of ``README.md``."""
    training = {
        **describe_training(recipe, data.fingerprints, log, precision, command),
        "accuracy": {name: asdict(outcome) for name, outcome in outcomes.items()},
        "warnings": data.warnings,
        "notes": data.notes,
    }
    return training, _text(recipe, data, outcomes, log, training)


def describe_training(
    recipe: Recipe, fingerprints: dict, log: list[dict[str, str]], precision: str, command: str | None, *packages: str
) -> dict:
    """What a training run is known by, whatever it learned; ``packages``: more that the result depends on."""
    cpu = f"{processor_name()}, {torch.get_num_threads()} threads"
    machine = torch.cuda.get_device_name() if on_gpu(recipe) else cpu
    if (processes := recipe.loop.devices * recipe.loop.nodes) > 1:
        machine = f"{processes} processes, each {machine}"
    return {
        "recipe": recipe.to_dict(),
        "command": command,
        "seed": recipe.seed,
        "precision": precision,
        "machine": machine,
        "seconds": round(sum(float(row["seconds"]) for row in log), 1),
        "versions": versions(*packages),
        "data": fingerprints,
    }


def _text(
    recipe: Recipe, data: TrainingData, outcomes: dict[str, Outcome], log: list[dict[str, str]], training: dict
) -> str:
    model = recipe.model
    gated = "" if model.attention == "none" else f" with {model.attention.upper()} attention"
    arguments = "".join(f", {key} {value}" for key, value in model.arguments.items())
    averaged = f"the moving average, decay {recipe.loop.ema:g}," if recipe.loop.ema else "those"
    rounded = ", after they were rounded to half precision" if recipe.loop.half else ""
    lines = [
        f"# {model.architecture}{gated}, trained on {recipe.data.train}",
        "",
        f"{model.architecture}{gated}{arguments}; {len(data.labels)} classes{_list_labels(data.labels)}.",
        *([f"{recipe.description}."] if recipe.description else []),
        "",
        *(f"**Warning:** {line}.\n" for line in data.warnings),
        "## Accuracy",
        "",
        *_accuracy(recipe, data, outcomes),
        "",
        f"Measured in fp32 on these weights{rounded}. They are {averaged} after the last epoch of one training with "
        f"seed {recipe.seed}; neither an epoch nor a seed was picked by a test.",
        "One training says little about a design: training again with another seed moves accuracy and heatmaps alike.",
        "",
        "## Training",
        "",
        *(f"- {line}" for line in _facts(recipe, data, log, training)),
        "",
    ]
    return "\n".join(lines)


def _accuracy(recipe: Recipe, data: TrainingData, outcomes: dict[str, Outcome]) -> list[str]:
    trained_on_collages, tested_on_collages = (
        (spec or "").partition(":")[0] == "collage" for spec in (recipe.data.train, recipe.data.test)
    )
    meaning = {
        "test": f"`{recipe.data.test}`" + (": any background with any class" if tested_on_collages else ""),
        "held_out": f"images of `{recipe.data.train}` that were not trained on"
        + (": mostly the background that goes with the class" if trained_on_collages else ""),
    }
    lines = ["| images | top-1 | 95 % interval (Wilson) | right | of |", "|---|---|---|---|---|"]
    for name, o in outcomes.items():
        lines.append(f"| {meaning[name]} | {o.top1:.1%} | {o.low:.1%} to {o.high:.1%} | {o.right} | {o.count} |")
    lines.append("")
    if len(data.labels) > SHOWN:
        return [*lines, "Class by class: `training.accuracy` in `config.json`."]
    if trained_on_collages and tested_on_collages and "held_out" in outcomes:
        gap = 100 * (outcomes["test"].top1 - outcomes["held_out"].top1)
        lines += [
            f"From the accustomed backgrounds to any background the accuracy changes by {gap:+.1f} percentage points; "
            "a fall is what the network had read from the background in place of the object.",
            "",
        ]
    lines += ["| class | images trained on | " + " | ".join(outcomes) + " |", "|---" * (2 + len(outcomes)) + "|"]
    trained = Counter(data.train.targets)
    for number, label in enumerate(data.labels):
        cells = [o.classes.get(label, [0, 0]) for o in outcomes.values()]
        shown = (f"{right / count:.1%}" if count else "none" for right, count in cells)
        lines.append(f"| {label} | {trained[number]} | " + " | ".join(shown) + " |")
    return lines


def _facts(recipe: Recipe, data: TrainingData, log: list[dict[str, str]], training: dict) -> list[str]:
    optimizer, schedule, loop, augment = recipe.optimizer, recipe.schedule, recipe.loop, recipe.augment
    update = optimizer.name.upper()
    if optimizer.name == "sgd":
        update += f" with {'Nesterov ' if optimizer.nesterov else ''}momentum {optimizer.momentum:g}"
    held_out = f"; {len(data.tests['held_out'])} more held out" if "held_out" in data.tests else ""
    balanced = ", every class equally often" if recipe.data.balanced else ""
    crops = f"crops of {augment.scale[0]:.0%} to {augment.scale[1]:.0%} of the area"
    if augment.crop == "fixed":
        crops = f"crops of the photo at {recipe.input.resize} px with {augment.padding} px around it"
    accumulated = f" x {loop.accumulate}" if loop.accumulate > 1 else ""
    return [
        f"Command: `{training['command'] or 'das_explain.train.train'}`",
        f"Recipe: {recipe.name}; every setting is in `config.json` under `training.recipe`",
        f"Data: `{recipe.data.train}`: {data.per_epoch} images an epoch{balanced}, of {len(data.train)} images in all"
        f"{held_out}",
        *data.notes,
        f"Start: {recipe.model.warm_start or 'random weights'}, seed {recipe.seed}",
        f"Schedule: {schedule.epochs} epochs, batch {data.batch_size}{accumulated}, {update}, learning rate up to "
        f"{optimizer.lr:g}: warm-up over {schedule.warmup_epochs:g} epochs, then {describe_schedule(schedule)}",
        f"Regularisation: weight decay {optimizer.weight_decay:g}, label smoothing {loop.label_smoothing:g}",
        f"Views: {recipe.input.train_size or recipe.input.size} px, {crops}, "
        f"mirrored with probability {augment.flip:g}, brightness +- "
        f"{augment.brightness:g}, contrast +- {augment.contrast:g}, saturation +- {augment.saturation:g}; "
        f"tested at {recipe.input.size} px",
        f"Last epoch: loss {float(log[-1]['loss']):.3f}, top-1 "
        f"{float(log[-1][RANDOM_VIEWS + 'top1']):.1%} on the random views",
        f"Time: {clock(training['seconds'])} on {training['machine']}, precision {training['precision']}",
        f"Versions: {', '.join(f'{name} {number}' for name, number in training['versions'].items())}",
    ]


def describe_schedule(schedule: Schedule) -> str:
    """What the learning rate does after the warm-up, in a few words."""
    within = f" in {schedule.period:g} epochs" if schedule.period else ""
    return {
        "cosine": f"a cosine to 0{within}",
        "restarts": f"cosines to 0, the first{within}, each {schedule.period_factor} times as long as the last",
        "step": f"times {schedule.gamma:g} at epochs {', '.join(map(str, schedule.milestones))}",
        "exponential": f"times {schedule.gamma:g} after every epoch",
        "plateau": f"times {schedule.gamma:g} after {schedule.patience} epochs without a lower held-out loss",
        "constant": "constant",
    }[schedule.name]


def _list_labels(labels: Sequence[str]) -> str:
    return f": {', '.join(labels)}" if len(labels) <= SHOWN else ""


def clock(seconds: float) -> str:
    """4:07, or 1:02:33."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
