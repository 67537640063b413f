"""Where networks come from: the parts behind ``das_explain.checkpoint.load``, which is the door to this room.

``spec`` takes a model spec apart; ``local`` and ``published`` hold one opener per kind of spec; ``files`` reads a
weight file without running code, ``fit`` loads it strictly or says what differs, ``build`` makes the empty network;
``labels``, ``blocks`` and ``config`` are what a model knows besides its weights. A new kind of spec is one opener and
one line in ``checkpoint.OPENERS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from das_explain.data.geometry import Preprocess

__all__ = ["Opened"]


@dataclass
class Opened:
    """What an opener found: a network with its weights on the CPU, and what came with it.

    ``architecture``, ``attention`` and ``arguments`` rebuild the network (``checkpoint.build``), except where the
    architecture is somebody's own Python. ``num_classes`` is ``None`` where only running the network tells. ``task`` is
    ``classification`` or ``detection`` (the network is then a detector, which has no ``preprocess`` of its own).
    ``notes`` are sentences a person should read: choices made on their behalf. ``preprocess_taken`` says whose
    ``preprocess`` is, where nothing tells how the network's own input was prepared; else it is ``None``. ``activation`` is
    what makes confidences of its logits (``nn.answers.ACTIVATIONS``), ``None`` where a look at it tells. ``rows``: as ``num_classes``, but 1 for two classes that are told apart by one logit.
    """

    network: nn.Module
    architecture: str
    attention: str = "none"
    arguments: dict[str, Any] = field(default_factory=dict)
    num_classes: int | None = None
    labels: Sequence[str] | None = None
    preprocess: Preprocess = field(default_factory=Preprocess)
    training: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    preprocess_taken: str | None = None
    task: str = "classification"
    activation: str | None = None
    rows: int | None = None
