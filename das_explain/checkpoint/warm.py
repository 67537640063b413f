"""Warm start: a trained backbone's weights into the network with gates, which keep the weights they start with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from das_explain.checkpoint.advice import advise
from das_explain.checkpoint.arguments import gate_of
from das_explain.checkpoint.build import head_name
from das_explain.checkpoint.differences import Differences, describe, differences
from das_explain.checkpoint.files import read_weights
from das_explain.checkpoint.sources import OPENERS
from das_explain.checkpoint.spec import parse_spec
from das_explain.checkpoint.wrappers import OPTIONAL, Candidate, best_reading, candidates
from das_explain.errors import DasExplainError, UsageError


@dataclass(frozen=True)
class WarmStart:
    """What a warm start took over: counts of tensors, and the class counts if the head was left as it was."""

    loaded: int
    gates_kept: tuple[str, ...]
    head_skipped: tuple[int, int] | None
    source: str

    def __str__(self) -> str:
        gates = f"; {len(self.gates_kept)} gates start fresh" if self.gates_kept else ""
        head = ""
        if self.head_skipped:
            given, wanted = self.head_skipped
            head = f"; the head starts fresh, for {wanted} classes where the weights have {given}"
        return f"warm start: {self.loaded} tensors from {self.source}{gates}{head}"


def warm_start(network: nn.Module, weights: Mapping[str, Tensor] | str | Path) -> WarmStart:
    """Copies trained weights into ``network``, which is changed in place: everything but gates that ``weights`` lacks,
    and but the head if it is for another number of classes.

    Args:
        weights: a state dict, a weight file, or any model spec (``torchvision:resnet18``, a model directory ...).

    Returns:
        What was taken and what was not; ``str()`` of it is one sentence.

    Raises:
        DasExplainError: any other key is missing, foreign or of another shape; the network is left as it was.
    """
    if isinstance(weights, Mapping):
        return copy_weights(network, weights, "a state dict")
    if Path(weights).is_file():
        return copy_weights(network, read_weights(Path(weights)), str(weights))
    spec = parse_spec(str(weights))
    if spec.suffixes:
        raise UsageError(f"{spec.text}: a warm start takes weights as they are; leave {spec.suffixes} out")
    return copy_weights(network, OPENERS[spec.kind](spec).network.state_dict(), spec.text)


def copy_weights(network: nn.Module, weights: Mapping[str, Tensor] | list[Candidate], source: str) -> WarmStart:
    """Copies ``weights`` into ``network``: everything but gates the file does not have and a head of other classes.

    Args:
        network: changed in place.
        weights: a state dict (wrappers are peeled), or the readings of a file.
        source: where they come from, for the summary and messages.

    Raises:
        DasExplainError: any other key is missing, foreign or of another shape; the network is left as it was.
    """
    readings = weights if isinstance(weights, list) else candidates(weights, source)
    expected, head = network.state_dict(), head_name(network)
    state = dict(best_reading(readings, expected).state)
    skipped = None
    given = state.get(f"{head}.weight")
    if given is not None and given.shape != expected[f"{head}.weight"].shape:
        skipped = (int(given.shape[0]), int(expected[f"{head}.weight"].shape[0]))
        state = {key: tensor for key, tensor in state.items() if not key.startswith(f"{head}.")}
    found = differences(expected, state)
    fresh = tuple(key for key in found.missing if gate_of(key))
    partly = {gate_of(key) for key in fresh} & {gate_of(key) for key in state}
    allowed = set() if partly else set(fresh)
    if skipped:
        allowed |= {key for key in expected if key.startswith(f"{head}.")}
    rest = Differences(tuple(key for key in found.missing if key not in allowed), found.foreign, found.misshapen)
    if rest:
        what = describe(rest, expected, state)
        raise DasExplainError(f"{source} does not fit the network to be warm-started: {what}{advise(readings)}")
    network.load_state_dict({key: tensor for key, tensor in state.items() if key in expected}, strict=False)
    loaded = sum(key in expected and not key.endswith(OPTIONAL) for key in state)
    gates = tuple(dict.fromkeys(gate_of(key).rstrip(".") for key in fresh))
    return WarmStart(loaded=loaded, gates_kept=gates, head_skipped=skipped, source=source)
