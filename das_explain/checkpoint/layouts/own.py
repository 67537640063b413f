"""This project's model directories: ``config.json`` with ``format``, ``model.safetensors``, ``README.md``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from das_explain.checkpoint.build import build_network
from das_explain.checkpoint.config import CONFIG, WEIGHTS, check_config
from das_explain.checkpoint.contents import make_grey
from das_explain.checkpoint.fit import described, load_strict
from das_explain.checkpoint.layouts.weights import check_class_count, folder_weights
from das_explain.checkpoint.modulation import arguments_read
from das_explain.checkpoint.opened import Opened
from das_explain.errors import DasExplainError, UsageError


def read(directory: Path, values: dict[str, Any]) -> Opened:
    """``values`` are those of ``config.json``. Errors as ``read_folder``'s."""
    config = check_config(values, directory / CONFIG)
    arguments = arguments_read(config.attention, config.arguments)
    readings = folder_weights(directory)
    if ":" in config.architecture:  # before a network of that size is built
        check_class_count(directory, readings, config.num_classes)
    try:
        network = build_network(config.architecture, config.attention, config.num_classes, arguments, config.task)
    except UsageError as error:  # the request was fine, the directory is not
        raise DasExplainError(f"{directory / CONFIG}: {error}") from None
    if config.preprocess.channels == 1:
        make_grey(network)
    wanted = described(config.architecture, config.attention)
    load_strict(network, readings, source=str(directory / WEIGHTS), wanted=wanted)
    return Opened(
        network=network,
        architecture=config.architecture,
        attention=config.attention,
        arguments=arguments,
        num_classes=config.num_classes,
        labels=config.labels,
        preprocess=config.preprocess,
        training=config.training,
        task=config.task,
    )
