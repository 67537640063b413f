"""Which entry of what a training loop saved holds the weights: an average of them goes before the weights it is of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from das_explain.checkpoint.pickled import StandIn, state_of_module

ENTRIES = (
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema_model",
    "ema",
    "shadow",
    "state_dict",
    "model_state_dict",
    "model",
    "network",
    "net",
    "module",
)
"""Where training loops keep the weights, best first: an average of the weights is what its recipe is judged by."""
AVERAGES = re.compile(r"ema|shadow|averag|(?<![a-z])swa(?![a-z])")
"""Parts of the names of averages; SwAV is none."""
SHADOWS = ("shadow_params", "ema_weights")
"""Averages without names, lists of tensors in their order: torch_ema's of parameters, NeMo's of the whole state dict."""
DEEPEST = 6  # dictionaries within dictionaries
LEAST = 1 / 3
"""Of the tensors of the weights: an average of parameters alone has more, a record of something else fewer."""


def is_average(name: str) -> bool:
    """Whether an entry or a prefix is called as averages of weights are."""
    return bool(AVERAGES.search(name.lower()))


def choose_entry(content: Mapping[Any, Any], filled: Sequence[str]) -> str | None:
    """The entry to be taken of those that are ``filled`` with weights, by its name; ``None`` where none has a known one."""
    found = "state_dict" if is_swapped(content) else next((key for key in ENTRIES if key in filled), None)
    return found and (average_of(content, filled, found) or found)


def only_entry(content: Mapping[Any, Any], filled: Sequence[str]) -> str | None:
    """The entry to be taken where none has a known name: the only one, or the average of the only one."""
    plain = [key for key in filled if not keeps_average(key, content[key])] or filled
    return (average_of(content, filled, plain[0]) or plain[0]) if len(plain) == 1 else None


def average_of(content: Mapping[Any, Any], filled: Sequence[str], plain: str) -> str | None:
    """The entry with an average of the weights in ``plain``, by its name or by what is in it; ``None`` if there is none."""
    if is_average(plain) or is_swapped(content):
        return None
    least = LEAST * _count(content[plain])
    others = [key for key in filled if key != plain and not key.startswith("optim")]
    large = [key for key in others if _count(content[key]) >= least]
    named = [key for key in large if is_average(key)]
    return next(iter((*named, *(key for key in large if keeps_average(key, content[key])))), None)


def is_swapped(content: Mapping[Any, Any]) -> bool:
    """Whether it is mmengine's, which puts the average into ``state_dict`` and the weights into ``ema_state_dict``."""
    meta = content.get("meta")
    return (
        isinstance(meta, Mapping) and "mmengine_version" in meta and {"state_dict", "ema_state_dict"} <= content.keys()
    )


def keeps_average(key: str, value: Any) -> bool:
    """Whether an entry is an average, or has one somewhere below it, as the states of callbacks have."""
    if is_average(key) and holds_weights(value):
        return True
    below = () if key in ENTRIES else [each for each in _below(value) if isinstance(each, Mapping)]
    return any(shadow_in(each) for each in below) or any(
        is_average(name) and holds_weights(inner)
        for each in below
        for name, inner in each.items()
        if isinstance(name, str) and not name.startswith("optim")
    )


def holds_weights(value: Any, depth: int = 0) -> bool:
    """Whether a value is a state dict, or has one somewhere below it; an empty one is passed over."""
    if isinstance(value, StandIn):
        return bool(state_of_module(value))
    if not isinstance(value, Mapping) or depth > DEEPEST:
        return False
    if shadow_in(value):
        return True
    named = {key: each for key, each in value.items() if isinstance(key, str)}
    if sum(isinstance(each, Tensor) and each.dim() > 0 for each in named.values()) > len(value) / 4:
        return True
    return any(holds_weights(each, depth + 1) for key, each in named.items() if not key.startswith("optim"))


def shadow_in(value: Mapping[Any, Any]) -> str | None:
    """The name of an average without names in a dictionary."""
    for name in SHADOWS:
        shadow = value.get(name)
        if isinstance(shadow, (list, tuple)) and shadow and all(isinstance(each, Tensor) for each in shadow):
            return name
    return None


def _count(value: Any) -> int:
    """How many tensors there are in it."""
    return sum(isinstance(each, Tensor) for each in _below(value))


def _below(value: Any) -> Iterator[Any]:
    """It and what is in it, once each, however often a file refers to it; not what is within optimizers."""
    seen, left = set(), [value]
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, StandIn):
            each = state_of_module(each)
        if isinstance(each, Mapping):
            left += [inner for key, inner in each.items() if not (isinstance(key, str) and key.startswith("optim"))]
        elif isinstance(each, (list, tuple)):
            left += each
