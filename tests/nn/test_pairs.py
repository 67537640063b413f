"""Every pair of a backbone and an attention is built (shapes only) and counted, by formulas of its gates' channels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Size, Tensor, nn

from das_explain.checkpoint.build import build_network
from das_explain.errors import UsageError
from das_explain.nn import attentions_of, create_model
from das_explain.nn.attention.eca import BOTTLENECK_KERNELS
from das_explain.nn.backbones.resnet import DEPTHS, STAGES
from das_explain.nn.counts.tables import TABLE1, on_meta
from das_explain.nn.kernel_size import choose_kernel_size
from das_explain.nn.registry import ATTENTION, BACKBONES, Attention, default_gates

pytestmark = pytest.mark.usefixtures("no_start")
PAIRS = [(backbone, attention) for backbone in BACKBONES for attention in attentions_of(backbone)]
LIKE = {"resnet34": "resnet18", "resnet101": "resnet50", "resnet152": "resnet50"}


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@cache
def plain(backbone: str) -> nn.Module:
    return on_meta(backbone, "none")


def _se(c: int) -> int:
    return 2 * c * max(1, c // 16)


def _bam(c: int) -> int:
    h = max(1, c // 16)
    return (2 * c * h + h + c + 2 * c) + (c * h + h + 2 * (9 * h * h + h) + h + 1 + 2)


def _das(c: int) -> int:
    h = max(1, int(0.2 * c))
    return 10 * c + c * h + h + 27 * (9 * h + 1) + 9 * h * c + 2 * c


def _kernel(c: int, backbone: str) -> int:
    return choose_kernel_size(c, BOTTLENECK_KERNELS if backbone in ("resnet50", "resnet101", "resnet152") else None)


ADDED: dict[str, Callable[[int], int]] = {
    "das": _das,
    "se": _se,
    "bam": _bam,
    "cbam": lambda c: _se(c) + c + max(1, c // 16) + 98 + 2,
    "gsop": lambda c: 128 * c + 5 * 128 + 4 * 128 * 129 + 512 * c + c,
    "a2": lambda c: 4 * c * (c // 2) + 3 * (c // 2) + c,
    "gc": lambda c: c + 1 + _se(c) + 3 * max(1, c // 16) + c,
    "gala": lambda c: 3 * c * max(1, c // 16) + 3 * max(1, c // 16) + 1 + 3 * c,
    "srm": lambda c: 4 * c,
    "asr": lambda c: 2 * c + _se(c) + max(1, c // 16),
}


def added(backbone: str, attention: str, channels: list[int]) -> int:
    """Parameters that an attention adds to a network of 1000 classes, with gates on ``channels``."""
    if attention == "eca":
        return sum(_kernel(c, backbone) for c in channels)
    if attention == "defcon1":
        return sum(k * k + k for k in (_kernel(c, backbone) for c in channels))
    if attention == "triplet":
        k = 7 if backbone in DEPTHS else 3
        return len(channels) * 3 * (2 * k * k + 2)
    if attention == "emca":  # a weight for each block of the stage before, or the stem, and for its own scale
        scales = 1 + sum(DEPTHS[backbone][1][:-1])
        return sum(_se(c) for c in channels) + scales + len(channels)
    if attention == "abn":
        c = 2 * channels[0]
        return parameters(plain(backbone).layer4) + 2 * c + 1000 * c + 2000 + 1000**2 + 9000 + 2
    return sum(map(ADDED[attention], channels))


def gate_channels(backbone: str, attention: str) -> list[int]:
    """c of each gate: what the stage or block at its place ends with."""
    blocks = (plain(backbone).get_submodule(place) for place in default_gates(backbone, attention))
    return [
        [m for name, m in block.named_modules() if isinstance(m, nn.Conv2d) and "downsample" not in name][
            -1
        ].out_channels
        for block in blocks
    ]


Kinds = set[tuple[type, tuple[Size, ...]]]


def kinds(network: nn.Module) -> Kinds:
    """The layers of a network: type and shapes of parameters.

    Without EMCA's ``fuse_scales``, which has a weight for each block of the stage before.
    """
    named = (pair for pair in network.named_modules() if not pair[0].endswith(".fuse_scales"))
    leaves = (module for name, module in named if not list(module.children()))
    return {(type(module), tuple(p.shape for p in module.parameters(recurse=False))) for module in leaves}


@cache
def kinds_of(backbone: str, attention: str) -> Kinds:
    return kinds(on_meta(backbone, attention))


@pytest.mark.parametrize(("backbone", "attention"), PAIRS)
def test_pair(backbone: str, attention: str) -> None:
    network = on_meta(backbone, attention)
    more = parameters(network) - parameters(plain(backbone))
    assert more == added(backbone, attention, gate_channels(backbone, attention))

    theirs = {key: tensor.shape for key, tensor in plain(backbone).state_dict().items()}
    ours = {key: tensor.shape for key, tensor in network.state_dict().items()}
    assert theirs.items() <= ours.items()  # a torchvision checkpoint fits all but the gates
    assert all("gate" in key for key in ours.keys() - theirs.keys())

    if backbone in LIKE:  # so what holds for those networks when they run (``test_networks.py``) holds for this one
        assert kinds(network) == kinds_of(LIKE[backbone], attention)


def test_every_reported_pair_can_be_built() -> None:
    assert {(row.backbone, row.attention) for row in TABLE1 if row.attention != "none"} <= set(PAIRS)
    assert set(attentions_of("resnet50")) == set(ATTENTION)


def test_channels_are_those_of_the_stages() -> None:
    assert gate_channels("resnet50", "das") == [256, 512, 1024, 2048]
    assert gate_channels("resnet18", "se") == [64, 64, 128, 128, 256, 256, 512, 512]
    assert gate_channels("mobilenet_v2", "das") == [16, 24, 32, 96, 160, 320]
    assert [place.split(".")[0] for place in default_gates("resnet50", "emca")] == list(STAGES)


def test_a_pair_without_a_place_is_one_line() -> None:
    with pytest.raises(UsageError, match="gsop has no place in mobilenet_v2; it takes das, se, cbam"):
        create_model("mobilenet_v2", "gsop")
    with pytest.raises(UsageError, match="takes no 'alpha', but reduction, init, gates"):
        create_model("resnet18", "se", alpha=0.1)
    with pytest.raises(UsageError, match="reduction must be a whole number, at least 1, not 0"):
        create_model("resnet18", "se", reduction=0)
    with pytest.raises(UsageError, match="offsets must be one of local, shuffle, shuffle-literal, correlation"):
        create_model("resnet18", "defcon1", offsets="far")
    with pytest.raises(UsageError, match="excitation must be se or eca, not 'srm'"):
        create_model("resnet18", "emca", excitation="srm")
    with pytest.raises(UsageError, match="scales must be previous or every, not 'all'"):
        create_model("resnet18", "emca", scales="all")
    with pytest.raises(
        UsageError, match="weighted mixes the local part with a non-local one: offsets must be one of shuf"
    ):
        create_model("resnet18", "defcon1", weighted=True)
    with pytest.raises(UsageError, match="kernel_size must be odd and positive, not 'published'"):
        create_model("resnet18", "defcon1", kernel_size="published")
    with pytest.raises(UsageError, match="no gate place 'layer1'; choose among layer1.0, layer1.1"):
        create_model("resnet18", "se", gates=("layer1",))
    with pytest.raises(UsageError, match=r"gates must be \('layer3',\)"):
        create_model("resnet18", "abn", gates=("layer2",))
    with pytest.raises(UsageError, match="has no gates, so it takes no 'alpha'; leave it out"):
        create_model("resnet18", alpha=0.1)
    with pytest.raises(UsageError, match="has no gates, so it takes no 'gates'"):
        create_model("mobilenet_v2", gates=("features.1",))
    assert "bam" in attentions_of("resnet18")
    assert "bam" not in attentions_of("mobilenet_v2")


class Half(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def test_a_new_module_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ATTENTION, "half", Attention(Half, lambda backbone: ("layer4.1",)))
    assert "half" in attentions_of("resnet18")
    network = create_model("resnet18", "half", 3)
    assert parameters(network.layer4[1].gate) == 512
    assert "layer4.1.gate.weight" in build_network("resnet18", "half", 3).state_dict()
    with pytest.raises(UsageError, match="resnet18 with attention half takes no 'alpha'; it takes gates, stem"):
        build_network("resnet18", "half", 3, {"alpha": 0.1})
    with pytest.raises(UsageError, match="half has no start at the identity; leave init out"):
        create_model("resnet18", "half", 3, init="identity")
