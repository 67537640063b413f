"""Strict loading: the weights fit the network exactly, or one line says what differs and which network they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from das_explain.checkpoint.advice import advise, advise_for
from das_explain.checkpoint.build import head_name
from das_explain.checkpoint.contents import read_for
from das_explain.checkpoint.differences import Differences, describe, differences, shape_of
from das_explain.checkpoint.wrappers import Candidate
from das_explain.errors import DasExplainError


def load_strict(
    network: nn.Module, readings: Sequence[Candidate], *, source: str, wanted: str, ask: str | None = None
) -> Candidate:
    """Loads the best reading of a file into ``network``, as float32 on the CPU; a network on meta becomes real.

    Args:
        source: the file, for messages.
        wanted: what the network is, for messages: ``resnet18 with attention das``.
        ask: how another architecture would be asked for, with ``{}`` in its place; ``None`` where it cannot be.

    Raises:
        DasExplainError: a key is missing, foreign or of another shape. One line: the first three of each kind, and the
            architecture that the file most likely belongs to, or, where that is ``network``'s, what may be wrong.
    """
    expected = network.state_dict()
    reading = read_for(network, readings, source)
    found = differences(expected, reading.state)
    if found:
        classes = _class_counts(network, found, reading.state)
        if classes:
            weight = f"{head_name(network)}.weight"
            raise DasExplainError(
                f"{source} has {classes[0]} classes, where {classes[1]} are expected ({wanted}): its "
                f"{weight} is {shape_of(reading.state, weight)}"
            )
        what = describe(found, expected, reading.state)
        advice = advise_for(network, found, reading.state, readings, ask) or advise(readings, ask)
        raise DasExplainError(f"{source} does not fit {wanted}: {what}{advice}")
    on_meta = any(tensor.is_meta for tensor in expected.values())
    state = {key: _plain(reading.state.get(key), tensor, key, source) for key, tensor in expected.items()}
    network.load_state_dict({k: v for k, v in state.items() if v is not None}, strict=False, assign=on_meta)
    return reading


def described(architecture: str, attention: str) -> str:
    """A network for messages: ``resnet18 with attention das``."""
    return architecture if attention == "none" else f"{architecture} with attention {attention}"


def _class_counts(network: nn.Module, found: Differences, state: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """(the file's, the network's), when that is all that differs."""
    head = head_name(network)
    if head is None or found.missing or found.foreign or not set(found.misshapen) <= {f"{head}.weight", f"{head}.bias"}:
        return None
    given, expected = state[f"{head}.weight"].shape, network.get_parameter(f"{head}.weight").shape
    return (given[0], expected[0]) if len(given) == 2 and given[1] == expected[1] else None


def _plain(tensor: Tensor | None, expected: Tensor, key: str, source: str) -> Tensor | None:
    if tensor is None:  # only ever the counter of batches
        return torch.zeros(expected.shape, dtype=expected.dtype) if expected.is_meta else None
    if tensor.is_floating_point() != expected.is_floating_point() or tensor.is_complex() or tensor.is_quantized:
        raise DasExplainError(f"{source} holds {key} in {tensor.dtype}, where {expected.dtype} is needed")
    dtype = torch.float32 if expected.is_floating_point() else expected.dtype
    return tensor.detach().to(dtype, copy=True, memory_format=torch.contiguous_format)  # free of the file
