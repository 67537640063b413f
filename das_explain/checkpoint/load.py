"""From a model spec, or a network in memory, to a model that is ready to be explained.

The door of this room. Every wrong file, key, name or class count is one line that says what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from das_explain.checkpoint.answering import let_answer
from das_explain.checkpoint.blocks import find_blocks
from das_explain.checkpoint.fingerprint import fingerprint, intervened
from das_explain.checkpoint.gating import put_gates
from das_explain.checkpoint.inputs import GIVEN, carried_preprocess, differing, for_channels, prepare
from das_explain.checkpoint.labels import IMAGENET_CLASSES, check_labels, imagenet_labels, read_labels
from das_explain.checkpoint.manners import Manners, observe
from das_explain.checkpoint.matching import match_labels
from das_explain.checkpoint.model import LoadedModel
from das_explain.checkpoint.opened import Opened
from das_explain.checkpoint.randomize import randomize
from das_explain.checkpoint.save import save_model
from das_explain.checkpoint.sizes import built_for, embedded_size, in_words
from das_explain.checkpoint.sources import OPENERS
from das_explain.checkpoint.spec import ModelSpec, parse_spec
from das_explain.checkpoint.transformers_networks import config_activation, config_labels, config_of
from das_explain.checkpoint.warm import warm_start
from das_explain.devices import find_device
from das_explain.errors import DasExplainError, UsageError, first_line
from das_explain.nn.interventions import intervene
from das_explain.nn.registry import BACKBONES
from das_explain.nn.stages import SCRIPTED, Layout, ends_in_front

__all__ = ["fingerprint", "load_model", "match_labels", "save_model", "warm_start"]


MADE_ELSEWHERE = ("python", "memory")
"""Kinds of specs whose networks carry what is known of them."""


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
    resize: int | None = None,
    interpolation: str | None = None,
    logits: str | None = None,
    activation: str | None = None,
) -> LoadedModel:
    """Loads the model that ``spec`` names, strictly, in float32 and eval mode; or takes a network that is in memory.

    Args:
        spec: ``[NAME=]SPEC`` (``checkpoint.spec`` lists the forms), or a classifier (N, C, H, W) -> (N, classes) in
            float32, C being 3 (RGB) or 1 (grey). Such a network is used as it is, not copied: later changes of its weights
            count, and its mode and gradients are left alone. It may return its logits in a tuple, a dictionary or a
            dataclass, or one number per image, the logit z of class 1 against class 0: two classes, -z and z.
        name: overrides the spec's name; of a network in memory, default: its class.
        device: default: CUDA if there is one, else the CPU; a network in memory stays where it is.
        labels: class names in logit order, or a file of them; overrides the model's own. A model of 1000 classes
            without any gets ImageNet's.
        blocks: dotted names of modules; default: the architecture's stages (``nn.stages.find_stages``).
        size: side or (height, width) of the frame that the network sees, in pixels; default: what the checkpoint says,
            else 224. Photos are resized so that the frame holds the usual 224/256 of their shorter side.
        layout: block -> ``nchw``, ``nhwc``, ``tokens`` or ``tokens:PREFIX``, how its output is read as a map; default: by
            what the network knows of itself, else by its shape, where that admits one reading.
        mean, std: per channel, for values in [0, 1]; default: what the checkpoint or the network says (timm's
            ``pretrained_cfg``, torchvision's ``weights``, transformers' ``processor``), else ImageNet's.
        resize: pixels of the shorter side before the frame is cropped; ``interpolation``: ``nearest``, ``bilinear``,
            ``bicubic`` or ``lanczos``; defaults as above.
        logits: dotted name of the module whose output the logits are, where the network goes on to probabilities.
        activation: what makes confidences of logits: ``softmax``, ``sigmoid`` (several classes may be right at once) or
            ``none`` (they are probabilities); default: what the network tells, else ``softmax``.

    Returns:
        A model whose ``config`` holds ``architecture``, ``attention``, ``arguments``, ``num_classes``, ``training``
        (what a model directory stores; ``rows`` of its head are 1 for two classes told apart by one logit), ``gates`` and ``weights`` (what its gates are replaced with, which of its
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
    given = {"size": size, "resize": resize, "interpolation": interpolation, "mean": mean, "std": std}
    _prepare_input(opened, parsed, {key: value for key, value in given.items() if value is not None})
    if isinstance(spec, nn.Module):
        network, mark = spec if device is None else _moved(spec, parsed.name, target), fingerprint(spec)
    else:
        network, mark = prepare_network(opened, parsed, target)
    network = _with_logits(network, opened, parsed, logits, activation)
    with _sizes_hinted(parsed):
        found = find_blocks(network, opened.architecture, opened.preprocess.geometry.size, blocks)
    manners = _manners(network, found, opened, parsed, _layouts(layout, network))
    if not blocks and ends_in_front(network, list(found)):
        opened.notes.append(
            f"{parsed.text}: no block to explain was found behind {list(found)[-1]}, which stands in front of nearly all "
            "that was learned; blocks and layouts can be named by hand"
        )
    opened.notes += manners.notes
    return LoadedModel(
        name=parsed.name,
        spec=parsed.text,
        network=network,
        blocks=found,
        labels=_labels(opened, labels or parsed.shared.get("labels"), parsed),
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
        "rows": opened.rows,
        "activation": opened.activation,
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


def _prepare_input(opened: Opened, parsed: ModelSpec, arguments: dict[str, Any]) -> None:
    """Sets ``opened.preprocess``: as the checkpoint or the network says, as the user says in its place; notes on it."""
    given = {key: value for key, value in parsed.shared.items() if key in GIVEN} | arguments
    if parsed.kind in MADE_ELSEWHERE:  # of a file's network the library's configuration is of other weights
        _take_its_own(opened, parsed.text)
    known, text = opened.preprocess, parsed.text
    used, assumed = for_channels(prepare(known, given, text), opened.network, text)
    if opened.preprocess_taken and "size" not in given:
        whose = f"{in_words(used.geometry.size)}, {opened.preprocess_taken}"
        opened.notes.insert(0, f"{text}: nothing says how its input was prepared; taken as {whose}")
    if assumed and not {"mean", "std"} & given.keys():
        opened.notes.append(assumed)
    if not opened.preprocess_taken and (told := differing(known, used, given)):
        opened.notes.append(f"{text}: its input is prepared otherwise than it says itself: {told}")
    made, shown = embedded_size(opened.network), used.geometry.size
    if made not in (None, shown) and "size" not in given:
        how = f"size={made}" if parsed.kind == "memory" else f"?size={in_words(made)}"
        what = f"its patch embedding was made for {in_words(made)}, and it is shown {in_words(shown)}"
        opened.notes.append(f"{text}: {what}; {how} shows it what it was made for")
    opened.preprocess = used


def _take_its_own(opened: Opened, text: str) -> None:
    """What the network carries, and the size that it is built for."""
    where = ""
    opened.activation = opened.activation or config_activation(config_of(opened.network))
    if carried := carried_preprocess(opened.network, text):
        opened.preprocess, where = carried
        opened.preprocess_taken = None
        if "." in where:
            opened.notes.append(f"{text}: its input is prepared as {where} says")
    said, size = opened.preprocess.geometry.size, built_for(opened.network)
    if size in (None, said):
        return
    if where:
        told = f"{where} says {in_words(said)}, but it is built for {in_words(size)}, and is shown such"
        opened.notes.append(f"{text}: {told}")
    opened.preprocess = opened.preprocess.resized(size)


def _with_logits(
    network: nn.Module, opened: Opened, parsed: ModelSpec, logits: str | None, activation: str | None
) -> nn.Module:
    """The network, or ``Answers`` of it where its output is not logits (N, K); what that tells goes to ``opened``.

    Networks that are built by name answer with logits, so that only others are looked at.
    """
    opened.rows = opened.num_classes
    logits, activation = logits or parsed.shared.get("logits"), activation or parsed.shared.get("activation")
    known = opened.num_classes is not None and opened.num_classes > 1
    if known and not logits and not activation:
        return network
    size, activation = opened.preprocess.geometry.size, activation or opened.activation
    with _sizes_hinted(parsed):
        try:
            found = let_answer(network, size, parsed.text, logits=logits, activation=activation)
        except UsageError:
            raise
        except DasExplainError as error:
            raise DasExplainError(f"{parsed.text}: {error}") from error
    opened.num_classes, opened.activation = found.classes, found.activation
    opened.notes += found.notes
    return found.network


@contextmanager
def _sizes_hinted(parsed: ModelSpec) -> Iterator[None]:
    """Where a network does not take an image, its spec goes before the message, and how to say another size after it."""
    try:
        yield
    except DasExplainError as error:
        if "does not take an image" not in str(error):
            raise
        how = "size=160" if parsed.kind == "memory" else "?size=160 after the spec"
        told = str(error).removeprefix(f"{parsed.text}: ")
        message = f"{parsed.text}: {told} ({how} says that it takes images of another size)"
        raise DasExplainError(message) from error


def _moved(network: nn.Module, name: str, device: torch.device) -> nn.Module:
    try:
        return network.to(device)
    except torch.OutOfMemoryError as error:
        raise DasExplainError(f"{name} cannot be moved to {device}: {first_line(error)}") from error
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # there is no such card
        raise UsageError(f"{name} cannot be moved to {device}: {first_line(error)}") from error


def _with_gates(network: nn.Module, spec: ModelSpec, opened: Opened) -> nn.Module:
    try:
        return intervene(network, spec.gates or "")
    except UsageError as error:
        raise UsageError(f"{spec.text}: {error} ({opened.architecture} with attention {opened.attention})") from None


def _labels(opened: Opened, labels: Sequence[str] | str | Path | None, parsed: ModelSpec) -> list[str] | None:
    text = parsed.text
    source = f"{labels}" if isinstance(labels, (str, Path)) else f"labels of {text}"
    if isinstance(labels, (str, Path)):
        labels = read_labels(Path(labels))
    if labels is None:
        labels = opened.labels
    if labels is None and parsed.kind in MADE_ELSEWHERE:
        labels = _carried_labels(opened, text)
    if labels is None and opened.num_classes == IMAGENET_CLASSES:
        opened.notes.append(f"{text}: 1000 classes without names; taken for ImageNet's")
        labels = imagenet_labels()
    return None if labels is None else check_labels(list(labels), source, opened.num_classes)


def _carried_labels(opened: Opened, text: str) -> list[str] | None:
    """The names that a network of transformers' carries for the classes it answers with."""
    config = config_of(opened.network)
    try:
        labels = config_labels(config, f"{text}: its config.id2label") if config else None
    except DasExplainError as error:
        opened.notes.append(f"{error}; --labels or labels= names the classes")
        return None
    return labels if labels and len(labels) == opened.num_classes else None
