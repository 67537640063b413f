"""From a model spec to a network that is ready to be explained, and from a network to a model directory.

The only room that reads weights. Every wrong file, key, name or class count is one line that says what to do.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from das_explain.checkpoint.blocks import find_blocks
from das_explain.checkpoint.build import build_network, head_name
from das_explain.checkpoint.config import CARD, CONFIG, WEIGHTS, ModelConfig
from das_explain.checkpoint.files import best_reading, candidates, read_weights
from das_explain.checkpoint.fit import describe, differences
from das_explain.checkpoint.labels import IMAGENET_CLASSES, check_labels, imagenet_labels, match_labels, read_labels
from das_explain.checkpoint.local import open_directory, open_file, open_python
from das_explain.checkpoint.opened import Opened
from das_explain.checkpoint.published import open_hub, open_timm, open_torchvision
from das_explain.checkpoint.spec import ModelSpec, parse_spec
from das_explain.checkpoint.warm import WarmStart, copy_weights
from das_explain.data.geometry import Preprocess
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn.interventions import intervene
from das_explain.types import LoadedModel

__all__ = ["fingerprint", "load_model", "match_labels", "save_model", "warm_start"]

OPENERS: dict[str, Callable[[ModelSpec], Opened]] = {
    "directory": open_directory,
    "file": open_file,
    "torchvision": open_torchvision,
    "timm": open_timm,
    "hf": open_hub,
    "python": open_python,
}


def load_model(
    spec: str,
    *,
    name: str | None = None,
    device: str | torch.device | None = None,
    labels: Sequence[str] | str | Path | None = None,
    blocks: Sequence[str] | None = None,
) -> LoadedModel:
    """Loads the model that ``spec`` names (``weights.spec`` lists the forms), strictly, in float32 and eval mode.

    Args:
        spec: ``[NAME=]SPEC``.
        name: overrides the spec's name.
        device: default: CUDA if there is one, else the CPU.
        labels: class names in logit order, or a file of them; overrides the model's own. A model of 1000 classes
            without any gets ImageNet's.
        blocks: dotted names of modules; default: the architecture's blocks.

    Returns:
        A model whose ``config`` holds ``architecture``, ``attention``, ``arguments``, ``num_classes``, ``training``
        (what a model directory stores), ``gates`` (what its gates are replaced with, or ``None``), and ``notes``:
        sentences on choices that were made for the user.

    Raises:
        UsageError: the spec, an option or a block does not exist, or gates are to be replaced where there are none.
        DasExplainError: the weights cannot be had, or are not those of the network.
    """
    parsed = parse_spec(spec, name)
    target = find_device(device)
    opened = OPENERS[parsed.kind](parsed)
    if opened.task == "detection":
        raise UsageError(
            f"{parsed.text} is a detector, and this explains classifiers; das-explain evaluate {parsed.text} COCO.json "
            "measures its AP, das-explain models show says what is in it"
        )
    network, mark = prepare_network(opened, parsed, target)
    names = _labels(opened, labels, parsed.text)
    found = find_blocks(network, opened.architecture, opened.preprocess.geometry.size, blocks)
    return LoadedModel(
        name=parsed.name,
        spec=parsed.text,
        network=network,
        blocks=found,
        labels=names,
        preprocess=opened.preprocess,
        fingerprint=mark,
        config=about(opened, parsed),
    )


def about(opened: Opened, parsed: ModelSpec) -> dict[str, Any]:
    """What is known of a model beside its weights: the ``config`` of a loaded one."""
    return {
        "architecture": opened.architecture,
        "attention": opened.attention,
        "arguments": opened.arguments,
        "num_classes": opened.num_classes,
        "training": opened.training,
        "gates": parsed.gates,
        "notes": opened.notes,
    }


def save_model(
    directory: str | Path,
    network: nn.Module,
    *,
    architecture: str,
    attention: str = "none",
    arguments: Mapping[str, Any] | None = None,
    labels: Sequence[str] | None = None,
    preprocess: Preprocess | None = None,
    training: Mapping[str, Any] | None = None,
    card: str | None = None,
    half: bool = False,
    num_classes: int | None = None,
    task: str = "classification",
) -> Path:
    """Writes a model directory that ``load_model`` reads back: ``config.json``, ``model.safetensors``, ``README.md``.

    Args:
        directory: made if need be; its files are replaced one by one, each whole.
        network: the weights; DistributedDataParallel and torch.compile are seen through.
        architecture: a backbone, ``torchvision:NAME`` or ``timm:NAME``, with ``attention`` and ``arguments`` such that
            they build this network.
        training: how it was trained, JSON-serialisable.
        card: the text of ``README.md``; default: a short one with what is known.
        half: stores float16 (loads as float32), half the size; a tensor out of its range stays float32.
        num_classes: default: the rows of the network's last linear layer.
        task: ``detection`` for a detector, which ``detectors.load_detector`` reads back; its ``num_classes`` and
            ``labels`` begin with the background.

    Raises:
        UsageError: an unknown architecture, attention or argument.
        DasExplainError: the network is not of that architecture, a weight is not finite, or
            the directory cannot be written.
    """
    directory, arguments = Path(directory), dict(arguments or {})
    if num_classes is None:
        head = head_name(network)
        if head is None:
            raise DasExplainError("the network has no linear layer that gives logits: say num_classes")
        num_classes = network.get_submodule(head).out_features
    expected = build_network(architecture, attention, num_classes, arguments, task).state_dict()
    state = best_reading(candidates(network.state_dict(), "the network"), expected).state
    if found := differences(expected, state):
        raise DasExplainError(
            f"the network is not {architecture} with attention {attention} and {arguments}: "
            f"{describe(found, expected, state)}"
        )
    config = ModelConfig(
        architecture=architecture,
        num_classes=num_classes,
        attention=attention,
        arguments=arguments,
        labels=None if labels is None else check_labels(list(labels), "labels", num_classes),
        preprocess=preprocess or Preprocess(),
        training=None if training is None else dict(training),
        task=task,
    )
    text, tensors = config.to_json(), {key: _stored(key, state[key], half) for key in expected if key in state}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _replace(directory / WEIGHTS, lambda path: save_file(tensors, path, metadata={"format": "pt"}))
        _replace(directory / CARD, lambda path: path.write_text(card or _card(directory, config), encoding="utf-8"))
        _replace(directory / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))
    except (OSError, SafetensorError) as error:
        raise DasExplainError(f"cannot write the model directory {directory}: {error}") from error
    return directory


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
    if spec.gates:
        raise UsageError(f"{spec.text}: a warm start takes weights, which +gates= does not change; leave it out")
    return copy_weights(network, OPENERS[spec.kind](spec).network.state_dict(), spec.text)


def fingerprint(network: nn.Module) -> str:
    """SHA-256, in hexadecimal, over the names, types, shapes and values of a network's state, in order of names."""
    digest = hashlib.sha256()
    for key, tensor in sorted(network.state_dict().items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _with_gates(network: nn.Module, spec: ModelSpec, opened: Opened) -> nn.Module:
    try:
        return intervene(network, spec.gates)
    except UsageError as error:
        raise UsageError(f"{spec.text}: {error} ({opened.architecture} with attention {opened.attention})") from None


def _intervened(mark: str, gates: str) -> str:
    """The fingerprint of a network with replaced gates: it has the weights, but not the results, of the original."""
    return hashlib.sha256(f"{mark}+gates={gates}".encode()).hexdigest()


def prepare_network(opened: Opened, parsed: ModelSpec, device: torch.device) -> tuple[nn.Module, str]:
    """An opened network in float32 and eval mode, its gates replaced if the spec says so, on ``device``; its fingerprint.

    Raises:
        UsageError: gates are to be replaced where there are none.
        DasExplainError: the device cannot take it.
    """
    network = opened.network.float().eval()
    mark = fingerprint(network)
    if parsed.gates:
        network, mark = _with_gates(network, parsed, opened), _intervened(mark, parsed.gates)
    try:
        return network.to(device), mark
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # no such card, or it is full
        raise DasExplainError(f"{parsed.name} cannot be moved to {device}: {str(error).splitlines()[0]}") from error


def find_device(device: str | torch.device | None) -> torch.device:
    """The device of that name; ``None``: CUDA if there is one, else the CPU."""
    if device is None:  # Apple's mps only on request: its results have not been compared with the CPU's
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(device)
    except RuntimeError:
        raise UsageError(f"unknown device {device!r}; write cpu, cuda, cuda:1 or mps") from None


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


def _stored(key: str, tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().to("cpu", copy=True).contiguous()
    if not tensor.is_floating_point():
        return tensor
    if not torch.isfinite(tensor).all():
        raise DasExplainError(f"the network's {key} is not finite (did the training diverge?); nothing was written")
    narrow = tensor.half() if half else tensor.float()
    return narrow if torch.isfinite(narrow).all() else tensor.float()  # too large for float16


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _card(directory: Path, config: ModelConfig) -> str:
    gates = "" if config.attention == "none" else f" with {config.attention} attention"
    height, width = config.preprocess.geometry.size
    about = f"{config.architecture}{gates}, {config.num_classes} classes, input {width} x {height}."
    if config.task == "detection":
        about = f"Faster R-CNN with an FPN on {config.architecture}{gates}, {config.num_classes - 1} classes."
    lines = [
        f"# {directory.resolve().name}",
        "",
        about,
        "",
        f"    das-explain models show {directory}",
    ]
    if config.training:
        lines += ["", "## Training", "", *(f"- {key}: {value}" for key, value in config.training.items())]
    return "\n".join(lines) + "\n"
