"""A registry network's arguments, read off the names and shapes of its weights."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from torch import Tensor, nn

from das_explain.checkpoint.build import backbone_defaults, build_network, head_name
from das_explain.checkpoint.contents import channels_of_weights, make_grey
from das_explain.checkpoint.wrappers import OPTIONAL
from das_explain.errors import UsageError
from das_explain.nn.registry import ATTENTION, default_gates

GATE = re.compile(r"^(.*\.)?gate\d*\.")


def gate_of(key: str) -> str:
    """The gate that a key belongs to, ``layer1.gate.``; empty for any other key."""
    match = GATE.match(key)
    return match[0] if match else ""


def infer_arguments(
    architecture: str, attention: str, state: Mapping[str, Tensor], given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The network's arguments as far as the shapes of its weights tell them; those in ``given`` are left alone.

    ``stem`` is read off the first convolution, ``gates`` off the gates' names, ``alpha`` off what they compress to,
    ``kernel_size`` off their kernels.
    """
    given, defaults = dict(given or {}), backbone_defaults(architecture)
    inferred: dict[str, Any] = {}
    first = state.get("conv1.weight")
    if "stem" in defaults and first is not None and tuple(first.shape[2:]) == (3, 3):
        inferred["stem"] = "small"
    inferred |= infer_gates(attention, state)
    if attention != "none" and set(inferred.get("gates", ())) == set(default_gates(architecture, attention) or ()):
        inferred.pop("gates", None)
    arguments = {**inferred, **given}
    return {**_kernel_size(architecture, attention, state, arguments), **arguments}


def infer_gates(attention: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """``gates``, ``alpha`` and ``init``, off the names and shapes of the gates' weights, in whatever network they are.

    ``init`` only where it left a parameter, the strength of gates that started at the identity.
    """
    if attention == "none":
        return {}
    places = dict.fromkeys(_place(key) for key in state if GATE.match(key))
    inferred: dict[str, Any] = {"gates": tuple(sorted(places, key=_natural))} if places else {}
    if attention == "das":
        compressions = [state[key] for key in state if key.endswith(".pointwise.weight") and GATE.match(key)]
        alpha = _alpha(compressions)
        if alpha is not None:
            inferred["alpha"] = alpha
    elif any(key.endswith(".strength") and gate_of(key) for key in state):
        inferred["init"] = "identity"
    return inferred


def class_count(architecture: str, state: Mapping[str, Tensor], default: int = 1000) -> int:
    """The number of classes of a weight file for one of the registry's architectures, read off its head."""
    head = state.get(f"{_head(architecture)}.weight")
    return int(head.shape[0]) if head is not None and head.dim() == 2 and head.shape[0] else default


@cache
def shapes_of(
    architecture: str, attention: str, arguments: tuple = (), num_classes: int = 1000, channels: int = 3
) -> dict[str, tuple[int, ...]]:
    network = build_network(architecture, attention, num_classes, dict(arguments))
    state = (make_grey(network) if channels == 1 else network).state_dict()
    return {key: tuple(tensor.shape) for key, tensor in state.items() if not key.endswith(OPTIONAL)}


def channel_count(architecture: str, state: Mapping[str, Tensor]) -> int:
    """The number of channels of the images of a weight file for one of the registry's architectures."""
    return channels_of_weights(_untrained(architecture), state)


def _kernel_size(
    architecture: str, attention: str, state: Mapping[str, Tensor], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """``kernel_size``, where the gates' kernels are not the default ones: as published, or of one size for all."""
    if attention == "none" or "kernel_size" not in ATTENTION[attention].arguments or "kernel_size" in arguments:
        return {}
    gates = {key: tuple(t.shape) for key, t in state.items() if gate_of(key) and not key.endswith(OPTIONAL)}
    sizes = {shape[-1] for shape in gates.values() if len(shape) > 2}
    choices: list[dict[str, Any]] = [{}, {"kernel_size": "published"}]
    choices += [{"kernel_size": size} for size in sizes if len(sizes) == 1]
    for choice in choices:
        try:
            shapes = shapes_of(architecture, attention, tuple({**arguments, **choice}.items()))
        except UsageError:  # none are published, or the size is even
            continue
        if gates.items() <= shapes.items():
            return choice
    return {}


@cache
def _untrained(architecture: str) -> nn.Module:
    return build_network(architecture)


def _head(architecture: str) -> str | None:
    return head_name(_untrained(architecture))


def _place(key: str) -> str:
    """``layer1.gate.weight`` -> ``layer1``; ``layer1.gate0.weight`` -> ``layer1.0``."""
    stage, gate, _ = re.split(r"\.?gate(\d*)\.", key, maxsplit=1)
    return f"{stage}.{gate}" if gate else stage


def _natural(place: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in place.split(".")]


def _alpha(compressions: Iterable[Tensor]) -> float | None:
    """The roundest alpha for which int(alpha * c) is right for each gate; ``None`` if there is none."""
    pairs = [(tensor.shape[0], tensor.shape[1]) for tensor in compressions if tensor.dim() == 4]
    if not pairs:
        return None
    low = max(hidden / channels if hidden > 1 else 0.0 for hidden, channels in pairs)
    for alpha in (0.2, *(math.ceil(low * 10**digits) / 10**digits for digits in range(1, 7))):
        if 0 < alpha <= 1 and all(max(1, int(alpha * channels)) == hidden for hidden, channels in pairs):
            return alpha
    return None
