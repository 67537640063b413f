"""torchvision's classifiers: which there are, the untrained networks, and what their weights say of the input."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import torchvision
from torch import Tensor, nn

from das_explain.data.geometry import Geometry, Preprocess
from das_explain.errors import UsageError

WITH_SIDE_HEADS = {"googlenet": "aux1.", "inception_v3": "AuxLogits."}
"""Networks with further heads for training, and how the keys of these begin."""
ARGUMENTS = ("aux_logits", "transform_input")  # what GoogLeNet's and Inception's weights change


def check_torchvision(name: str) -> None:
    """Raises ``UsageError`` unless torchvision has a classifier of that name."""
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        close = get_close_matches(name, known) or known[:0]
        hint = f"; did you mean {' or '.join(close)}?" if close else f"; it has {len(known)}, such as resnet50"
        raise UsageError(f"torchvision has no classifier {name!r}{hint}")


def build_torchvision(name: str, num_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """The untrained network. Raises ``UsageError`` for an unknown name or argument."""
    check_torchvision(name)
    for key, value in arguments.items():
        if key not in ARGUMENTS or name not in WITH_SIDE_HEADS or type(value) is not bool:
            raise UsageError(f"torchvision:{name} takes no argument {key}={value!r}")
    if name in WITH_SIDE_HEADS:
        arguments = {"init_weights": False, **arguments}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torchvision.models.get_model(name, weights=None, num_classes=num_classes, **arguments)


def arguments_of_weights(name: str, state: Mapping[str, Tensor]) -> dict[str, bool]:
    """The arguments that the keys of trained weights tell: whether the heads for training are among them."""
    start = WITH_SIDE_HEADS.get(name)
    return {"aux_logits": any(key.startswith(start) for key in state)} if start else {}


def arguments_of_network(network: nn.Module) -> dict[str, bool]:
    """What GoogLeNet's and Inception's weights change in the network, besides weights."""
    return {name: getattr(network, name) for name in ARGUMENTS if hasattr(network, name)}


def published_preprocess(weights: Any) -> Preprocess:
    """How published weights (a member of a ``WeightsEnum``) want their photos."""
    preset = weights.transforms()
    size = preset.crop_size * 2 if len(preset.crop_size) == 1 else preset.crop_size
    geometry = Geometry(tuple(size), preset.resize_size[0], preset.interpolation.value)
    return Preprocess(geometry, tuple(preset.mean), tuple(preset.std))


def usual_preprocess(name: str) -> Preprocess:
    """ImageNet's, at the size of the network's published weights."""
    size = published_preprocess(torchvision.models.get_model_weights(name).DEFAULT).geometry.size
    return Preprocess().resized(size)
