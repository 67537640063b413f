"""The empty network of a description: architecture, attention, arguments, number of classes.

An architecture is a backbone of ``nn.registry``, or ``torchvision:NAME`` or ``timm:NAME``, plain networks of theirs.
Descriptions come from files that anybody may have written, so everything is checked before anything is built.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import torch
import torchvision
from torch import nn

from das_explain.errors import DasExplainError, UsageError, missing_package
from das_explain.nn.registry import ATTENTION, BACKBONES, create_model

MAX_CLASSES = 1_000_000
TORCHVISION_ARGUMENTS = ("aux_logits", "transform_input")  # what GoogLeNet's and Inception's weights change


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
    source, colon, name = architecture.partition(":")
    if type(num_classes) is not int or not 1 <= num_classes <= MAX_CLASSES:
        raise UsageError(f"the number of classes must be a whole number in 1..{MAX_CLASSES}, not {num_classes!r}")
    if task == "detection":
        return _detector(architecture, attention, num_classes, arguments)
    if colon and source in ("torchvision", "timm"):
        if attention != "none":
            raise UsageError(f"{architecture} takes no attention; those that do are {', '.join(BACKBONES)}")
        return (_torchvision if source == "torchvision" else _timm)(name, num_classes, arguments)
    check_architecture(architecture, attention)
    with torch.device("meta"):
        return create_model(architecture, attention, num_classes, **check_arguments(architecture, attention, arguments))


def _detector(architecture: str, attention: str, num_classes: int, arguments: dict[str, Any]) -> nn.Module:
    from das_explain.nn.backbones.detection import DETECTOR_ARGUMENTS, check_backbone, create_detector

    check_backbone(architecture, attention)
    check_architecture(architecture, attention)
    own = {name: arguments.pop(name) for name in DETECTOR_ARGUMENTS if name in arguments}
    with torch.device("meta"):
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
    known = [*backbone_defaults(architecture), *(ATTENTION[attention].arguments if attention != "none" else ())]
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


def check_torchvision(name: str) -> None:
    """Raises ``UsageError`` unless torchvision has a classifier of that name."""
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        close = get_close_matches(name, known) or known[:0]
        hint = f"; did you mean {' or '.join(close)}?" if close else f"; it has {len(known)}, such as resnet50"
        raise UsageError(f"torchvision has no classifier {name!r}{hint}")


def import_timm() -> Any:
    """timm, or the error that names the extra to install."""
    try:
        import timm
    except ImportError:
        raise missing_package("timm", "timm", "a timm: model") from None
    return timm


def check_timm(name: str) -> None:
    """Raises ``UsageError`` unless timm has a network of that name (``resnet50`` or ``resnet50.a1_in1k``)."""
    timm = import_timm()
    if not timm.is_model(name):
        close = get_close_matches(name, timm.list_models())
        raise UsageError(f"timm has no model {name!r}" + (f"; did you mean {' or '.join(close)}?" if close else ""))


def _torchvision(name: str, num_classes: int, arguments: dict[str, Any]) -> nn.Module:
    check_torchvision(name)
    for key, value in arguments.items():
        if key not in TORCHVISION_ARGUMENTS or name not in ("googlenet", "inception_v3") or type(value) is not bool:
            raise UsageError(f"torchvision:{name} takes no argument {key}={value!r}")
    if name in ("googlenet", "inception_v3"):
        arguments = {"init_weights": False, **arguments}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torchvision.models.get_model(name, weights=None, num_classes=num_classes, **arguments)


def _timm(name: str, num_classes: int, arguments: dict[str, Any]) -> nn.Module:
    check_timm(name)
    if arguments:
        raise UsageError(f"timm:{name} takes no argument {next(iter(arguments))!r}")
    try:
        return import_timm().create_model(name, pretrained=False, num_classes=num_classes)
    except (RuntimeError, TypeError, ValueError) as error:
        raise DasExplainError(f"timm cannot build {name}: {str(error).splitlines()[0]}") from error
