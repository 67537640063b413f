"""``timm:NAME``: timm's published weights, or its network with random ones."""

from __future__ import annotations

from das_explain.checkpoint.build import build_network
from das_explain.checkpoint.config import check_preprocess
from das_explain.checkpoint.files import hub_cache, tensors_only
from das_explain.checkpoint.opened import Opened
from das_explain.checkpoint.options import only
from das_explain.checkpoint.randomize import seeded
from das_explain.checkpoint.spec import ModelSpec
from das_explain.checkpoint.timm_networks import network_preprocess, timm_classes, timm_labels
from das_explain.errors import DasExplainError, UsageError, first_line
from das_explain.nn.backbones.timm_networks import check_timm, import_timm


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
        try:
            with tensors_only():
                network = timm.create_model(name, pretrained=True)
        except Exception as error:  # timm, the Hub's client and the network below them have no common error
            raise DasExplainError(
                f"{spec.text}: the weights are not in the Hugging Face cache ({hub_cache()}) and could not be fetched "
                f"({first_line(error)})"
            ) from error
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
