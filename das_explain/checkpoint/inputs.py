"""How a network wants its photos: as it carries it itself, as its user says, or, said aloud, as is usual."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from das_explain.checkpoint.config import MAX_RESIZE, MAX_SIDE, MAX_VALUE, check_preprocess
from das_explain.checkpoint.layouts.transformers import processor_preprocess
from das_explain.checkpoint.sizes import in_words
from das_explain.checkpoint.timm_networks import timm_preprocess
from das_explain.checkpoint.torchvision_networks import preset_preprocess
from das_explain.data.geometry import FILTERS, Preprocess
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn.running import channels_of

GIVEN = ("size", "resize", "interpolation", "fit", "mean", "std")
"""What may be said of a model's input, as ``?key=value`` after a spec or as an argument."""


def carried_preprocess(network: nn.Module, text: str) -> tuple[Preprocess, str] | None:
    """What a network says of its input, and where it says so; ``None`` if it does not.

    timm's ``pretrained_cfg``, torchvision's ``weights`` (or the ``transforms`` of them), transformers' ``processor`` or
    ``image_processor``, this project's ``preprocess``: on the network, or on the one part of it that has any.

    Raises:
        DasExplainError: it is not as these write it; ``text`` is the spec, for the message.
    """
    own = _carried(network, text)
    if own is not None:
        return own
    parts = [(name, found) for name, part in network.named_modules() if name and (found := _carried(part, text))]
    outermost = [each for each in parts if not any(each[0].startswith(f"{other}.") for other, _ in parts)]
    if len({found[0] for _, found in outermost}) != 1:
        return None
    name, (preprocess, attribute) = outermost[0]
    return preprocess, f"{name}.{attribute}"


def _carried(module: nn.Module, text: str) -> tuple[Preprocess, str] | None:
    for attribute, read in _READERS.items():
        value = getattr(module, attribute, None)
        if value is None or (isinstance(value, nn.Module) and not hasattr(value, "crop_size")):  # torchvision's is one
            continue
        try:
            found = read(value, f"{text}: {attribute}")
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
            raise DasExplainError(f"{text}: its {attribute} is not as its library writes it ({error})") from None
        if found is not None:
            return found, attribute
    return None


def _of_timm(value: Any, where: str) -> Preprocess | None:
    config = (
        value if isinstance(value, Mapping) else dataclasses.asdict(value) if dataclasses.is_dataclass(value) else {}
    )
    if not config.get("mean") or not config.get("input_size"):
        return None
    return check_preprocess(timm_preprocess(config, where), where)


def _of_torchvision(value: Any, where: str) -> Preprocess | None:
    preset = value.transforms() if hasattr(value, "transforms") else value() if hasattr(value, "func") else value
    return preset_preprocess(preset) if hasattr(preset, "crop_size") else None


def _of_transformers(value: Any, where: str) -> Preprocess | None:
    value = getattr(value, "image_processor", value)
    return processor_preprocess(value.to_dict(), where)[0] if hasattr(value, "to_dict") else None


def _of_ours(value: Any, where: str) -> Preprocess | None:
    return value if isinstance(value, Preprocess) else None


_READERS = {
    "preprocess": _of_ours,
    "pretrained_cfg": _of_timm,
    "weights": _of_torchvision,
    "transforms": _of_torchvision,
    "processor": _of_transformers,
    "image_processor": _of_transformers,
}
"""Attribute -> what reads it, the surest first."""


def prepare(preprocess: Preprocess, given: Mapping[str, Any], text: str) -> Preprocess:
    """What is known of a model's input, with what its user says (keys of ``GIVEN``, ``None`` for nothing) in its place.

    Raises:
        UsageError: a value that is none; ``text`` is the spec, for the message.
    """
    given = {key: value for key, value in given.items() if value is not None}
    if "size" in given:
        preprocess = preprocess.resized(sides_of(given["size"], text))
    changed = preprocess.to_config()
    if "resize" in given:
        changed["resize"] = sides_of(given["resize"], text, "resize")[0]
    for key, known in (("interpolation", tuple(FILTERS)), ("fit", ("crop", "squash"))):
        if key in given and given[key] not in known:
            raise UsageError(f"{text}: {key}={given[key]} must be {', '.join(known)}")
        changed[key] = given.get(key, changed[key])
    for key, low in (("mean", -MAX_VALUE), ("std", 0.0)):
        if key in given:
            changed[key] = _numbers(key, given[key], low, text)
    one = [len(changed[key]) == 1 for key in ("mean", "std")]
    if one[0] != one[1]:  # one number stands for every channel
        short = "mean" if one[0] else "std"
        changed[short] = changed[short] * 3
    return Preprocess.from_config(changed)


def differing(carried: Preprocess, used: Preprocess, given: Mapping[str, Any]) -> str:
    """In which of the values that were given a network is run otherwise than it says; empty where in none."""
    own, ours = carried.to_config(), used.to_config()
    named = [key for key in GIVEN if given.get(key) is not None and list_of(own[key]) != list_of(ours[key])]
    return ", ".join(f"{key} {_words(ours[key], key)} in place of {_words(own[key], key)}" for key in named)


def for_channels(preprocess: Preprocess, network: nn.Module, text: str) -> tuple[Preprocess, str | None]:
    """The same for as many channels as the network takes, and a sentence where something had to be assumed.

    Raises:
        DasExplainError: three numbers for grey images.
    """
    channels = channels_of(network)
    if channels == preprocess.channels:
        return preprocess, None
    if channels == 3:
        return dataclasses.replace(preprocess, mean=preprocess.mean * 3, std=preprocess.std * 3), None
    mean, std = (round(sum(each) / 3, 6) for each in (preprocess.mean, preprocess.std))
    told = f"{text}: it takes grey images; mean {mean:g} and std {std:g}, the average of RGB's, unless ?mean= and ?std= say"
    return dataclasses.replace(preprocess, mean=(mean,), std=(std,)), told


def list_of(value: Any) -> Any:
    """Tuples as lists, so that they compare."""
    return list(value) if isinstance(value, (tuple, list)) else value


def sides_of(value: Any, text: str, key: str = "size") -> tuple[int, int]:
    """(height, width) of a side, a pair, or ``HEIGHTxWIDTH``. Raises UsageError for anything else."""
    most = MAX_RESIZE if key == "resize" else MAX_SIDE
    sides = value.split("x") if isinstance(value, str) else value if isinstance(value, (tuple, list)) else [value]
    whole = [
        int(side) for side in sides if type(side) is int or (isinstance(side, str) and re.fullmatch("[0-9]{1,9}", side))
    ]
    if len(whole) != len(sides) or len(whole) not in (1, 2) or not all(1 <= side <= most for side in whole):
        said = f"{text}: {key}={value} must be a side or HEIGHTxWIDTH, in pixels, at most {most}"
        raise UsageError(
            said
            if isinstance(value, str)
            else f"{key} must be a side or (height, width) in pixels, at most {most}, not {value!r}"
        )
    return whole[0], whole[-1]


def _numbers(key: str, value: Any, low: float, text: str) -> list[float]:
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, (tuple, list)) else [value]
    try:
        numbers = [float(part) for part in parts]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) not in (1, 3) or not all(low < number < MAX_VALUE for number in numbers):
        raise UsageError(
            f"{text}: {key} must be three {'positive ' * (low == 0)}numbers, or one for all, not {value!r}"
        )
    return numbers


def _words(value: Any, key: str) -> str:
    if key == "size":
        return in_words(value)
    return " ".join(f"{each:g}" for each in value) if isinstance(value, (tuple, list)) else str(value)
