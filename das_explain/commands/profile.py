"""``das-explain profile``: parameters, multiply-accumulates, memory and time, true and as a paper would print them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from das_explain.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

Description = tuple[str, str, int, dict]  # architecture, attention, number of classes, arguments


def profile(
    models: Annotated[
        Optional[list[str]],  # noqa: UP045 - Typer on Python 3.10
        typer.Argument(metavar="MODEL...", help="ARCH[:ATTENTION] without weights, as resnet50:das; or a model spec."),
    ] = None,
    size: Annotated[
        Optional[int],  # noqa: UP045 - Typer on Python 3.10
        typer.Option(min=1, help="Side of the input in pixels [default: the model's own, or 224]."),
    ] = None,
    memory: Annotated[bool, typer.Option("--memory", help="Also the peak of activation memory.")] = False,
    time: Annotated[
        bool, typer.Option("--time", help="Also the time on this CPU, beside the plain backbone's in this process.")
    ] = False,
    table1: Annotated[bool, typer.Option("--table1", help="All of the DAS paper's Table 1 beside our counts.")] = False,
) -> None:
    """Count parameters and multiply-accumulates (MACs) for one image, beside the network's without attention."""
    if not models and not table1:
        raise UsageError("profile needs a MODEL, such as resnet50:das, or --table1")
    if models:
        _print_counts(models, size, memory, time)
    if table1:
        _print_table1()


def _print_counts(models: list[str], size: int | None, memory: bool, time: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from das_explain.nn.cost import peak_activations, relative_time
    from das_explain.nn.profile import profile as count

    table = Table(box=box.SIMPLE_HEAD, title="One image; + over the same network without attention")
    table.add_column("model", overflow="fold")
    columns = ["input", "M params\ntrue", "M params\nas published", "GMACs\ntrue", "GMACs\nas published"]
    columns += ["MB act.\npeak"] * memory + ["ms\n(x plain)"] * time
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
            cells.append(f"{1000 * seconds:.1f}\n({ratio:.2f})")
        table.add_row(name, f"{width}x{height}", *cells)
    console = Console()
    console.print(table)
    console.print(
        "As published: what the counter thop adds up. It sees called modules only, so no deformable kernel, and counts "
        "norms and pooling as well. True: every parameter; MACs of all convolutions, products and bilinear look-ups."
    )


def _print_table1() -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from das_explain.nn.tables import NOTES, TABLE1, agreement, count

    table = Table(box=box.SIMPLE_HEAD, title="DAS paper, Table 1: printed, and counted here", padding=(0, 1, 0, 0))
    table.add_column("network", no_wrap=True)
    for column in ("M par.", "ours", "GFLOPs", "ours", "top-1", "top-5"):
        table.add_column(column, justify="right", no_wrap=True)
    marks = {"rounded": "✓ ", "cut": "✓↓", "none": "✗ ", "-": "  "}
    wrong, agreed, printed_numbers = [], 0, 0
    for row in TABLE1:
        ours = count(row)
        found = [agreement(ours.parameters, row.parameters), agreement(ours.flops, row.flops)]
        agreed += sum(mark in ("rounded", "cut") for mark in found)
        printed_numbers += sum(mark != "-" for mark in found)
        name = row.backbone if row.attention == "none" else f"{row.backbone}:{row.attention}"
        if "none" in found:
            wrong.append(f"{name}: {NOTES[row.backbone, row.attention]}")
        table.add_row(
            name, row.parameters, f"{ours.parameters:.3f} {marks[found[0]]}",
            row.flops, f"{ours.flops:.3f} {marks[found[1]]}", row.top1, row.top5,
            end_section=row.attention == "das",
        )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(
        f"{agreed} of {printed_numbers} printed counts agree to the last digit (↓: cut there, not rounded). "
        "The das rows are counted by the rules of thop, without deformable kernels; the others have all their "
        "parameters, and FLOPs by the rules of ptflops. Accuracies are the paper's.\n"
    )
    for sentence in wrong:
        console.print(sentence)


def _open(text: str) -> tuple[str, nn.Module, Description, tuple[int, int]]:
    from das_explain.nn.registry import BACKBONES
    from das_explain.weights.build import build_network

    architecture, _, attention = text.partition(":")
    if architecture in BACKBONES and not Path(text).exists():
        description = architecture, attention or "none", 1000, {}
        return text, build_network(*description), description, (224, 224)

    from das_explain.checkpoint import load_model

    model = load_model(text, device="cpu")
    described = tuple(model.config[key] for key in ("architecture", "attention", "num_classes", "arguments"))
    return model.name, model.network, described, model.preprocess.geometry.size


def _without_attention(description: Description) -> nn.Module | None:
    """The plain network of the same backbone, number of classes and stem; ``None`` if the model is itself plain."""
    from das_explain.nn.registry import GATE_ARGUMENTS
    from das_explain.weights.build import build_network

    architecture, attention, num_classes, arguments = description
    if attention == "none":
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
