"""Strict loading: the weights fit the network exactly, or one line says what differs and which network they fit."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from das_explain.checkpoint.averages import complete_averages
from das_explain.checkpoint.build import backbone_defaults, build_network, head_name
from das_explain.checkpoint.wrappers import OPTIONAL, Candidate, best_reading, is_average
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn.registry import ATTENTION, BACKBONES, attentions_of, default_gates
from das_explain.nn.running import first_convolution
from das_explain.text import plural

GATE = re.compile(r"^(.*\.)?gate\d*\.")
LIKELY = 0.5  # share of common keys and shapes below which no architecture is proposed


def gate_of(key: str) -> str:
    """The gate that a key belongs to, ``layer1.gate.``; empty for any other key."""
    match = GATE.match(key)
    return match[0] if match else ""


@dataclass(frozen=True)
class Differences:
    """Between a network's keys and a file's: names, in the network's or the file's order."""

    missing: tuple[str, ...]
    foreign: tuple[str, ...]
    misshapen: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.foreign or self.misshapen)


def differences(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Differences:
    """What keeps ``state`` from being loaded into a network whose state dict is ``expected``."""
    return Differences(
        missing=tuple(key for key in expected if key not in state and not key.endswith(OPTIONAL)),
        foreign=tuple(key for key in state if key not in expected and not key.endswith(OPTIONAL)),
        misshapen=tuple(key for key in expected if key in state and expected[key].shape != state[key].shape),
    )


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
                f"{weight} is {_shape(reading.state, weight)}"
            )
        what = describe(found, expected, reading.state)
        advice = _advise_for(network, found, reading.state, readings) or advise(readings, ask)
        raise DasExplainError(f"{source} does not fit {wanted}: {what}{advice}")
    on_meta = any(tensor.is_meta for tensor in expected.values())
    state = {key: _plain(reading.state.get(key), tensor, key, source) for key, tensor in expected.items()}
    network.load_state_dict({k: v for k, v in state.items() if v is not None}, strict=False, assign=on_meta)
    return reading


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
    channels = _channels_of_weights(network, read_for(network, readings, source).state)
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


def _channels_of_weights(network: nn.Module, state: Mapping[str, Tensor]) -> int:
    """How many channels trained weights take, of a network that was built for RGB."""
    first = first_convolution(network)
    name = next((name for name, module in network.named_modules() if module is first), None)
    weight = state.get(f"{name}.weight") if first is not None and first.in_channels == 3 else None
    return int(weight.shape[1]) if weight is not None and weight.dim() == 4 else 3


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


def describe(found: Differences, expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """The differences in one phrase: counts and the first three names of each kind."""
    parts = []
    if found.missing:
        parts.append(f"{plural(len(found.missing), 'key')} missing ({_first(found.missing)})")
    if found.foreign:
        parts.append(f"{plural(len(found.foreign), 'foreign key')} ({_first(found.foreign)})")
    if found.misshapen:
        shapes = [f"{key} is {_shape(state, key)}, not {_shape(expected, key)}" for key in found.misshapen]
        parts.append(f"{plural(len(found.misshapen), 'other shape')} ({_first(shapes)})")
    return ", ".join(parts)


def advise(readings: Sequence[Candidate], ask: str | None = None) -> str:
    """The end of an error message: the likely architecture of a file, beginning with a semicolon."""
    from das_explain.checkpoint.recognise import recognise  # which compares by what stands here

    score, likely = likely_architecture(readings)
    theirs = recognise(readings) if score < 1 else []
    if theirs and theirs[0].share == 1:
        asked = f": ask for {' or '.join(ask.format(name) for name in theirs[0].names)}" if ask else ""
        return f"; it is {' or '.join(theirs[0].names)}{asked}"
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


def _advise_for(
    network: nn.Module, found: Differences, state: Mapping[str, Tensor], readings: Sequence[Candidate]
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
    else:
        reason = "it is of a variant of this network; python:MODULE:FACTORY@FILE loads any network of your own"
    return f"; all else fits: {reason}"


def _is_another_s(readings: Sequence[Candidate]) -> bool:
    from das_explain.checkpoint.recognise import recognise  # which compares by what stands here

    return any(each.share == 1 for each in recognise(readings))


def _sized(state: Mapping[str, Tensor]) -> set[tuple[str, tuple[int, ...]]]:
    return {(key, tuple(tensor.shape)) for key, tensor in state.items() if not key.endswith(OPTIONAL)}


def likely_architecture(readings: Sequence[Candidate]) -> tuple[float, str]:
    """The registry's architecture whose keys and shapes have most in common with the file's.

    Returns:
        (share of common keys in 0..1, ``ARCH`` or ``ARCH:ATTENTION``).
    """
    best = (0.0, "")
    gated = [reading for reading in readings if any(map(gate_of, reading.state))]
    gated = gated[-1:]  # that is the one by our names, where there is one by the authors', too
    for architecture in BACKBONES:
        plain = best_reading(readings, _shapes(architecture, "none"))
        for reading in (plain, *(each for each in gated if each is not plain)):
            best = max(best, _likely_attention(architecture, reading.state), key=lambda pair: pair[0])
    return best


def _likely_attention(architecture: str, state: Mapping[str, Tensor]) -> tuple[float, str]:
    """As ``likely_architecture``, of one architecture."""
    best, given = (0.0, ""), _sized(state)
    for attention in _likely_attentions(architecture, state):
        arguments = infer_arguments(architecture, attention, state)
        try:
            classes = class_count(architecture, state)
            shapes = _shapes(architecture, attention, tuple(arguments.items()), classes)
        except UsageError:  # the file's gate places are not this backbone's
            continue
        common = len(shapes.items() & given) / len(shapes.items() | given)
        name = architecture if attention == "none" else f"{architecture}:{attention}"
        best = max(best, (common, name), key=lambda pair: pair[0])
    return best


def infer_arguments(
    architecture: str, attention: str, state: Mapping[str, Tensor], given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The network's arguments as far as the shapes of its weights tell them; those in ``given`` are left alone.

    ``stem`` is read off the first convolution, ``gates`` off the gates' names, ``alpha`` off what they compress to,
    ``kernel_size`` off their kernels.
    """
    given, defaults = dict(given or {}), backbone_defaults(architecture)
    inferred: dict[str, Any] = {}
    first = state.get("conv1.weight")
    if "stem" in defaults and first is not None and tuple(first.shape[2:]) == (3, 3):
        inferred["stem"] = "small"
    inferred |= infer_gates(attention, state)
    if attention != "none" and set(inferred.get("gates", ())) == set(default_gates(architecture, attention) or ()):
        inferred.pop("gates", None)
    arguments = {**inferred, **given}
    return {**_kernel_size(architecture, attention, state, arguments), **arguments}


def infer_gates(attention: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """``gates`` and ``alpha``, off the names and shapes of the gates' weights, in whatever network they are."""
    if attention == "none":
        return {}
    places = dict.fromkeys(_place(key) for key in state if GATE.match(key))
    inferred: dict[str, Any] = {"gates": tuple(sorted(places, key=_natural))} if places else {}
    if attention == "das":
        compressions = [state[key] for key in state if key.endswith(".pointwise.weight") and GATE.match(key)]
        alpha = _alpha(compressions)
        if alpha is not None:
            inferred["alpha"] = alpha
    return inferred


def _kernel_size(
    architecture: str, attention: str, state: Mapping[str, Tensor], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """``kernel_size``, where the gates' kernels are not the default ones: as published, or of one size for all."""
    if attention == "none" or "kernel_size" not in ATTENTION[attention].arguments or "kernel_size" in arguments:
        return {}
    gates = {key: tuple(t.shape) for key, t in state.items() if gate_of(key) and not key.endswith(OPTIONAL)}
    sizes = {shape[-1] for shape in gates.values() if len(shape) > 2}
    choices: list[dict[str, Any]] = [{}, {"kernel_size": "published"}]
    choices += [{"kernel_size": size} for size in sizes if len(sizes) == 1]
    for choice in choices:
        try:
            shapes = _shapes(architecture, attention, tuple({**arguments, **choice}.items()))
        except UsageError:  # none are published, or the size is even
            continue
        if gates.items() <= shapes.items():
            return choice
    return {}


def class_count(architecture: str, state: Mapping[str, Tensor], default: int = 1000) -> int:
    """The number of classes of a weight file for one of the registry's architectures, read off its head."""
    head = state.get(f"{_head(architecture)}.weight")
    return int(head.shape[0]) if head is not None and head.dim() == 2 and head.shape[0] else default


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


def described(architecture: str, attention: str) -> str:
    """A network for messages: ``resnet18 with attention das``."""
    return architecture if attention == "none" else f"{architecture} with attention {attention}"


@cache
def _shapes(
    architecture: str, attention: str, arguments: tuple = (), num_classes: int = 1000
) -> dict[str, tuple[int, ...]]:
    state = build_network(architecture, attention, num_classes, dict(arguments)).state_dict()
    return {key: tuple(tensor.shape) for key, tensor in state.items() if not key.endswith(OPTIONAL)}


def _likely_attentions(architecture: str, state: Mapping[str, Tensor]) -> list[str]:
    """Those whose gates have most names of tensors in common with the file's; ``none`` for a file without gates."""
    given = _gate_names(state)
    if not given:
        return ["none"]
    common = {}
    for attention in attentions_of(architecture):
        names = _gate_names(_shapes("resnet18", attention))  # the same in any backbone
        common[attention] = len(names & given) / len(names | given)
    return [attention for attention, share in common.items() if share == max(common.values())]


def _gate_names(state: Iterable[str]) -> frozenset[str]:
    return frozenset(key.removeprefix(gate_of(key)) for key in state if gate_of(key) and not key.endswith(OPTIONAL))


@cache
def _head(architecture: str) -> str | None:
    return head_name(build_network(architecture))


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


def _place(key: str) -> str:
    """``layer1.gate.weight`` -> ``layer1``; ``layer1.gate0.weight`` -> ``layer1.0``."""
    stage, gate, _ = re.split(r"\.?gate(\d*)\.", key, maxsplit=1)
    return f"{stage}.{gate}" if gate else stage


def _natural(place: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in place.split(".")]


def _alpha(compressions: Iterable[Tensor]) -> float | None:
    """The roundest alpha for which int(alpha * c) is right for each gate; ``None`` if there is none."""
    pairs = [(tensor.shape[0], tensor.shape[1]) for tensor in compressions if tensor.dim() == 4]
    if not pairs:
        return None
    low = max(hidden / channels if hidden > 1 else 0.0 for hidden, channels in pairs)
    for alpha in (0.2, *(math.ceil(low * 10**digits) / 10**digits for digits in range(1, 7))):
        if 0 < alpha <= 1 and all(max(1, int(alpha * channels)) == hidden for hidden, channels in pairs):
            return alpha
    return None


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _shape(state: Mapping[str, Tensor], key: str) -> str:
    return "x".join(map(str, state[key].shape)) or "a single number"
