"""Work in pieces that an actor of a cluster does one after the other: what a job is, and how its progress is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from das_explain.explain.plan import Plan
from das_explain.types import Progress

Anything = TypeVar("Anything")
Piece = tuple[int, Any]
"""A number, and whatever pickles that says what is to be done."""
Tell = Callable[[str, int, int], None]
"""Called with ``progress`` or ``finding``, a piece's number, and how many of its images are done."""
Make = Callable[[Iterable[Piece], Tell], Iterator[tuple[int, pa.Table]]]
"""Makes pieces: each one's number and table, which has a row for each image, with ``status`` and ``message``."""


class Job(Protocol):
    """Something to be done piece by piece. It pickles, and is small."""

    def begin(self, cpus: float, gpus: float) -> Make:
        """Loads what is needed, in an actor that may use so many processors."""
        ...

    def unread(self, piece: Any, rows: Sequence[int]) -> int:
        """How many of these images of a piece cannot be read where it is called."""
        ...


def by_piece(pieces: Mapping[int, Sequence[Any]], tell: Tell) -> tuple[Progress, Progress]:
    """``progress`` and ``finding`` of pieces that are made one after the other, told piece by piece where it is news."""

    def listener(kind: str) -> Progress:
        told: dict[int, int] = {}

        def listen(done: int, of: int) -> None:
            for number, images in pieces.items():
                here = min(done, len(images))
                if here > told.get(number, 0):
                    told[number] = here
                    tell(kind, number, here)
                done -= here

        return listen

    return listener("progress"), listener("finding")


def on_actor(plan: Plan, cpus: float, gpus: float) -> tuple[Plan, int]:
    """The plan on what an actor has, and how many processes decode for it: half of its processors, unless the plan says
    how many. Ray shows an actor its own GPU alone, as the first."""
    device = "cuda" if gpus and (plan.device or "cuda").startswith("cuda") else plan.device
    return replace(plan, device=device), int(cpus) // 2 if plan.workers is None else plan.workers


def in_order(pieces: Iterable[tuple[int, Iterable[Anything]]]) -> Iterator[Anything]:
    """What is in pieces numbered from 0 on, which come in any order, in theirs."""
    waiting: dict[int, Iterable[Anything]] = {}
    due = 0
    for number, content in pieces:
        waiting[number] = content
        while due in waiting:
            yield from waiting.pop(due)
            due += 1
