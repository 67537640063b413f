"""How many neighbouring channels a kernel along the channels covers: ECA's choice, which others took over."""

from __future__ import annotations

import math
from collections.abc import Mapping


def choose_kernel_size(channels: int, given: int | Mapping[int, int] | None = None) -> int:
    """k: as given, else by Eq. 12 of ECA-Net, ``|log2(C) / 2 + 1 / 2|`` made odd; always odd.

    Args:
        channels: C.
        given: a number, or one for each count of channels (JSON's keys are names: ``"256"`` will do).

    Raises:
        ValueError: an even or negative number.
    """
    if isinstance(given, Mapping):
        given = given.get(channels, given.get(str(channels)))
    if given is None:
        size = int(abs((math.log2(channels) + 1) / 2))
        given = size if size % 2 else size + 1
    if type(given) is not int or given < 1 or given % 2 == 0:
        raise ValueError(f"kernel_size must be odd and positive, not {given!r}")
    return given
