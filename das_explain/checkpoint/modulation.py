"""w_p of DAS gates in model directories: the first version of this package had it in (0, 2) and did not write it down.

What no weight and no shape tells is therefore written into every directory, and a directory that does not say it is of
that version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from das_explain.nn.attention.das import DEFORMABLE

KEY = "modulation_scale"
UNSAID, DEFAULT = 2, 1
"""What w_p lies below where a directory does not say, and where nobody asks for anything else today."""


def arguments_read(attention: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a directory's network, from those in its ``config.json``."""
    return _completed(attention, arguments, UNSAID)


def arguments_to_write(attention: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments in ``config.json``, from those that the network was built with.

    >>> arguments_to_write("das", {"alpha": 0.1})
    {'alpha': 0.1, 'modulation_scale': 1}
    """
    return _completed(attention, arguments, DEFAULT)


def _completed(attention: str, arguments: Mapping[str, Any], scale: int) -> dict[str, Any]:
    deformable = attention == "das" and arguments.get("variant", "c") in DEFORMABLE
    return {**arguments, KEY: arguments.get(KEY, scale)} if deformable else dict(arguments)
