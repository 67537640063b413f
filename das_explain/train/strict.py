"""A tree of plain values -> dataclasses, strictly: a key that is no field and a value of the wrong type are errors.

The error names the key, and for a misspelt one its close matches.
"""

from __future__ import annotations

import difflib
import sys
import types
import typing
from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar

from das_explain.errors import UsageError
from das_explain.text import cut_middle, shown

T = TypeVar("T")

LONGEST_KEY = 60  # characters of an unknown key in a message


def build(cls: type[T], tree: Any, where: str = "", *, of: str = "recipe") -> T:
    """``cls`` from nested dicts; ``where`` is the dotted key of ``tree``, ``of`` what it is a tree of. Raises
    ``UsageError``."""
    if not isinstance(tree, dict):
        raise UsageError(f"{where}: expected keys and values, found {shown(tree)}")
    hints = typing.get_type_hints(cls)
    prefix = f"{where}." if where else ""
    for key in tree:
        if key not in hints:
            hint = close_matches(str(key), hints)
            known = ", ".join(hints)
            raise UsageError(f"unknown key {prefix}{cut_middle(str(key), LONGEST_KEY)}{hint}; it may be {known}")
    values = {key: _convert(hints[key], value, f"{prefix}{key}") for key, value in tree.items()}
    for item in fields(cls):
        if item.name not in values and item.default is MISSING and item.default_factory is MISSING:
            raise UsageError(f"the {of} lacks {prefix}{item.name}")
    return cls(**values)


def _convert(kind: Any, value: Any, key: str) -> Any:
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        return build(kind, value, key)
    if origin is Literal:
        word = value if isinstance(value, str) else shown(value)
        if word in options:
            return word
        raise UsageError(
            f"{key} cannot be {shown(value)}{close_matches(word, options)}; it is one of {', '.join(options)}"
        )
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in options:
            return None
        for option in (option for option in options if option is not type(None)):
            try:
                return _convert(option, value, key)
            except UsageError:
                continue
        raise UsageError(f"{key} cannot be {shown(value)}: expected {' or '.join(map(_say, options))}")
    if origin is tuple and isinstance(value, (list, tuple)):
        if options[-1] is Ellipsis:
            return tuple(_convert(options[0], item, key) for item in value)
        if len(value) == len(options):
            return tuple(_convert(option, item, key) for option, item in zip(options, value, strict=True))
    number = _is_number(value)
    if kind is float and number:
        return float(value)
    if kind is int and number and float(value).is_integer():
        return int(value)
    if kind is str and (isinstance(value, str) or number):
        return str(value)
    if kind in (bool, dict) and isinstance(value, kind):
        return value
    raise UsageError(f"{key} cannot be {shown(value)}: expected {_say(kind)}")


def _is_number(value: Any) -> bool:
    """Whether it is a number that a float can hold: not infinity, not NaN, no whole number of four hundred digits."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _say(kind: Any) -> str:
    words = {
        float: "a number",
        int: "a whole number",
        str: "text",
        bool: "true or false",
        dict: "keys and values",
        type(None): "null",
    }
    if typing.get_origin(kind) is Literal:
        return " or ".join(typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        options = typing.get_args(kind)
        count = "a list" if options[-1] is Ellipsis else f"a list of {len(options)}"
        return f"{count}, each {words.get(options[0], options[0])}"
    return words.get(kind, str(kind))


def close_matches(word: str, known: Iterable[str]) -> str:
    """`` (did you mean this or that?)``, or nothing."""
    matches = difflib.get_close_matches(word, list(known), n=2)
    return f" (did you mean {' or '.join(matches)}?)" if matches else ""
