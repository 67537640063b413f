"""From a model spec, or a network in memory, to a model that is ready to be explained.

The door of this room. Every wrong file, key, name or class count is one line that says what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from das_explain.checkpoint.blocks import find_blocks
from das_explain.checkpoint.fingerprint import fingerprint, intervened
from das_explain.checkpoint.gating import put_gates
from das_explain.checkpoint.labels import IMAGENET_CLASSES, check_labels, imagenet_labels, match_labels, read_labels
from das_explain.checkpoint.manners import Manners, observe
from das_explain.checkpoint.model import LoadedModel
from das_explain.checkpoint.opened import Opened
from das_explain.checkpoint.randomize import randomize
from das_explain.checkpoint.save import save_model
from das_explain.checkpoint.sources import OPENERS
from das_explain.checkpoint.spec import ModelSpec, parse_spec
from das_explain.checkpoint.warm import warm_start
from das_explain.data.geometry import Preprocess
from das_explain.devices import find_device
from das_explain.errors import DasExplainError, UsageError, first_line
from das_explain.nn.interventions import intervene
from das_explain.nn.registry import BACKBONES
from das_explain.nn.stages import SCRIPTED, Layout, ends_in_front, probe

__all__ = ["fingerprint", "load_model", "match_labels", "save_model", "warm_start"]


def load_model(
    spec: str | Path | nn.Module,
    *,
    name: str | None = None,
    device: str | torch.device | None = None,
    labels: Sequence[str] | str | Path | None = None,
    blocks: Sequence[str] | None = None,
    size: int | tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    layout: Mapping[str, str] | None = None,
) -> LoadedModel:
    """Loads the model that ``spec`` names, strictly, in float32 and eval mode; or takes a network that is in memory.

    Args:
        spec: ``[NAME=]SPEC`` (``checkpoint.spec`` lists the forms), or a classifier (N, 3, H, W) -> (N, classes) in
            float32. Such a network is used as it is, not copied: later changes of its weights count, and its mode and
            gradients are left alone.
        name: overrides the spec's name; of a network in memory, default: its class.
        device: default: CUDA if there is one, else the CPU; a network in memory stays where it is.
        labels: class names in logit order, or a file of them; overrides the model's own. A model of 1000 classes
            without any gets ImageNet's.
        blocks: dotted names of modules; default: the architecture's stages (``nn.stages.find_stages``).
        size: side or (height, width) of the frame that the network sees, in pixels; default: what the checkpoint says,
            else 224. Photos are resized so that the frame holds the usual 224/256 of their shorter side.
        layout: block -> ``nchw``, ``nhwc``, ``tokens`` or ``tokens:PREFIX``, how its output is read as a map; default: by
            what the network knows of itself, else by its shape, where that admits one reading.
        mean, std: per channel, for values in [0, 1]; default: what the checkpoint says, else ImageNet's.

    Returns:
        A model whose ``config`` holds ``architecture``, ``attention``, ``arguments``, ``num_classes``, ``training``
        (what a model directory stores), ``gates`` and ``weights`` (what its gates are replaced with, which of its
        weights are random, or ``None``), and whose ``assumptions`` are sentences on choices made for the user.

    Raises:
        UsageError: the spec, an option or a block does not exist, or gates are to be replaced where there are none.
        DasExplainError: the weights cannot be had, or are not those of the network.

    >>> model = load_model("collage-das-resnet18", device="cpu")
    >>> list(model.blocks), model.preprocess.geometry.size, len(model.labels)
    (['layer1', 'layer2', 'layer3', 'layer4'], (160, 160), 9)
    >>> load_model(model.network, labels=model.labels, size=160).fingerprint == model.fingerprint
    True
    """
    target = find_device(device)
    if isinstance(spec, nn.Module):
        parsed, opened = _in_memory(spec, name)
    else:
        parsed = parse_spec(str(spec), name)
        opened = OPENERS[parsed.kind](parsed)
    if opened.task == "detection":
        raise UsageError(
            f"{parsed.text} is a detector, and this explains classifiers; das-explain evaluate {parsed.text} COCO.json "
            "measures its AP, das-explain models show says what is in it"
        )
    opened.preprocess = _prepared(opened.preprocess, size, mean, std)
    if opened.preprocess_taken and size is None:
        height, width = opened.preprocess.geometry.size
        whose = f"{width} x {height}, {opened.preprocess_taken}"
        opened.notes.insert(0, f"{parsed.text}: nothing says how its input was prepared; taken as {whose}")
    if isinstance(spec, nn.Module):
        opened.num_classes = _classes_of(spec, opened.preprocess.geometry.size)
        network, mark = spec if device is None else _moved(spec, parsed.name, target), fingerprint(spec)
    else:
        network, mark = prepare_network(opened, parsed, target)
    found = find_blocks(network, opened.architecture, opened.preprocess.geometry.size, blocks)
    manners = _manners(network, found, opened, parsed, _layouts(layout, network))
    if not blocks and ends_in_front(network, list(found)):
        opened.notes.append(
            f"{parsed.text}: of its modules only {', '.join(found)} gives a map that can be read, in front of nearly all "
            "that was learned; blocks and layouts can be named by hand"
        )
    opened.notes += manners.notes
    return LoadedModel(
        name=parsed.name,
        spec=parsed.text,
        network=network,
        blocks=found,
        labels=_labels(opened, labels, parsed.text),
        preprocess=opened.preprocess,
        fingerprint=mark,
        config=about(opened, parsed),
        blocks_chosen=bool(blocks),
        layouts=manners.layouts,
        alone=manners.alone,
    )


def _layouts(given: Mapping[str, str] | None, network: nn.Module) -> dict[str, Layout]:
    layouts = {block: Layout.parse(text) for block, text in (given or {}).items()}
    known = dict(network.named_modules())
    if unknown := [block for block in layouts if block not in known]:
        raise UsageError(f"layout of {unknown[0]!r}: there is no such block")
    return layouts


def _manners(
    network: nn.Module, blocks: dict[str, nn.Module], opened: Opened, parsed: ModelSpec, given: dict[str, Layout]
) -> Manners:
    """How a network behaves that is not this project's own; gates that are replaced may well look at other photos."""
    if opened.architecture in BACKBONES or parsed.gates:
        return Manners(given)
    observed = observe(network, parsed.text, blocks, opened.preprocess.geometry.size, given)
    return replace(observed, layouts={**given, **observed.layouts})


def about(opened: Opened, parsed: ModelSpec) -> dict[str, Any]:
    """What is known of a model beside its weights: the ``config`` of a loaded one."""
    return {
        "architecture": opened.architecture,
        "attention": opened.attention,
        "arguments": opened.arguments,
        "num_classes": opened.num_classes,
        "training": opened.training,
        "gates": parsed.gates,
        "weights": parsed.weights,
        "notes": opened.notes,
    }


def prepare_network(opened: Opened, parsed: ModelSpec, device: torch.device) -> tuple[nn.Module, str]:
    """An opened network in float32 and eval mode on ``device``, and its fingerprint.

    Gates are put into it or replaced, and its weights drawn anew, if the spec says so; ``opened`` knows of gates then.

    Raises:
        UsageError: gates are to be added where they cannot stand, or replaced where there are none, or weights drawn down
            to a block that is not there.
        DasExplainError: the device cannot take it.
    """
    network = opened.network.float().eval()
    if parsed.attention:
        network = put_gates(opened, parsed)
    if parsed.weights:
        size, block = opened.preprocess.geometry.size, parsed.weights.partition(":")[2] or None
        if block:
            find_blocks(network, opened.architecture, size, [block])
        randomize(network, size, block)
    mark = fingerprint(network)
    if parsed.gates:
        network, mark = _with_gates(network, parsed, opened), intervened(mark, parsed.gates)
    return _moved(network, parsed.name, device), mark


def _in_memory(network: nn.Module, name: str | None) -> tuple[ModelSpec, Opened]:
    kind = type(network)
    if isinstance(network, torch.jit.ScriptModule):
        raise UsageError(f"the network is {SCRIPTED}")
    other = {parameter.dtype for parameter in network.parameters()} - {torch.float32}
    if other:
        raise UsageError(f"the network's weights are {other.pop()}; give one in float32: network.float()")
    text = f"a {kind.__module__}.{kind.__qualname__} in memory"
    parsed = ModelSpec(text=text, name=name or kind.__name__, kind="memory", target=kind.__name__)
    whose = "as ImageNet's usually is"
    return parsed, Opened(network, f"{kind.__module__}.{kind.__qualname__}", preprocess_taken=whose)


def _classes_of(network: nn.Module, size: tuple[int, int]) -> int:
    try:
        return probe(network, size).num_classes
    except DasExplainError as error:
        raise DasExplainError(f"{error} (size=160 says that it takes images of another size)") from error


def _prepared(
    preprocess: Preprocess,
    size: int | tuple[int, int] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Preprocess:
    """What a checkpoint says of its input, with what the caller says in its place."""
    if size is not None:
        sides = (size, size) if isinstance(size, int) else tuple(size)
        if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
            raise UsageError(f"size must be a side or (height, width) in pixels, not {size!r}")
        preprocess = preprocess.resized(sides)
    changed = preprocess.to_config()
    for key, values in (("mean", mean), ("std", std)):
        if values is not None:
            changed[key] = [float(value) for value in values]
            if len(changed[key]) != 3 or (key == "std" and min(changed[key]) <= 0):
                raise UsageError(f"{key} must be three {'positive ' * (key == 'std')}numbers, not {values!r}")
    return Preprocess.from_config(changed)


def _moved(network: nn.Module, name: str, device: torch.device) -> nn.Module:
    try:
        return network.to(device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # no such card, or it is full
        raise DasExplainError(f"{name} cannot be moved to {device}: {first_line(error)}") from error


def _with_gates(network: nn.Module, spec: ModelSpec, opened: Opened) -> nn.Module:
    try:
        return intervene(network, spec.gates or "")
    except UsageError as error:
        raise UsageError(f"{spec.text}: {error} ({opened.architecture} with attention {opened.attention})") from None


def _labels(opened: Opened, labels: Sequence[str] | str | Path | None, text: str) -> list[str] | None:
    source = f"{labels}" if isinstance(labels, (str, Path)) else f"labels of {text}"
    if isinstance(labels, (str, Path)):
        labels = read_labels(Path(labels))
    if labels is None:
        labels = opened.labels
    if labels is None and opened.num_classes == IMAGENET_CLASSES:
        opened.notes.append(f"{text}: 1000 classes without names; taken for ImageNet's")
        labels = imagenet_labels()
    return None if labels is None else check_labels(list(labels), source, opened.num_classes)
