"""transformers' networks: what their configuration says of classes and confidences."""

from __future__ import annotations

from typing import Any

from torch import nn

from das_explain.checkpoint.labels import check_labels


def config_of(network: nn.Module) -> Any | None:
    """The configuration of a classifier of transformers', also of one that stands alone in wrappers; else ``None``.

    Of a network with one as a part it is not the whole's: its names are of what that part was trained on.
    """
    while not {"id2label", "num_labels"} <= set(dir(getattr(network, "config", None))):
        children = list(network.children())
        if len(children) != 1:
            return None
        (network,) = children
    return network.config


def config_labels(config: Any, source: str) -> list[str] | None:
    """The class names of a configuration; ``None`` where they are its own, because nobody gave any.

    Raises:
        DasExplainError: they are no names; ``source`` is for the message.
    """
    names = [config.id2label.get(index) for index in range(config.num_labels)]
    if names == [f"LABEL_{index}" for index in range(config.num_labels)]:
        return None
    return check_labels(names, source, config.num_labels)


def config_activation(config: Any) -> str | None:
    """What makes confidences of its logits, where it says so."""
    return "sigmoid" if getattr(config, "problem_type", None) == "multi_label_classification" else None
