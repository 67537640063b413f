"""Folders as timm writes and publishes them: ``config.json`` with ``architecture``, and weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from das_explain.checkpoint.build import MAX_CLASSES, build_network
from das_explain.checkpoint.config import CONFIG, check_preprocess
from das_explain.checkpoint.contents import for_weights
from das_explain.checkpoint.fit import load_strict
from das_explain.checkpoint.labels import check_labels
from das_explain.checkpoint.layouts.weights import check_class_count, folder_weights, weights_file
from das_explain.checkpoint.opened import Opened
from das_explain.checkpoint.timm_networks import timm_preprocess
from das_explain.data.geometry import Preprocess
from das_explain.errors import DasExplainError
from das_explain.nn.backbones.timm_networks import import_timm
from das_explain.nn.bounded import no_larger_than

IMAGENET_ID = re.compile(r"n\d{8}")


def read(directory: Path, values: dict[str, Any]) -> Opened:
    """``values`` are those of ``config.json``. Errors as ``read_folder``'s."""
    path = directory / CONFIG
    name, data = values["architecture"], values.get("pretrained_cfg", {})
    num_classes = values.get("num_classes", data.get("num_classes") if isinstance(data, dict) else None)
    arguments = values.get("model_args") or {}
    if not isinstance(name, str) or not isinstance(data, dict) or not isinstance(arguments, dict):
        raise DasExplainError(f"{path}: architecture must be a text, pretrained_cfg and model_args must be objects")
    if type(num_classes) is not int or not 1 <= num_classes <= MAX_CLASSES:
        raise DasExplainError(f"{path}: num_classes must lie in 1..{MAX_CLASSES}, not {num_classes!r}")
    arguments = dict(arguments)
    if isinstance(values.get("global_pool"), str):
        arguments = {"global_pool": values["global_pool"], **arguments}
    arguments.pop("num_classes", None)  # said above
    readings = folder_weights(directory)
    check_class_count(directory, readings, num_classes)
    architecture = f"timm:{name}"
    import_timm()  # where it is missing, the message names the package and not the folder
    try:
        with no_larger_than(readings[0].state):
            network = build_network(architecture, num_classes=num_classes, arguments=arguments)
    except DasExplainError as error:
        raise DasExplainError(f"{path}: {error}") from None
    source = str(weights_file(directory))
    if "in_chans" not in arguments:  # older folders do not say it
        network = for_weights(network, readings, source)
    load_strict(network, readings, source=source, wanted=architecture)
    return Opened(
        network=network,
        architecture=architecture,
        arguments=arguments,
        num_classes=num_classes,
        labels=_labels(values, path, num_classes),
        preprocess=_preprocess(data, network, path),
        training={"source": f"a folder of timm's, {directory.name}"},
    )


def _preprocess(data: Mapping[str, Any], network: Any, path: Path) -> Preprocess:
    try:
        config = import_timm().data.resolve_data_config({}, pretrained_cfg=data, model=network)
        values = timm_preprocess(config, str(path))
    except (KeyError, TypeError, ValueError, IndexError, AssertionError, AttributeError, ArithmeticError) as error:
        raise DasExplainError(f"{path}: pretrained_cfg is not as timm writes it ({error})") from None
    return check_preprocess(values, path)


def _labels(values: Mapping[str, Any], path: Path, num_classes: int) -> list[str] | None:
    """The names that the folder gives; ``None`` where it gives none, or ImageNet's ids in place of words."""
    names = values.get("label_names")
    words = values.get("label_descriptions")
    if names is None:
        return None
    names = check_labels(names, str(path), num_classes)
    if isinstance(words, dict) and all(isinstance(words.get(name), str) for name in names):
        return check_labels([words[name] for name in names], str(path), num_classes)
    return None if all(map(IMAGENET_ID.fullmatch, names)) else names
