"""timm's networks: what their configuration says of input and classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from das_explain.checkpoint.labels import IMAGENET_CLASSES
from das_explain.data.geometry import FILTERS
from das_explain.errors import DasExplainError
from das_explain.nn.backbones.timm_networks import import_timm


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
        DasExplainError: the network takes neither grey nor RGB images.
    """
    channels, height, width = config["input_size"]
    if channels not in (1, 3):
        raise DasExplainError(
            f"{text} takes images of {channels} channels; only grey (1) and RGB (3) images can be explained"
        )
    interpolation = config.get("interpolation") or "bicubic"  # what a configuration lacks is timm's default
    return {
        "size": [height, width],
        "resize": int(min(height, width) / (config.get("crop_pct") or 0.875)),
        "interpolation": interpolation if interpolation in FILTERS else "bicubic",
        "fit": "squash" if config.get("crop_mode") == "squash" else "crop",
        "mean": list(config["mean"]),
        "std": list(config["std"]),
    }


def network_preprocess(network: nn.Module, text: str) -> dict[str, Any]:
    """``timm_preprocess`` of what a network of timm's says of itself."""
    return timm_preprocess(import_timm().data.resolve_data_config({}, model=network), text)
