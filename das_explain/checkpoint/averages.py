"""Averages of weights (EMA, SWA) as training loops keep them: without names, or without running statistics.

What an average lacks is taken from the weights it was made of, which lie beside it in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from das_explain.checkpoint.wrappers import Candidate, best_reading
from das_explain.errors import DasExplainError


def complete_averages(readings: Sequence[Candidate], network: nn.Module, source: str) -> list[Candidate]:
    """The readings of a file, an average among them made whole; others as they are.

    Args:
        network: whose parameters, in order, a nameless average holds; only its names are looked at.
        source: the file, for the message.

    Raises:
        DasExplainError: a nameless average of another number of tensors.
    """
    expected = network.state_dict()
    reading = best_reading(readings, expected)
    parameters = [name for name, _ in network.named_parameters()]
    state = dict(reading.state)
    if reading.shadow:
        if len(reading.shadow) != len(parameters):
            raise DasExplainError(
                f"{source}: its average is {len(reading.shadow)} tensors without names, where the network has "
                f"{len(parameters)} parameters; ?entry=NAME takes other weights ({', '.join(reading.others) or 'none'})"
            )
        state = {key: value for key, value in state.items() if key not in parameters}
        state |= zip(parameters, reading.shadow, strict=True)
    lacking = [key for key in expected if key not in state and key not in parameters]
    beside = best_reading(reading.beside, expected).state if reading.beside else {}
    filled = {key: beside[key] for key in lacking if key in beside}
    if not reading.shadow and not filled:
        return list(readings)
    origin = reading.beside[0].peeled[-1] if reading.beside and reading.beside[0].peeled else "the weights beside it"
    said = (*reading.peeled, f"what averages do not have from {origin}") if reading.beside else reading.peeled
    return [replace(reading, state=state | filled, peeled=said, shadow=(), beside=())]
