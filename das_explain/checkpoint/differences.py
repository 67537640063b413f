"""What keeps weights from fitting a network: keys that are missing, foreign or of another shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from das_explain.checkpoint.wrappers import OPTIONAL
from das_explain.text import plural


@dataclass(frozen=True)
class Differences:
    """Between a network's keys and a file's: names, in the network's or the file's order."""

    missing: tuple[str, ...]
    foreign: tuple[str, ...]
    misshapen: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.foreign or self.misshapen)


def differences(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Differences:
    """What keeps ``state`` from being loaded into a network whose state dict is ``expected``."""
    return Differences(
        missing=tuple(key for key in expected if key not in state and not key.endswith(OPTIONAL)),
        foreign=tuple(key for key in state if key not in expected and not key.endswith(OPTIONAL)),
        misshapen=tuple(key for key in expected if key in state and expected[key].shape != state[key].shape),
    )


def describe(found: Differences, expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """The differences in one phrase: counts and the first three names of each kind."""
    parts = []
    if found.missing:
        parts.append(f"{plural(len(found.missing), 'key')} missing ({_first(found.missing)})")
    if found.foreign:
        parts.append(f"{plural(len(found.foreign), 'foreign key')} ({_first(found.foreign)})")
    if found.misshapen:
        shapes = [f"{key} is {shape_of(state, key)}, not {shape_of(expected, key)}" for key in found.misshapen]
        parts.append(f"{plural(len(found.misshapen), 'other shape')} ({_first(shapes)})")
    return ", ".join(parts)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def shape_of(state: Mapping[str, Tensor], key: str) -> str:
    return "x".join(map(str, state[key].shape)) or "a single number"
