"""timm's classifiers by name, without weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from torch import nn

from das_explain.errors import DasExplainError, UsageError, first_line, missing_package
from das_explain.nn.bounded import too_large

NOT_ARGUMENTS = ("features_only", "out_indices", "feature_cfg", "kwargs_filter", "num_classes")
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
    that would have timm read a file, fetch anything, or build something else than a classifier of grey or RGB images
    (``in_chans``).

    Raises:
        UsageError: an unknown name or argument, or images of other channels.
        DasExplainError: timm cannot build it.
    """
    check_timm(name)
    timm = import_timm()
    refused = {*inspect.signature(timm.create_model).parameters, *NOT_ARGUMENTS}
    for key, value in arguments.items():
        if key in refused or key.startswith("pretrained") or not _plain(value):
            raise UsageError(f"timm:{name} takes no argument {key!r}")
    if number := too_large(arguments):
        raise UsageError(f"timm:{name} has no argument as large as {number}")
    if (channels := arguments.get("in_chans", 3)) not in (1, 3):
        raise UsageError(
            f"timm:{name} for images of {channels} channels; only grey (1) and RGB (3) images can be explained"
        )
    try:
        return timm.create_model(name, pretrained=False, num_classes=num_classes, **arguments)
    except DasExplainError:
        raise
    except Exception as error:  # whatever its networks do with a number that makes no sense
        raise DasExplainError(f"timm cannot build {name}: {first_line(error)}") from error


def timm_size(network: Any) -> tuple[int, int]:
    """(height, width) of the photos that the network's configuration names."""
    _, height, width = import_timm().data.resolve_data_config({}, model=network)["input_size"]
    return height, width


def _plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))
