"""Name -> network. A new attention module is one file and one line in ``ATTENTION``; a new backbone likewise."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from das_explain.errors import UsageError
from das_explain.nn.das import DASGate
from das_explain.nn.mobilenet import PAPER_GATES, mobilenet_v2
from das_explain.nn.resnet import STAGES, resnet

BACKBONES: dict[str, Callable[..., nn.Module]] = {
    **{name: partial(resnet, name) for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")},
    "mobilenet_v2": mobilenet_v2,
}
ATTENTION: dict[str, Callable[..., nn.Module]] = {"das": DASGate}
GATE_ARGUMENTS = ("alpha", "init")
BLOCKS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys([name for name in BACKBONES if name.startswith("resnet")], STAGES),
    "mobilenet_v2": PAPER_GATES,
}
"""The blocks of each backbone that can be explained by name, in forward order; the last two are the default."""


def create_model(backbone: str, attention: str = "none", num_classes: int = 1000, **kwargs: Any) -> nn.Module:
    """Builds a network with random weights.

    Args:
        backbone: a key of ``BACKBONES``.
        attention: ``none`` or a key of ``ATTENTION``. ``none`` takes torchvision's state dicts as they are.
        num_classes: number of logits.
        **kwargs: the gate's (``alpha=0.2``, ``init``) and the backbone's (``gates``, ``stem``) arguments.

    Raises:
        UsageError: an unknown name or argument.
    """
    if backbone not in BACKBONES:
        raise UsageError(f"unknown backbone {backbone!r}; choose among {', '.join(BACKBONES)}")
    if attention != "none" and attention not in ATTENTION:
        raise UsageError(f"unknown attention {attention!r}; choose among none, {', '.join(ATTENTION)}")
    gate_arguments = {name: kwargs.pop(name) for name in GATE_ARGUMENTS if name in kwargs}
    make_gate = None if attention == "none" else partial(ATTENTION[attention], **gate_arguments)
    try:
        return BACKBONES[backbone](make_gate, num_classes=num_classes, **kwargs)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"cannot build {backbone} with attention {attention}: {error}") from None


def _das(backbone: str) -> Callable[..., nn.Module]:
    def build(num_classes: int = 1000, **kwargs: Any) -> nn.Module:
        return create_model(backbone, attention="das", num_classes=num_classes, **kwargs)

    build.__name__ = f"das_{backbone}"
    build.__doc__ = f"{backbone} with DAS gates; arguments as ``create_model``."
    return build


das_resnet18, das_resnet50, das_resnet101 = _das("resnet18"), _das("resnet50"), _das("resnet101")
das_mobilenet_v2 = _das("mobilenet_v2")
