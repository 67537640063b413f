"""``torchvision:NAME[:WEIGHTS]``: torchvision's published weights, or its network with random ones."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torchvision

from das_explain.checkpoint.build import build_network
from das_explain.checkpoint.files import read_weights, tensors_only
from das_explain.checkpoint.labels import IMAGENET_CLASSES
from das_explain.checkpoint.opened import Opened
from das_explain.checkpoint.options import only
from das_explain.checkpoint.randomize import seeded
from das_explain.checkpoint.spec import ModelSpec
from das_explain.checkpoint.torchvision_networks import arguments_of_network, published_preprocess
from das_explain.errors import DasExplainError, UsageError, first_line
from das_explain.nn.backbones.torchvision_networks import check_torchvision
from das_explain.nn.registry import BACKBONES

RANDOM = "none"
SECONDS = 30  # without an answer, a download has failed


def open_torchvision(spec: ModelSpec) -> Opened:
    """The weights ``none`` are random ones, the same each time.

    Raises:
        UsageError: an unknown name, option or set of weights.
        DasExplainError: the weights could not be downloaded; the message says which file to put where.
    """
    name = spec.target
    check_torchvision(name)
    architecture = name if name in BACKBONES else f"torchvision:{name}"
    if (spec.variant or "").lower() == RANDOM:
        num_classes = only(spec, "num_classes").get("num_classes", IMAGENET_CLASSES)
        with seeded():
            network = build_network(f"torchvision:{name}", num_classes=num_classes)
        return Opened(network, architecture, arguments=arguments_of_network(network), num_classes=num_classes)
    only(spec)
    weights = _weights(name, spec.variant, spec.text)
    read_weights(_download(weights.url, spec.text))  # refuses a file that is more than tensors
    with tensors_only():
        network = torchvision.models.get_model(name, weights=weights, progress=False)
    labels = list(weights.meta["categories"])
    return Opened(
        network=network,
        architecture=architecture,
        arguments=arguments_of_network(network),
        num_classes=len(labels),
        labels=labels,
        preprocess=published_preprocess(weights),
        training={"source": f"torchvision:{name}:{weights.name}", "url": weights.url},
    )


def _weights(name: str, wanted: str | None, text: str) -> Any:
    known = torchvision.models.get_model_weights(name)
    if wanted is None or wanted.upper() == "DEFAULT":
        return known.DEFAULT
    for weights in known:
        if weights.name == wanted.upper():
            return weights
    names = ", ".join(weights.name for weights in known)
    raise UsageError(f"{text}: {name} has no weights {wanted!r}; it has {names}, and {RANDOM} for random ones")


def _download(url: str, text: str) -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if path.is_file():
        return path
    hash_prefix = torch.hub.HASH_REGEX.search(path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _patience():
            torch.hub.download_url_to_file(url, str(path), hash_prefix and hash_prefix[1], progress=sys.stderr.isatty())
    except (OSError, RuntimeError) as error:
        raise DasExplainError(
            f"{text} could not be downloaded ({first_line(error)}); put {url} at {path} by hand"
        ) from error
    return path


@contextmanager
def _patience() -> Iterator[None]:
    """A server that does not answer fails the download instead of halting it."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
