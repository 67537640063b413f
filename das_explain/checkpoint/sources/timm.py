"""``timm:NAME``: timm's published weights, or its network with random ones."""

from __future__ import annotations

from contextlib import nullcontext

from das_explain.checkpoint.build import build_network
from das_explain.checkpoint.config import CONFIG, check_preprocess
from das_explain.checkpoint.files import hub_cache, tensors_only
from das_explain.checkpoint.online import cache_only, is_reachable
from das_explain.checkpoint.opened import Opened
from das_explain.checkpoint.options import only
from das_explain.checkpoint.randomize import seeded
from das_explain.checkpoint.spec import ModelSpec
from das_explain.checkpoint.timm_networks import network_preprocess, timm_classes, timm_labels
from das_explain.errors import DasExplainError, UsageError, first_line
from das_explain.nn.backbones.timm_networks import check_timm, import_timm

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""What timm keeps its weights in, on the Hub."""


def open_timm(spec: ModelSpec) -> Opened:
    """``?pretrained=false`` gives random weights, the same ones each time.

    Raises:
        UsageError: an unknown name or option.
        DasExplainError: the weights are not in the cache and could not be fetched.
    """
    timm, name = import_timm(), spec.target
    check_timm(name)
    options = only(spec, "pretrained", "num_classes")
    pretrained = options.pop("pretrained", True)
    if pretrained and options:
        raise UsageError(f"{spec.text}: num_classes goes with pretrained=false")
    if pretrained:
        repository = getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None) or f"timm/{name}"
        online = is_reachable()
        if not online and not _is_cached(repository):
            raise DasExplainError(_unavailable(spec, repository, "the Hub cannot be reached"))
        try:
            with tensors_only(), nullcontext() if online else cache_only():
                network = timm.create_model(name, pretrained=True)
        except Exception as error:  # timm, the Hub's client and the network below them have no common error
            raise DasExplainError(_unavailable(spec, repository, first_line(error))) from error
    else:
        with seeded():
            network = build_network(f"timm:{name}", num_classes=options.get("num_classes", timm_classes(name)))
    return Opened(
        network=network,
        architecture=f"timm:{name}",
        num_classes=network.num_classes,
        labels=timm_labels(network) if pretrained else None,
        preprocess=check_preprocess(network_preprocess(network, spec.text), spec.text),
        training={"source": f"timm:{name}"} if pretrained else None,
    )


def _is_cached(repository: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return any(isinstance(try_to_load_from_cache(repository, name), str) for name in WEIGHT_FILES)


def _unavailable(spec: ModelSpec, repository: str, reason: str) -> str:
    return (
        f"{spec.text}: the weights are not in the Hugging Face cache ({hub_cache()}) and could not be fetched ({reason}); "
        f"put {WEIGHT_FILES[0]} of https://huggingface.co/{repository} anywhere and write timm:{spec.target}@FILE, or "
        f"{CONFIG} and {WEIGHT_FILES[0]} into a folder and name that"
    )
