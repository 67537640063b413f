"""What a detector's model directory says about its training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from das_explain.train.card import clock, describe_schedule, describe_training
from das_explain.train.schema import Recipe

if TYPE_CHECKING:
    from das_explain.accuracy.average_precision import AveragePrecision
    from das_explain.train.coco import DetectionData


def detector_card(
    recipe: Recipe,
    data: DetectionData,
    ap: AveragePrecision,
    unread: dict[str, str],
    log: list[dict[str, str]],
    *,
    precision: str,
    command: str | None,
) -> tuple[dict, str]:
    """``(training, card)``, as ``card.model_card``; ``unread``: test image -> why it could not be read."""
    training = {
        **describe_training(recipe, data.fingerprints, log, precision, command, "pycocotools"),
        "ap": ap.values,
        "ap_by_category": {data.test.categories[n]: values["AP"] for n, values in ap.classes.items()},
        "tested": len(data.test) - len(unread),
        "unreadable": unread,
    }
    return training, _text(recipe, data, log, training)


def _text(recipe: Recipe, data: DetectionData, log: list[dict[str, str]], training: dict) -> str:
    model, optimizer, schedule, initial = recipe.model, recipe.optimizer, recipe.schedule, recipe.initial
    gated = "" if model.attention == "none" else f" with {model.attention.upper()} attention"
    update = f"{optimizer.name.upper()}, weight decay {optimizer.weight_decay:g}"
    first = ""
    if initial.epochs:
        what = "all of it" if initial.train == "all" else "the backbone alone"
        first = f"{initial.epochs} epochs of initial training ({what}, constant rate), then anew with its weights "
    ap = training["ap"]
    lines = [
        f"# {recipe.name}",
        "",
        f"Faster R-CNN with an FPN on {model.architecture}{gated}; {len(data.labels) - 1} categories.",
        "",
        "## Average precision",
        "",
        f"On the {training['tested']} images of `{recipe.data.test}`, by pycocotools"
        + (f"; {len(training['unreadable'])} more could not be read" if training["unreadable"] else "")
        + ". Empty: no object is of that size.",
        "",
        "| " + " | ".join(ap) + " |",
        "|---" * len(ap) + "|",
        "| " + " | ".join("" if value is None else f"{100 * value:.1f}" for value in ap.values()) + " |",
        "",
        f"Measured in fp32 on these weights, those after the last epoch of one training with seed {recipe.seed}.",
        "",
        "## Training",
        "",
        f"- Command: `{training['command'] or 'das_explain.train.train'}`",
        f"- Data: `{recipe.data.train}`: {data.per_epoch} images an epoch, of {len(data.train)} with boxes",
        f"- Start: backbone {model.warm_start or 'random'}, the rest random, seed {recipe.seed}",
        f"- Schedule: {first}{schedule.epochs - initial.epochs} epochs, batch {data.batch_size}, {update}, learning rate "
        f"up to {optimizer.lr:g}: warm-up over {schedule.warmup_epochs:g} epochs, then {describe_schedule(schedule)}",
        f"- Last epoch: loss {float(log[-1]['loss']):.3f}",
        f"- Time: {clock(training['seconds'])} on {training['machine']}, precision {training['precision']}",
        f"- Versions: {', '.join(f'{name} {number}' for name, number in training['versions'].items())}",
        "",
    ]
    return "\n".join(lines)
