"""From a network to a model directory that ``load_model`` reads back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from das_explain.checkpoint.build import build_network, class_count_of, classes_answered
from das_explain.checkpoint.config import CARD, CONFIG, WEIGHTS, ModelConfig
from das_explain.checkpoint.contents import make_grey
from das_explain.checkpoint.differences import describe, differences
from das_explain.checkpoint.labels import check_labels
from das_explain.checkpoint.modulation import arguments_to_write
from das_explain.checkpoint.wrappers import best_reading, candidates
from das_explain.data.geometry import Preprocess
from das_explain.errors import DasExplainError
from das_explain.files import replace_file, write_text_whole
from das_explain.nn.anywhere import places_of


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
        num_classes = class_count_of(network)
    if num_classes is None:
        raise DasExplainError("the network has no linear layer that gives logits: say num_classes")
    built = build_network(architecture, attention, num_classes, arguments, task)
    if preprocess is not None and preprocess.channels == 1:
        make_grey(built)
    expected, places = built.state_dict(), places_of(built)
    if places:  # where gates stand by default, and how they start, is for others' networks a matter of the version
        arguments["gates"] = list(places)
        arguments |= {"init": "identity"} if any(key.endswith(".gate.strength") for key in expected) else {}
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
        arguments=arguments_to_write(attention, arguments),
        labels=None if labels is None else check_labels(list(labels), "labels", classes_answered(num_classes)),
        preprocess=preprocess or Preprocess(),
        training=None if training is None else dict(training),
        task=task,
    )
    text, tensors = config.to_json(), {key: _stored(key, state[key], half) for key in expected if key in state}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        replace_file(directory / WEIGHTS, lambda path: save_file(tensors, path, metadata={"format": "pt"}))
        write_text_whole(directory / CARD, card or _card(directory, config))
        write_text_whole(directory / CONFIG, text)
    except (OSError, SafetensorError) as error:
        raise DasExplainError(f"cannot write the model directory {directory}: {error}") from error
    return directory


def _stored(key: str, tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().to("cpu", copy=True).contiguous()
    if not tensor.is_floating_point():
        return tensor
    if not torch.isfinite(tensor).all():
        raise DasExplainError(f"the network's {key} is not finite (did the training diverge?); nothing was written")
    narrow = tensor.half() if half else tensor.float()
    return narrow if torch.isfinite(narrow).all() else tensor.float()  # too large for float16


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
