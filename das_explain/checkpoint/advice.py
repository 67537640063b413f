"""Which network a weight file that does not fit is of, as the end of an error message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from das_explain.checkpoint.arguments import channel_count, class_count, gate_of, infer_arguments, shapes_of
from das_explain.checkpoint.build import head_name
from das_explain.checkpoint.differences import Differences
from das_explain.checkpoint.recognise import recognise
from das_explain.checkpoint.sizes import made_for
from das_explain.checkpoint.wrappers import OPTIONAL, Candidate, best_reading
from das_explain.errors import UsageError
from das_explain.nn.registry import BACKBONES, attentions_of

LIKELY = 0.5  # share of common keys and shapes below which no architecture is proposed


def advise(readings: Sequence[Candidate], ask: str | None = None) -> str:
    """The end of an error message: the likely architecture of a file, beginning with a semicolon."""
    score, likely = likely_architecture(readings)
    theirs = recognise(readings) if score < 1 else []
    if theirs and theirs[0].share == 1:
        asked = f": ask for {' or '.join(ask.format(name) for name in theirs[0].asked)}" if ask else ""
        sized = " for images of another size" if theirs[0].sized else ""
        return f"; it is {' or '.join(theirs[0].names)}{sized}{asked}"
    if other := next((each for each in theirs if each.channels != 3), None):
        images = f"images of {other.channels} channels; only grey (1) and RGB (3) images can be explained"
        return f"; it is {' or '.join(other.names)} for {images}"
    if score == 1:
        return f"; it is {likely}{f': ask for {ask.format(likely)}' if ask else ''}"
    if theirs and theirs[0].share > score:
        score, likely = theirs[0].share, theirs[0].names[0]
    if score < LIKELY:
        return (
            "; no network of the registry's, torchvision's or timm's resembles it: python:MODULE:FACTORY@FILE loads any "
            "network of your own"
        )
    return f"; {int(100 * score)}% of its keys and shapes are those of {likely}, which is not enough to load it"


def advise_for(
    network: nn.Module,
    found: Differences,
    state: Mapping[str, Tensor],
    readings: Sequence[Candidate],
    ask: str | None = None,
) -> str | None:
    """What may be wrong with a file that fits no known architecture better than ``network``; ``None`` if one does."""
    expected, given = _sized(network.state_dict()), _sized(state)
    share = len(expected & given) / len(expected | given)
    if share < max(LIKELY, likely_architecture(readings)[0]) or _is_another_s(readings):
        return None
    head = f"{head_name(network)}."
    if found.missing and all(key.startswith(head) for key in found.missing):
        reason = f"it has no head {head[:-1]}, or one by another name; give the weights of the whole classifier"
    elif not found.foreign and not found.misshapen:
        reason = "the file is incomplete; save the whole state dict again"
    elif not found.missing and not found.misshapen:
        reason = "the file is of a network with more parts, or holds more than a network; save model.state_dict() alone"
    elif ask and made_for(network) and not found.missing and not found.foreign:
        reason = (
            "it is for images of another size (?size=HEIGHTxWIDTH after the architecture says which), or of a variant of "
            "this network, which python:MODULE:FACTORY@FILE loads"
        )
    else:
        reason = "it is of a variant of this network; python:MODULE:FACTORY@FILE loads any network of your own"
    return f"; all else fits: {reason}"


def likely_architecture(readings: Sequence[Candidate]) -> tuple[float, str]:
    """The registry's architecture whose keys and shapes have most in common with the file's.

    Returns:
        (share of common keys in 0..1, ``ARCH`` or ``ARCH:ATTENTION``).
    """
    best = (0.0, "")
    gated = [reading for reading in readings if any(map(gate_of, reading.state))]
    gated = gated[-1:]  # that is the one by our names, where there is one by the authors', too
    for architecture in BACKBONES:
        plain = best_reading(readings, shapes_of(architecture, "none"))
        for reading in (plain, *(each for each in gated if each is not plain)):
            best = max(best, _likely_attention(architecture, reading.state), key=lambda pair: pair[0])
    return best


def _likely_attention(architecture: str, state: Mapping[str, Tensor]) -> tuple[float, str]:
    """As ``likely_architecture``, of one architecture."""
    best, given = (0.0, ""), _sized(state)
    for attention in _likely_attentions(architecture, state):
        arguments = infer_arguments(architecture, attention, state)
        try:
            classes, channels = class_count(architecture, state), channel_count(architecture, state)
            shapes = shapes_of(architecture, attention, tuple(arguments.items()), classes, channels)
        except UsageError:  # the file's gate places are not this backbone's
            continue
        common = len(shapes.items() & given) / len(shapes.items() | given)
        name = architecture if attention == "none" else f"{architecture}:{attention}"
        best = max(best, (common, name), key=lambda pair: pair[0])
    return best


def _likely_attentions(architecture: str, state: Mapping[str, Tensor]) -> list[str]:
    """Those whose gates have most names of tensors in common with the file's; ``none`` for a file without gates."""
    given = _gate_names(state)
    if not given:
        return ["none"]
    common = {}
    for attention in attentions_of(architecture):
        names = _gate_names(shapes_of("resnet18", attention))  # the same in any backbone
        common[attention] = len(names & given) / len(names | given)
    return [attention for attention, share in common.items() if share == max(common.values())]


def _gate_names(state: Iterable[str]) -> frozenset[str]:
    return frozenset(key.removeprefix(gate_of(key)) for key in state if gate_of(key) and not key.endswith(OPTIONAL))


def _is_another_s(readings: Sequence[Candidate]) -> bool:
    return any(each.share == 1 for each in recognise(readings))


def _sized(state: Mapping[str, Tensor]) -> set[tuple[str, tuple[int, ...]]]:
    return {(key, tuple(tensor.shape)) for key, tensor in state.items() if not key.endswith(OPTIONAL)}
