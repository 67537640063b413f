"""A module that may be a stage."""

from __future__ import annotations

from dataclasses import dataclass

from das_explain.nn.stages.layout import Reading
from das_explain.nn.stages.probe import Call


@dataclass(frozen=True)
class Stage:
    """A module that may be explained: its call, and how its output is read."""

    call: Call
    reading: Reading

    @property
    def cells(self) -> int:
        """Of its map."""
        return self.reading.grid[0] * self.reading.grid[1]

    @property
    def is_norm(self) -> bool:
        """Whether it is called a norm, and leaves shapes as they are."""
        return "norm" in type(self.call.module).__name__.lower() and self.call.taken == self.call.given
