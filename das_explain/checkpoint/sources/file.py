"""``FILE.pth@ARCH[:ATTENTION]``: a weight file, and the network that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from das_explain.checkpoint.advice import advise, likely_architecture
from das_explain.checkpoint.arguments import class_count, infer_arguments, infer_gates
from das_explain.checkpoint.build import THEIRS, build_network, check_architecture, check_arguments
from das_explain.checkpoint.config import check_preprocess
from das_explain.checkpoint.contents import (
    channel_arguments,
    channels_of_weights,
    class_count_like,
    for_weights,
    read_for,
)
from das_explain.checkpoint.differences import differences
from das_explain.checkpoint.files import read_weights
from das_explain.checkpoint.fit import described, load_strict
from das_explain.checkpoint.inputs import sides_of
from das_explain.checkpoint.labels import sidecar
from das_explain.checkpoint.opened import Opened
from das_explain.checkpoint.options import peeled_notes
from das_explain.checkpoint.recognise import choose, close_names, has_network, recognise
from das_explain.checkpoint.sizes import built_for, size_arguments
from das_explain.checkpoint.spec import ModelSpec
from das_explain.checkpoint.timm_networks import network_preprocess
from das_explain.checkpoint.torchvision_networks import arguments_of_weights, usual_preprocess
from das_explain.checkpoint.wrappers import Candidate, best_reading
from das_explain.data.geometry import Preprocess
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn.registry import BACKBONES


def open_file(spec: ModelSpec) -> Opened:
    """Classes, and of the registry's networks stem, gate places and alpha, are read off the weights unless given.

    Raises:
        UsageError: no architecture, or one, an attention or an option that does not exist.
        DasExplainError: the file cannot be read, or is not of that network.
    """
    options = spec.arguments
    entry = options.pop("entry", None)
    file, architecture, attention = spec.file, spec.target, spec.variant or "none"
    assert file is not None  # of this kind of spec
    readings = read_weights(file, entry)
    notes: list[str] = []
    if not architecture:
        architecture, attention, notes = _recognised(file, readings)
    elif ":" not in architecture and architecture not in BACKBONES:
        architecture = _found(architecture, readings)
    theirs = architecture.partition(":")[0] in THEIRS
    if theirs:
        size = spec.shared.get("size")
        sides = sides_of(size, spec.text) if size else None
        built = _build_theirs(file, readings, architecture, attention, options, sides)
    else:
        built = _build_ours(file, readings, architecture, attention, options)
    network, arguments, num_classes = built
    network = for_weights(network, readings, str(file))
    wanted, ask = described(architecture, attention), f"{file}@{{}}"
    reading = load_strict(network, readings, source=str(file), wanted=wanted, ask=ask)
    whose = architecture if theirs else "ImageNet"
    return Opened(
        network=network,
        architecture=architecture,
        attention=attention,
        arguments=arguments,
        num_classes=num_classes,
        labels=sidecar(file),
        preprocess=_usual_preprocess(architecture, network, spec.text),
        notes=[*notes, *peeled_notes(file, reading)],
        preprocess_taken=f"as {whose}'s usually is",
    )


def _recognised(file: Path, readings: Sequence[Candidate]) -> tuple[str, str, list[str]]:
    """The architecture and attention that a file's tensors are of, and a sentence on it.

    Raises:
        UsageError: they are nobody's, or those of several networks that answer differently.
    """
    share, ours = likely_architecture(readings)
    if share == 1:
        architecture, _, attention = ours.partition(":")
        return architecture, attention or "none", [f"{file}: recognised by its tensors as {ours}"]
    best = next(iter(recognise(readings)), None)
    if best is None or best.share < 1:
        advice = advise(readings, f"{file}@{{}}")
        raise UsageError(f"{file}: say which network it belongs to, {file}@ARCH[:ATTENTION]{advice}")
    chosen, others = choose(best.names, file)
    if not chosen:
        asked = " or ".join(f"{file}@{name}" for name in best.asked if name.partition("?")[0] in others)
        raise UsageError(
            f"{file}: its tensors are those of several networks, which answer differently: ask for {asked}"
        )
    same = f"; {', '.join(others)} would have the same" if others else ""
    return chosen, "none", [f"{file}: recognised by its tensors as {chosen}{same}"]


def _found(name: str, readings: Sequence[Candidate]) -> str:
    """A bare name as torchvision's or timm's; where both have one, whose keys the file has.

    Raises:
        UsageError: nobody has a network of that name.
    """
    known = [f"{source}:{name}" for source in THEIRS if has_network(source, name)]
    if not known:
        close = close_names(name)
        hint = f"; did you mean {' or '.join(close)}?" if close else "; das-explain models lists those with attention"
        raise UsageError(f"unknown architecture {name!r}: neither torchvision nor timm has it{hint}")
    if len(known) == 1:
        return known[0]

    def fitting(architecture: str) -> int:
        expected = build_network(architecture).state_dict()
        return len(expected.keys() & best_reading(readings, expected).state.keys())

    return max(known, key=fitting)


Built = tuple[nn.Module, dict[str, Any], int]
"""The empty network, its arguments, its number of classes."""


def _build_ours(
    file: Path, readings: Sequence[Candidate], architecture: str, attention: str, options: dict[str, Any]
) -> Built:
    check_architecture(architecture, attention)
    given = check_arguments(architecture, attention, options)
    reading = read_for(build_network(architecture, attention), readings, str(file))
    arguments = infer_arguments(architecture, attention, reading.state, given)
    num_classes = class_count(architecture, reading.state)
    try:
        return build_network(architecture, attention, num_classes, arguments), arguments, num_classes
    except UsageError as error:
        if arguments == given:
            raise
        raise DasExplainError(f"{file} does not fit {described(architecture, attention)}: {error}") from None


def _build_theirs(
    file: Path,
    readings: Sequence[Candidate],
    architecture: str,
    attention: str,
    options: dict[str, Any],
    size: tuple[int, int] | None,
) -> Built:
    untrained = build_network(architecture, attention, arguments=options)
    reading = read_for(untrained, readings, str(file))
    told = arguments_of_weights(architecture.partition(":")[2], reading.state)
    arguments = {**(told if architecture.startswith("torchvision:") else {}), **options}
    start = {} if attention in ("none", "das") else {"init": "default"}  # of gates without a strength
    of_channels = channel_arguments(architecture, channels_of_weights(untrained, reading.state))
    arguments = {**start, **of_channels, **infer_gates(attention, reading.state), **arguments}
    num_classes = class_count_like(untrained.state_dict(), reading.state)
    network = build_network(architecture, attention, num_classes, arguments)
    if size and (sized := _built_for(size, network, reading.state, architecture, attention, num_classes, arguments)):
        network, of_size = sized
        arguments |= of_size
    return network, arguments, num_classes


def _built_for(
    size: tuple[int, int],
    network: nn.Module,
    state: Mapping[str, Tensor],
    architecture: str,
    attention: str,
    num_classes: int,
    arguments: Mapping[str, Any],
) -> tuple[nn.Module, dict[str, Any]] | None:
    """``network`` anew, for images of that size, and what makes it so; ``None`` where it takes them as it is, cannot be
    built for them, or the weights fit the new one less."""
    of_size = size_arguments(architecture, size)
    misfit = len(differences(network.state_dict(), state).misshapen)
    strict = built_for(network) not in (None, size)
    if not of_size or of_size.keys() & arguments.keys() or not (misfit or strict):
        return None
    try:
        sized = build_network(architecture, attention, num_classes, {**arguments, **of_size})
    except DasExplainError:  # there is no such argument
        return None
    fits = len(differences(sized.state_dict(), state).misshapen)
    return (sized, of_size) if fits < misfit or (strict and fits == misfit) else None


def _usual_preprocess(architecture: str, network: nn.Module, text: str) -> Preprocess:
    source, _, name = architecture.partition(":")
    if source == "torchvision":
        usual = usual_preprocess(name)
        return usual.resized(built_for(network) or usual.geometry.size)
    if source == "timm":
        usual = check_preprocess(network_preprocess(network, text), text)
        return usual.resized(built_for(network) or usual.geometry.size)
    return Preprocess()
