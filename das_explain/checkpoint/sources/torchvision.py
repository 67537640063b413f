"""Openers for published weights: torchvision, timm, and model directories on the Hugging Face Hub."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torchvision

from das_explain.checkpoint.build import (
    TORCHVISION_ARGUMENTS,
    build_network,
    check_timm,
    check_torchvision,
    import_timm,
)
from das_explain.checkpoint.config import CARD, CONFIG, WEIGHTS
from das_explain.checkpoint.files import read_weights
from das_explain.checkpoint.labels import IMAGENET_CLASSES
from das_explain.checkpoint.local import read_directory
from das_explain.checkpoint.opened import Opened
from das_explain.checkpoint.spec import ModelSpec
from das_explain.data.geometry import FILTERS, Geometry, Preprocess
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn.registry import BACKBONES

RANDOM = "none"
SECONDS = 30  # without an answer, a download has failed


def open_torchvision(spec: ModelSpec) -> Opened:
    """``torchvision:NAME[:WEIGHTS]``; ``none`` gives random weights, the same ones each time."""
    name = spec.target
    check_torchvision(name)
    architecture = name if name in BACKBONES else f"torchvision:{name}"
    if (spec.variant or "").lower() == RANDOM:
        num_classes = _only(spec, "num_classes").get("num_classes", IMAGENET_CLASSES)
        with _seeded():
            network = build_network(f"torchvision:{name}", num_classes=num_classes)
        return Opened(network, architecture, arguments=_variant(network), num_classes=num_classes)
    _only(spec)
    weights = _weights(name, spec.variant, spec.text)
    read_weights(_download(weights.url, spec.text))  # refuses a file that is more than tensors
    with _tensors_only():
        network = torchvision.models.get_model(name, weights=weights, progress=False)
    labels = list(weights.meta["categories"])
    preset = weights.transforms()
    size = preset.crop_size * 2 if len(preset.crop_size) == 1 else preset.crop_size
    geometry = Geometry(tuple(size), preset.resize_size[0], preset.interpolation.value)
    return Opened(
        network=network,
        architecture=architecture,
        arguments=_variant(network),
        num_classes=len(labels),
        labels=labels,
        preprocess=Preprocess(geometry, tuple(preset.mean), tuple(preset.std)),
        training={"source": f"torchvision:{name}:{weights.name}", "url": weights.url},
    )


def open_timm(spec: ModelSpec) -> Opened:
    """``timm:NAME``; ``?pretrained=false`` gives random weights, the same ones each time."""
    timm, name = import_timm(), spec.target
    check_timm(name)
    options = _only(spec, "pretrained", "num_classes")
    pretrained = options.pop("pretrained", True)
    if pretrained and options:
        raise UsageError(f"{spec.text}: num_classes goes with pretrained=false")
    if pretrained:
        try:
            with _tensors_only():
                network = timm.create_model(name, pretrained=True)
        except Exception as error:  # timm, the Hub's client and the network below them have no common error
            raise DasExplainError(
                f"{spec.text}: the weights are not in the Hugging Face cache ({_hub_cache()}) and could not be fetched "
                f"({_first_line(error)})"
            ) from error
    else:
        with _seeded():
            network = build_network(f"timm:{name}", num_classes=options.get("num_classes", _timm_classes(timm, name)))
    return Opened(
        network=network,
        architecture=f"timm:{name}",
        num_classes=network.num_classes,
        labels=_timm_labels(network) if pretrained else None,
        preprocess=_timm_preprocess(timm.data.resolve_data_config({}, model=network), spec.text),
        training={"source": f"timm:{name}"} if pretrained else None,
    )


def open_hub(spec: ModelSpec) -> Opened:
    """``hf:USER/REPO[@REVISION]``: from the local cache if it is there, else downloaded."""
    from huggingface_hub import snapshot_download

    fetch = {"repo_id": spec.target, "revision": spec.variant, "allow_patterns": [CONFIG, WEIGHTS, CARD]}
    try:
        directory = Path(snapshot_download(**fetch, local_files_only=True))
    except Exception:  # not in the cache; the download below says why it cannot be had
        directory = None
    if directory is None or not all((directory / file).is_file() for file in (CONFIG, WEIGHTS)):
        try:
            directory = Path(snapshot_download(**fetch))
        except Exception as error:  # as above
            raise DasExplainError(
                f"{spec.text} is not in the Hugging Face cache ({_hub_cache()}) and could not be fetched "
                f"({_first_line(error)}); download {CONFIG} and {WEIGHTS} of {spec.target} into a folder and name that"
            ) from error
    try:
        return read_directory(directory)
    except DasExplainError as error:
        raise DasExplainError(f"{spec.text}: {error}") from None


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
            f"{text} could not be downloaded ({_first_line(error)}); put {url} at {path} by hand"
        ) from error
    return path


@contextmanager
def _tensors_only():
    """Nobody's ``torch.load`` below runs a pickle, whatever it is called with."""
    before = os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        yield
    finally:
        del os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"]
        if before is not None:
            os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = before


@contextmanager
def _patience():
    """A server that does not answer fails the download instead of halting it."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _variant(network: torch.nn.Module) -> dict[str, bool]:
    """What GoogLeNet's and Inception's weights change in the network, besides weights."""
    return {name: getattr(network, name) for name in TORCHVISION_ARGUMENTS if hasattr(network, name)}


def _only(spec: ModelSpec, *known: str) -> dict[str, Any]:
    if unknown := [key for key in spec.options if key not in known]:
        takes = f"it takes {', '.join(known)}" if known else "published weights take none"
        raise UsageError(f"{spec.text}: unknown option {unknown[0]!r}; {takes}")
    return dict(spec.options)


def _timm_classes(timm: Any, name: str) -> int:
    config = timm.get_pretrained_cfg(name)
    return config.num_classes if config is not None and config.num_classes else IMAGENET_CLASSES


def _timm_labels(network: Any) -> list[str] | None:
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset(network)
    if subset is None or network.num_classes == IMAGENET_CLASSES:  # those get torchvision's words for them
        return None
    return ImageNetInfo(subset).label_names()


def _timm_preprocess(config: dict[str, Any], text: str) -> Preprocess:
    channels, height, width = config["input_size"]
    if channels != 3:
        raise DasExplainError(f"{text} takes images of {channels} channels; only RGB can be explained")
    squash = config.get("crop_mode") == "squash"
    interpolation = config["interpolation"] if config["interpolation"] in FILTERS else "bicubic"
    geometry = Geometry(
        size=(height, width),
        resize=int(min(height, width) / config["crop_pct"]),
        interpolation=interpolation,
        fit="squash" if squash else "crop",
    )
    return Preprocess(geometry, tuple(config["mean"]), tuple(config["std"]))


def _hub_cache() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
