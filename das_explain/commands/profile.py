"""``das-explain profile``: parameters and multiply-accumulates, true and as a paper would print them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from torch import nn

Description = tuple[str, str, int, dict]  # architecture, attention, number of classes, arguments


def profile(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="ARCH[:ATTENTION] without weights, as resnet50:das; or a model spec."),
    ],
    size: Annotated[
        Optional[int],  # noqa: UP045 - Typer on Python 3.10
        typer.Option(min=1, help="Side of the input in pixels [default: the model's own, or 224]."),
    ] = None,
) -> None:
    """Count parameters and multiply-accumulates (MACs) for one image, beside the network's without attention."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from das_explain.nn.profile import profile as count

    table = Table(box=box.SIMPLE_HEAD, title="One image; + over the same network without attention")
    table.add_column("model", overflow="fold")
    for column in ("input", "M params\ntrue", "M params\nas published", "GMACs\ntrue", "GMACs\nas published"):
        table.add_column(column, justify="right", no_wrap=True)
    units = {"parameters": 1e6, "parameters_published": 1e6, "macs": 1e9, "macs_published": 1e9}
    for text in models:
        name, network, description, frame = _open(text)
        height, width = (size, size) if size else frame
        counts = count(network, (3, height, width))
        bare = _without_attention(description)
        base = count(bare, (3, height, width)) if bare is not None else None
        cells = [_cell(getattr(counts, field), getattr(base, field, None), unit) for field, unit in units.items()]
        table.add_row(name, f"{width}x{height}", *cells)
    console = Console()
    console.print(table)
    console.print(
        "As published: what the counter thop adds up. It sees called modules only, so no deformable kernel, and counts "
        "norms and pooling as well. True: every parameter; MACs of all convolutions, products and bilinear look-ups."
    )


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
    return build_network(architecture, "none", num_classes, own)


def _cell(value: int, base: int | None, unit: float) -> str:
    text = f"{value / unit:.3f}"
    return text if base is None else f"{text}\n{(value - base) / unit:+.3f}"
