"""For mkdocstrings: the lines from the first ``>>>`` on, which end a docstring here, are its section of examples."""

from __future__ import annotations

import textwrap
from typing import Any

import griffe


class BareExamples(griffe.Extension):
    """Puts the heading that griffe looks for above them."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for every object that was collected."""
        if obj.docstring:
            obj.docstring.value = with_heading(obj.docstring.value)


def with_heading(text: str) -> str:
    """A docstring, without its indentation, whose examples are below ``Examples:``."""
    lines = text.splitlines()
    first = next((at for at, line in enumerate(lines) if line.startswith(">>> ")), None)
    if first is None:
        return text
    return "\n".join([*lines[:first], "Examples:", textwrap.indent("\n".join(lines[first:]), "    ")])
