"""``das-explain models``: what can be built, what is in a checkpoint, and a model directory from any model spec."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from das_explain.commands.help import Command, Group
from das_explain.commands.say import say
from das_explain.text import cut_middle, spelled

if TYPE_CHECKING:
    from das_explain.accuracy.detectors import LoadedDetector
    from das_explain.checkpoint.model import LoadedModel

app = typer.Typer(
    cls=Group,
    help="The known networks (no sub-command), what is in a checkpoint (show), and model directories (pack).\n\n"
    "Example: das-explain models",
    invoke_without_command=True,
)
SPEC = typer.Argument(metavar="SPEC", help="A model; das-explain help models says what it may be.")
LABELS = typer.Option(
    metavar="FILE",
    help="Class names in logit order, a line each or a JSON list; the checkpoint's own unless given.",
)


@app.callback()
def known(context: typer.Context) -> None:
    """List the known networks: parameters plain and with each attention, and the blocks that have names."""
    if context.invoked_subcommand is not None:
        return
    from das_explain.checkpoint.build import build_network
    from das_explain.commands.tables import print_table
    from das_explain.nn.registry import ATTENTION, BACKBONES, BLOCKS

    kinds = ("none", "das")
    rows = [
        (name, *(f"{_millions(build_network(name, kind)):.2f}" for kind in kinds), ", ".join(BLOCKS[name]))
        for name in BACKBONES
    ]
    title = "Parameters by attention (1000 classes), in millions"
    print_table(("ARCH", *kinds, "blocks"), rows, title=title)
    say(f"ATTENTION: {', '.join(ATTENTION)}; das-explain profile ARCH:ATTENTION counts a network with it.")
    say("Weights: FILE.pth@ARCH[:ATTENTION], a model directory, or torchvision:, timm:, hf:, python: networks.")


@app.command(cls=Command)
def show(
    spec: Annotated[str, SPEC],
    labels: Annotated[Path | None, LABELS] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Show what a model spec gives: architecture, classes, blocks, preprocessing, training, fingerprint.

    Example: das-explain models show das.pth@resnet50:das
    """
    import json

    from das_explain.accuracy.detectors import is_detector, load_detector
    from das_explain.checkpoint.load import load_model

    if is_detector(spec) and labels is None:
        facts = _facts(load_detector(spec, device="cpu"))
    else:
        facts = _facts(load_model(spec, device="cpu", labels=labels))
    if as_json:
        for line in json.dumps(facts, indent=2, default=str).split(
            "\n"
        ):  # ASCII, which every terminal and program reads
            say(line)
        return
    names, notes, training = facts.pop("labels"), facts.pop("notes"), facts.pop("training")
    facts["classes"] = f"{facts['classes']}: {_some(names)}" if names else f"{facts['classes']}, without names"
    facts["parameters"] = f"{facts['parameters']:,}"
    for key, value in facts.items():
        if value not in (None, {}):
            say(f"{key:<14}{_line(value)}")
    for note in notes:
        say(f"{'note':<14}{note}")
    _print_training(training)


@app.command(cls=Command)
def pack(
    spec: Annotated[str, SPEC],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The model directory to write.")],
    labels: Annotated[Path | None, LABELS] = None,
    card: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A model card; it becomes README.md; none unless given."),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store float16: half the size.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a model that is there.")] = False,
) -> None:
    """Write a model directory from any model spec.

    Example: das-explain models pack das.pth@resnet50:das my-model --labels classes.txt
    """
    from das_explain.checkpoint.config import CARD, CONFIG, WEIGHTS, read_config
    from das_explain.checkpoint.load import load_model, save_model
    from das_explain.errors import DasExplainError, UsageError
    from das_explain.files import read_regular
    from das_explain.folders import check_folder

    check_folder(directory)
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file; name a directory to write")
    if directory.is_dir() and any(directory.iterdir()) and not force:
        raise UsageError(f"{directory} is not empty; --force replaces the model in it")
    if any(os.path.lexists(directory / name) for name in (CONFIG, WEIGHTS, CARD)):
        try:
            read_config(directory / CONFIG)
        except DasExplainError as error:
            raise UsageError(
                f"{directory} is not empty and holds no model of das-explain ({error}); name another folder"
            ) from None
    try:
        text = read_regular(card, "model card").decode("utf-8") if card else None
    except UnicodeDecodeError as error:
        raise DasExplainError(f"{card} cannot be read as a model card: {error}") from None
    model = load_model(spec, device="cpu", labels=labels)
    config = model.config
    if config["architecture"].startswith("python:"):
        raise UsageError(f"{spec} is your own Python; a model directory holds only networks that can be built by name")
    if config["gates"]:
        raise UsageError(f"{spec}: a model directory holds weights, which +gates= does not change; pack it without")
    save_model(
        directory,
        model.network,
        architecture=config["architecture"],
        attention=config["attention"],
        arguments=config["arguments"],
        num_classes=config["rows"],
        labels=model.labels,
        preprocess=model.preprocess,
        training=config["training"],
        card=text,
        half=half,
    )
    say(f"{directory}: {load_model(str(directory), device='cpu').fingerprint}")


def _facts(model: LoadedModel | LoadedDetector) -> dict:
    config = model.config
    explained: dict[str, Any] = {}
    if (task := config.get("task", "classification")) != "detection":
        model = cast("LoadedModel", model)
        explained = {"blocks": list(model.blocks), "preprocess": model.preprocess.to_config()}
    return {
        "name": model.name,
        "spec": model.spec,
        "task": task,
        "architecture": config["architecture"],
        "attention": config["attention"],
        "arguments": config["arguments"],
        "gates": config["gates"],
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "classes": config["num_classes"],
        "labels": model.labels,
        **explained,
        "training": config["training"],
        "fingerprint": model.fingerprint,
        "notes": config["notes"],
    }


def _print_training(training: dict | None) -> None:
    """The recipe, the machine and the accuracy, a row for all that belongs together."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="training", show_header=False)
    for name, text in _settings({"run": training or {}}):
        table.add_row(*(Text(spelled(each, backslash=False)) for each in (name.removeprefix("run."), text)))
    if table.row_count:
        Console().print(table)


def _settings(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """``recipe.optimizer`` -> ``name sgd, lr 0.05``: what has parts comes after what has none; what is empty, not."""
    if single := {key: value for key, value in values.items() if not isinstance(value, (dict, type(None)))}:
        yield above, ", ".join(f"{key} {_setting(value)}" for key, value in single.items())
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{above}.{key}".lstrip("."))


def _setting(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return f"({_line(value)})"
    text = _line(value)
    return text if " " in text else cut_middle(text, 40)  # a hash


def _millions(network) -> float:
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" ... {names[-1]}" if len(names) > 6 else "")


def _line(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_line(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_line, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
