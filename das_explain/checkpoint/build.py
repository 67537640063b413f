"""The empty network of a description: architecture, attention, arguments, number of classes.

An architecture is a backbone of ``nn.registry``, or ``torchvision:NAME`` or ``timm:NAME``, networks of theirs.
Descriptions come from files that anybody may have written, so everything is checked before anything is built.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from das_explain.errors import UsageError
from das_explain.nn.anywhere import THEIRS, create_theirs
from das_explain.nn.registry import ATTENTION, BACKBONES, create_model
from das_explain.nn.valueless import without_values

MAX_CLASSES = 1_000_000


def build_network(
    architecture: str,
    attention: str = "none",
    num_classes: int = 1000,
    arguments: Mapping[str, Any] | None = None,
    task: str = "classification",
) -> nn.Module:
    """An untrained network; for the registry's backbones on the meta device: it takes neither time nor memory.

    ``task="detection"`` makes a Faster R-CNN of a backbone; ``num_classes`` then counts the background.

    Raises:
        UsageError: an unknown architecture, attention or argument.
    """
    arguments = dict(arguments or {})
    source, colon, _ = architecture.partition(":")
    if type(num_classes) is not int or not 1 <= num_classes <= MAX_CLASSES:
        raise UsageError(f"the number of classes must be a whole number in 1..{MAX_CLASSES}, not {num_classes!r}")
    if task == "detection":
        return _detector(architecture, attention, num_classes, arguments)
    if colon and source in THEIRS:
        return create_theirs(architecture, attention, num_classes, arguments)
    if source == "transformers":
        raise UsageError(
            f"{architecture} cannot be built by name; transformers' own folder of it is what can be loaded"
        )
    check_architecture(architecture, attention)
    with without_values():
        return create_model(architecture, attention, num_classes, **check_arguments(architecture, attention, arguments))


def _detector(architecture: str, attention: str, num_classes: int, arguments: dict[str, Any]) -> nn.Module:
    from das_explain.nn.backbones.detection import DETECTOR_ARGUMENTS, check_backbone, create_detector

    check_backbone(architecture, attention)
    check_architecture(architecture, attention)
    own = {name: arguments.pop(name) for name in DETECTOR_ARGUMENTS if name in arguments}
    with without_values():
        checked = check_arguments(architecture, attention, arguments)
        return create_detector(architecture, attention, num_classes, **checked, **own)


def check_architecture(architecture: str, attention: str = "none") -> None:
    """Raises ``UsageError`` unless both are names of the registry."""
    if architecture not in BACKBONES:
        raise UsageError(f"unknown architecture {architecture!r}; known are {', '.join(BACKBONES)}")
    if attention != "none" and attention not in ATTENTION:
        raise UsageError(f"unknown attention {attention!r}; known are none, {', '.join(ATTENTION)}")


def check_arguments(architecture: str, attention: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as ``create_model`` takes them; ``gates`` may be a list or one name."""
    known = [*backbone_defaults(architecture), *(ATTENTION[attention].takes if attention != "none" else ())]
    if attention == "none":
        known.remove("gates")
    if unknown := [name for name in arguments if name not in known]:
        takes = ", ".join(known) or "no arguments"
        raise UsageError(f"{architecture} with attention {attention} takes no {unknown[0]!r}; it takes {takes}")
    checked = dict(arguments)
    if "gates" in checked:
        gates = checked["gates"]
        gates = (gates,) if isinstance(gates, str) else gates
        if not isinstance(gates, (list, tuple)) or not all(isinstance(place, str) for place in gates):
            raise UsageError(f"gates must be names of places, not {checked['gates']!r}")
        checked["gates"] = tuple(gates)
    if isinstance(checked.get("alpha"), bool):
        raise UsageError(f"alpha must be a number, not {checked['alpha']}")
    return checked


def backbone_defaults(architecture: str) -> dict[str, Any]:
    """The arguments of a backbone besides the number of classes, with their defaults."""
    parameters = inspect.signature(BACKBONES[architecture]).parameters.values()
    keywords = {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    return {name: default for name, default in keywords.items() if name != "num_classes"}


def head_name(network: nn.Module) -> str | None:
    """The name of the layer that gives the logits: the last linear one."""
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    return names[-1] if names else None


def classes_answered(rows: int) -> int:
    """The classes of a head of so many rows: one logit tells two classes apart."""
    return 2 if rows == 1 else rows


def class_count_of(network: nn.Module) -> int | None:
    """The rows of the layer that gives the logits; ``None`` where none of them is linear."""
    rows = [module.out_features for module in network.modules() if isinstance(module, nn.Linear)]
    return rows[-1] if rows else None
