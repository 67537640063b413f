"""timm's networks: which there are, the untrained ones, and what their configuration says of input and classes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from torch import nn

from das_explain.checkpoint.labels import IMAGENET_CLASSES
from das_explain.data.geometry import FILTERS
from das_explain.errors import DasExplainError, UsageError, first_line, missing_package

NOT_ARGUMENTS = ("features_only", "out_indices", "feature_cfg", "kwargs_filter", "num_classes", "in_chans")
"""Of a network's arguments those that make it something else than a classifier of photos, or are given elsewhere."""


def import_timm() -> Any:
    """timm, or the error that names the extra to install."""
    try:
        import timm
    except ImportError:
        raise missing_package("timm", "timm", "a timm: model") from None
    return timm


def check_timm(name: str) -> None:
    """Raises ``UsageError`` unless timm has a network of that name (``resnet50`` or ``resnet50.a1_in1k``)."""
    timm = import_timm()
    if not timm.is_model(name):
        close = get_close_matches(name, timm.list_models())
        raise UsageError(f"timm has no model {name!r}" + (f"; did you mean {' or '.join(close)}?" if close else ""))


def build_timm(name: str, num_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """The untrained network.

    ``arguments`` are those of timm's network and may come from a stranger's file: only plain values are taken, and none
    that would have timm read a file, fetch anything, or build something else than a classifier.

    Raises:
        UsageError: an unknown name or argument.
        DasExplainError: timm cannot build it.
    """
    check_timm(name)
    timm = import_timm()
    refused = {*inspect.signature(timm.create_model).parameters, *NOT_ARGUMENTS}
    for key, value in arguments.items():
        if key in refused or key.startswith("pretrained") or not _plain(value):
            raise UsageError(f"timm:{name} takes no argument {key!r}")
    try:
        return timm.create_model(name, pretrained=False, num_classes=num_classes, **arguments)
    except (RuntimeError, TypeError, ValueError, AttributeError, KeyError, AssertionError) as error:
        raise DasExplainError(f"timm cannot build {name}: {first_line(error)}") from error


def timm_classes(name: str) -> int:
    """The number of classes of a network's published weights."""
    config = import_timm().get_pretrained_cfg(name)
    return config.num_classes if config is not None and config.num_classes else IMAGENET_CLASSES


def timm_labels(network: Any) -> list[str] | None:
    """The class names of published weights; ``None`` for ImageNet's 1000, which get torchvision's words for them."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset(network)
    if subset is None or network.num_classes == IMAGENET_CLASSES:
        return None
    return ImageNetInfo(subset).label_names()


def timm_preprocess(config: Mapping[str, Any], text: str) -> dict[str, Any]:
    """timm's data configuration as the entry ``preprocess`` of a model's ``config.json``; ``text`` is for the message.

    Raises:
        DasExplainError: the network takes no RGB images.
    """
    channels, height, width = config["input_size"]
    if channels != 3:
        raise DasExplainError(f"{text} takes images of {channels} channels; only RGB can be explained")
    return {
        "size": [height, width],
        "resize": int(min(height, width) / config["crop_pct"]),
        "interpolation": config["interpolation"] if config["interpolation"] in FILTERS else "bicubic",
        "fit": "squash" if config.get("crop_mode") == "squash" else "crop",
        "mean": list(config["mean"]),
        "std": list(config["std"]),
    }


def network_preprocess(network: nn.Module, text: str) -> dict[str, Any]:
    """``timm_preprocess`` of what a network of timm's says of itself."""
    return timm_preprocess(import_timm().data.resolve_data_config({}, model=network), text)


def _plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))
