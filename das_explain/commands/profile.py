"""``das-explain profile``: parameters, multiply-accumulates, memory and time, true and as a paper would print them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from das_explain.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

TABLES = ("1", "2", "4", "defcon1")
Description = tuple[str, str, int, dict]  # architecture, attention, number of classes, arguments


def profile(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL...]", help="ARCH[:ATTENTION][?key=value], as resnet50:das?alpha=0.1; or a model spec."
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=1, max=2048, metavar="N", help="Side of the input in pixels; the model's own, or 224, unless given."
        ),
    ] = None,
    memory: Annotated[bool, typer.Option(help="The peak of activation memory.")] = True,
    time: Annotated[
        bool, typer.Option(help="The time on this CPU, beside the plain backbone's in this process.")
    ] = True,
    table: Annotated[
        list[str] | None,
        typer.Option(
            metavar="1|2|4|defcon1",
            help="A table of the papers beside our counts: DAS 1, 2, 4; DEFCON-1's. None unless given.",
        ),
    ] = None,
    table1: Annotated[bool, typer.Option("--table1", help="The same as --table 1.")] = False,
) -> None:
    """Count parameters, multiply-accumulates (MACs), memory and time of one image, beside the plain network's.

    Example: das-explain profile resnet50:das 'resnet18:das?alpha=0.1'
    """
    tables = list(dict.fromkeys(["1"] * table1 + (table or [])))
    if not models and not tables:
        raise UsageError("profile needs a MODEL, such as resnet50:das, or --table 1")
    if unknown := [each for each in tables if each not in TABLES]:
        raise UsageError(f"--table {unknown[0]} is unknown; choose {', '.join(TABLES)}")
    if models:
        _print_counts(models, size, memory, time)
    for each in tables:
        _print_comparison(each)


def _print_counts(models: list[str], size: int | None, memory: bool, time: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from das_explain.nn.counts.cost import peak_activations, relative_time
    from das_explain.nn.counts.profile import profile as count

    table = Table(box=box.SIMPLE_HEAD, title="One image; + over the same network without attention")
    table.add_column("model", overflow="fold", min_width=12)
    columns = ["input", "M par.\ntrue", "M par.\npubl.", "GMACs\ntrue", "GMACs\npubl."]
    columns += ["MB\npeak"] * memory + ["ms\n(ratio)"] * time
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    units = {"parameters": 1e6, "parameters_published": 1e6, "macs": 1e9, "macs_published": 1e9}
    for text in models:
        name, network, description, frame = _open(text)
        height, width = (size, size) if size else frame
        shape = (3, height, width)
        counts = count(network, shape)
        bare = _without_attention(description)
        base = count(bare, shape) if bare is not None else None
        cells = [_cell(getattr(counts, field), getattr(base, field, None), unit) for field, unit in units.items()]
        if memory:
            least = peak_activations(bare, shape) if bare is not None else None
            cells.append(_cell(peak_activations(network, shape), least, 1e6))
        if time:
            plain = _real(bare if bare is not None else network)
            seconds, ratio = relative_time(_real(network), plain, shape)
            cells.append(f"{1000 * seconds:.1f}" + f"\n({ratio:.2f})" * (bare is not None))
        table.add_row(name, f"{width}x{height}", *cells)
    console = Console(markup=False)
    console.print(table)
    console.print(
        "publ., as published: what the counter thop adds up. It sees called modules only, so no deformable kernel, and "
        "counts norms and pooling as well. true: every parameter; MACs of all convolutions, products and bilinear "
        "look-ups."
        + " peak: the most that activations take at once, without gradients." * memory
        + " ms: on this CPU; ratio: to the network without attention, run in turns with it." * time
    )


def _print_comparison(key: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from das_explain.nn.counts.comparison import COMPARISONS

    paper = COMPARISONS[key]
    table = Table(box=box.SIMPLE_HEAD, title=f"{paper.title}: printed, and counted here", padding=(0, 1, 0, 0))
    table.add_column("network", no_wrap=True)
    columns = [name for column in paper.columns for name in (column, "ours")]
    for column in (*columns, *paper.results):
        table.add_column(column, justify="right", no_wrap=True)
    marks = {"rounded": "✓ ", "cut": "✓↓", "none": "✗ ", "-": "  "}
    agreements, notes = [], []
    for line in paper.lines():
        found = [number.agreement for number in line.numbers]
        agreements += [each for each in found if each != "-"]
        if line.note is not None:
            notes.append(f"{line.name}: {line.note}")
        counts = [
            cell
            for number, mark in zip(line.numbers, found, strict=True)
            for cell in (number.printed, f"{number.ours:.{number.decimals}f} {marks[mark]}")
        ]
        table.add_row(line.name, *counts, *line.results, end_section=line.last)
    console = Console(markup=False)
    console.print(table)
    agreed = len(agreements) - agreements.count("none")
    cut = " (↓: cut there, not rounded)" if "cut" in agreements else ""
    accuracies = " Accuracies are the paper's." if paper.results else ""
    console.print(
        f"{agreed} of {len(agreements)} printed counts agree to the last digit{cut}. {paper.reading}{accuracies}\n"
    )
    for sentence in notes:
        console.print(sentence)


def _open(text: str) -> tuple[str, nn.Module, Description, tuple[int, int]]:
    from das_explain.checkpoint.build import build_network
    from das_explain.checkpoint.spec import split_options
    from das_explain.nn.registry import BACKBONES

    body, options = split_options(text)
    architecture, _, attention = body.partition(":")
    if architecture in BACKBONES and not Path(text).exists():
        description = architecture, attention or "none", options.pop("num_classes", 1000), options
        return text, build_network(*description), description, (224, 224)

    from das_explain.checkpoint.load import load_model

    model = load_model(text, device="cpu")
    described = tuple(model.config[key] for key in ("architecture", "attention", "num_classes", "arguments"))
    return model.name, model.network, described, model.preprocess.geometry.size


def _without_attention(description: Description) -> nn.Module | None:
    """The plain network of the same backbone, number of classes and stem; ``None`` if the model is itself plain, or its
    backbone is somebody's own code."""
    from das_explain.checkpoint.build import build_network
    from das_explain.nn.anywhere import THEIRS
    from das_explain.nn.registry import BACKBONES, GATE_ARGUMENTS

    architecture, attention, num_classes, arguments = description
    if attention == "none" or (architecture not in BACKBONES and architecture.partition(":")[0] not in THEIRS):
        return None
    own = {key: value for key, value in arguments.items() if key not in GATE_ARGUMENTS}
    own.pop("gates", None)  # of no use without attention, and named after it
    return build_network(architecture, "none", num_classes, own)


def _real(network: nn.Module) -> nn.Module:
    """The network, or, if it is only shapes, one of those shapes with small weights: time does not depend on them."""
    import torch

    if not next(network.parameters()).is_meta:
        return network
    network = network.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.fill_(0.01) if tensor.is_floating_point() else tensor.zero_()
    return network


def _cell(value: int, base: int | None, unit: float) -> str:
    text = f"{value / unit:.3f}"
    return text if base is None else f"{text}\n{(value - base) / unit:+.3f}"
