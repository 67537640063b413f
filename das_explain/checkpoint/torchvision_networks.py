"""torchvision's classifiers: what their weights say of arguments and input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from das_explain.data.geometry import Geometry, Preprocess
from das_explain.nn.backbones.torchvision_networks import ARGUMENTS, WITH_SIDE_HEADS, torchvision_size


def arguments_of_weights(name: str, state: Mapping[str, Tensor]) -> dict[str, bool]:
    """The arguments that the keys of trained weights tell: whether the heads for training are among them."""
    start = WITH_SIDE_HEADS.get(name)
    return {"aux_logits": any(key.startswith(start) for key in state)} if start else {}


def arguments_of_network(network: nn.Module) -> dict[str, bool]:
    """What GoogLeNet's and Inception's weights change in the network, besides weights."""
    return {name: getattr(network, name) for name in ARGUMENTS if hasattr(network, name)}


def published_preprocess(weights: Any) -> Preprocess:
    """How published weights (a member of a ``WeightsEnum``) want their photos."""
    return preset_preprocess(weights.transforms())


def preset_preprocess(preset: Any) -> Preprocess:
    """torchvision's ``ImageClassification`` preset, which weights' ``transforms`` are, as ours."""
    size = preset.crop_size * 2 if len(preset.crop_size) == 1 else preset.crop_size
    geometry = Geometry(tuple(size), preset.resize_size[0], preset.interpolation.value)
    return Preprocess(geometry, tuple(preset.mean), tuple(preset.std))


def usual_preprocess(name: str) -> Preprocess:
    """ImageNet's, at the size of the network's published weights."""
    return Preprocess().resized(torchvision_size(name))
