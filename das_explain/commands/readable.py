"""Images that could not be read: they are named with their reasons, and a command that read not one has failed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from das_explain.commands.say import say
from das_explain.errors import DasExplainError

SHOWN = 5  # reasons on the terminal; the tables have all


def check_readable(photos: Iterable[Mapping[str, Any]]) -> None:
    """Prints why images could not be read. ``photos`` have ``image``, ``status`` and ``message``.

    Raises DasExplainError if there are images and not one of them could be read.
    """
    count, unread = 0, {}
    for photo in photos:
        count += 1
        if photo["status"] == "unreadable":
            unread[str(photo["image"])] = str(photo["message"] or "")
    if count and len(unread) == count:
        raise DasExplainError(f"not one of {count} images could be read: {_reason(*next(iter(unread.items())))}")
    print_unread(unread)


def print_unread(unread: Mapping[str, str]) -> None:
    """Image -> why it could not be read: the first of them on the terminal."""
    for name, why in list(unread.items())[:SHOWN]:
        say(f"unreadable  {_reason(name, why)}")
    if len(unread) > SHOWN:
        say(f"unreadable  and {len(unread) - SHOWN} more")


def _reason(name: str, why: str) -> str:
    """A message about a file begins with its path, which ends like the image's name."""
    head, colon, _ = why.partition(": ")
    return why if colon and head.endswith(name) else f"{name}: {why}"


def records(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``regions.jsonl``, one per image."""
    return [json.loads(line) for line in path.read_bytes().decode("utf-8", "backslashreplace").splitlines()]
