"""Text that must fit."""

from __future__ import annotations

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def cut_middle(text: str, room: int) -> str:
    """At most ``room`` (1 or more) characters of the text: beginning and end, which tell names apart, are kept.

    >>> cut_middle("resnet50-das-seed1", 11)
    'resne…seed1'
    """
    if len(text) <= room:
        return text
    head, tail = room // 2, (room - 1) // 2
    return text[:head].rstrip() + ELLIPSIS + text[len(text) - tail :].lstrip()
