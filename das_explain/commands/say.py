"""The one way by which text gets from the commands to the terminal."""

from __future__ import annotations

from das_explain.text import spelled


def say(line: object) -> None:
    """Prints a line at once. What a terminal would take for a command, of a name that a stranger gave, is spelt out."""
    print(spelled(str(line), backslash=False), flush=True)  # noqa: T201
