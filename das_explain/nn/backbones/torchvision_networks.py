"""torchvision's classifiers by name, without weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import torchvision
from torch import nn

from das_explain.errors import UsageError, first_line
from das_explain.nn.bounded import LARGEST

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
        if key == "image_size" and type(value) is int and 0 < value <= LARGEST:  # vision transformers'
            continue
        if key not in ARGUMENTS or name not in WITH_SIDE_HEADS or type(value) is not bool:
            raise UsageError(f"torchvision:{name} takes no argument {key}={value!r}")
    if name in WITH_SIDE_HEADS:
        arguments = {"init_weights": False, **arguments}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torchvision.models.get_model(name, weights=None, num_classes=num_classes, **arguments)
        except Exception as error:  # whatever a network does with a size that makes no sense
            if "image_size" not in arguments:
                raise
            size = arguments["image_size"]
            raise UsageError(f"torchvision:{name} takes no argument image_size={size} ({first_line(error)})") from error


def torchvision_size(name: str) -> tuple[int, int]:
    """(height, width) of the photos that the network's published weights take."""
    crop = torchvision.models.get_model_weights(name).DEFAULT.transforms().crop_size
    return (crop[0], crop[-1])
