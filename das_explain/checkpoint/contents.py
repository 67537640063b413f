"""What a weight file holds of a given network: averages completed, its head where it belongs, channels and classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from das_explain.checkpoint.averages import complete_averages
from das_explain.checkpoint.build import head_name
from das_explain.checkpoint.entries import is_average
from das_explain.checkpoint.wrappers import Candidate, best_reading
from das_explain.errors import DasExplainError
from das_explain.nn.running import first_convolution


def read_for(network: nn.Module, readings: Sequence[Candidate], source: str) -> Candidate:
    """What a file holds of a network, by the network's own names: averages completed, its head where it belongs.

    Raises:
        DasExplainError: two networks of these names are in the file, or an average without names does not fit.
    """
    reading = best_reading(complete_averages(readings, network, source), network.state_dict())
    prefix = next((each.removeprefix("prefix ") for each in reversed(reading.peeled) if each.startswith("prefix ")), "")
    if reading.alike and not is_average(prefix):
        names = [prefix, *reading.alike]
        raise DasExplainError(
            f"{source} holds {len(names)} such networks, below {', '.join(names)}: ?entry={names[0].rstrip('.')} after the "
            "architecture takes one of them"
        )
    return _with_its_head(network, reading)


def for_weights(network: nn.Module, readings: Sequence[Candidate], source: str) -> nn.Module:
    """The empty network for as many channels as a file's first convolution has: changed in place for grey images.

    Raises:
        DasExplainError: it takes neither grey nor RGB images.
    """
    channels = channels_of_weights(network, read_for(network, readings, source).state)
    if channels not in (1, 3):
        raise DasExplainError(
            f"{source}: its first convolution takes {channels} channels; only grey (1) and RGB (3) images can be explained"
        )
    return make_grey(network) if channels == 1 else network


def make_grey(network: nn.Module) -> nn.Module:
    """Gives the first convolution one channel in place of three: untrained, to be loaded. Changed in place."""
    first = first_convolution(network)
    if first is not None and first.in_channels == 3:
        first.in_channels = 1
        first.weight = nn.Parameter(first.weight.detach()[:, :1].clone(), requires_grad=first.weight.requires_grad)
    return network


def channels_of_weights(network: nn.Module, state: Mapping[str, Tensor]) -> int:
    """How many channels the images of trained weights have, of a network that was built for RGB; 3 where they do not tell.

    A first convolution that is shown squares of pixels as channels (16 of each in TResNet) has so many times as many.
    """
    first = first_convolution(network)
    name = next((name for name, module in network.named_modules() if module is first), None)
    weight = state.get(f"{name}.weight")
    if first is None or weight is None or weight.dim() != 4 or first.weight.shape[1] % 3:
        return 3
    channels, rest = divmod(int(weight.shape[1]), first.weight.shape[1] // 3)
    return 3 if rest else channels


def channel_arguments(architecture: str, channels: int) -> dict[str, Any]:
    """What a library is asked for so that it builds the network for grey images itself: it knows of all convolutions that
    see them. Empty where ``make_grey`` does it."""
    return {"in_chans": 1} if channels == 1 and architecture.startswith("timm:") else {}


def class_count_like(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], built: int = 1000) -> int:
    """The number of classes of trained weights of any network, read off the layers that have other rows than a network
    ``built`` for so many classes, whose state dict is ``expected``; ``built`` where they do not agree on one."""
    counts = {
        state[key].shape[0]
        for key, tensor in expected.items()
        if key in state and tensor.dim() and state[key].dim() and tensor.shape[0] == built
        if state[key].shape[1:] == tensor.shape[1:] and state[key].shape[0] not in (0, built)
    }
    return counts.pop() if len(counts) == 1 else built


def _with_its_head(network: nn.Module, reading: Candidate) -> Candidate:
    """A head that was replaced by a sequence with one linear layer in it (``fc.1.weight`` after a dropout), under the
    network's own name for its head; a layer that stands alone in place of a sequence likewise."""
    head, expected = head_name(network), network.state_dict()
    if head is None or f"{head}.weight" in reading.state or f"{head}.weight" not in expected:
        return reading
    parent = head.rpartition(".")[0]
    for scope in (
        head,
        *([parent] if parent and all(key.startswith(head) for key in _within(parent, expected)) else []),
    ):
        keys = _within(scope, reading.state)
        weights = [key for key in keys if key.endswith(".weight")]
        width = expected[f"{head}.weight"].shape[1]
        if len(weights) == 1 and reading.state[weights[0]].shape[1:] == (width,):
            name = weights[0].removesuffix(".weight")
            if set(keys) <= {f"{name}.weight", f"{name}.bias"}:
                renamed = {key.replace(name, head, 1) if key in keys else key: t for key, t in reading.state.items()}
                return replace(reading, state=renamed, peeled=(*reading.peeled, f"head {name}"))
    return reading


def _within(scope: str, state: Iterable[str]) -> list[str]:
    return [key for key in state if key.startswith(f"{scope}.")]
