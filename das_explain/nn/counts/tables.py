"""The numbers that the two papers print for the networks this package builds, and how ours compare.

DAS: Salajegheh et al., "DAS: A Deformable Attention to Capture Salient Information in CNNs", Tables 1, 2 and 4.
DEFCON-1: Agarwal et al., "DEFCON 1: Deformable Convolution in 1D for Channel Attention", Table 1.
Numbers are kept as text: the digits printed are what a count must agree with.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any

from torch import nn

from das_explain.nn.attention.asr import fused
from das_explain.nn.counts.profile import profile
from das_explain.nn.counts.ptflops import ptflops_macs
from das_explain.nn.registry import create_model
from das_explain.nn.valueless import without_values


@dataclass(frozen=True)
class Row:
    """A row of DAS Table 1: 10^6 parameters, 10^9 FLOPs (MACs), ImageNet top-1 and top-5 in %; ``-``: not printed."""

    backbone: str
    attention: str
    parameters: str
    flops: str
    top1: str
    top5: str


@dataclass(frozen=True)
class Counted:
    """What this package counts for a row, in the row's units."""

    parameters: Decimal
    flops: Decimal


def _rows(backbone: str, *lines: str) -> tuple[Row, ...]:
    return tuple(Row(backbone, *line.split()) for line in lines)


TABLE1: tuple[Row, ...] = (
    *_rows(
        "resnet18",
        "none     11.69  1.82  69.76  89.08",
        "se       11.78  1.82  70.59  89.78",
        "bam      11.71  1.83  71.12  89.99",
        "cbam     11.78  1.82  70.73  89.91",
        "triplet  11.69  1.83  71.09  89.99",
        "emca     11.19  1.70  71.00  90.00",
        "das      11.82  1.86  72.03  90.70",
    ),
    *_rows(
        "resnet50",
        "none     25.56  4.12  76.13  92.86",
        "se       28.07  4.13  76.71  93.38",
        "bam      25.92  4.21  75.98  92.82",
        "cbam     28.09  4.13  77.34  93.69",
        "gsop     28.29  6.41  77.68  93.98",
        "a2       33.00  6.50  77.00  93.50",
        "gc       28.10  4.13  77.70  93.66",
        "gala     29.40  -     77.27  93.65",
        "abn      43.59  7.66  76.90  -",
        "srm      25.62  4.12  77.13  93.51",
        "triplet  25.56  4.17  77.48  93.68",
        "emca     25.04  3.83  77.33  93.52",
        "asr      26.00  -     76.87  -",
        "das      26.90  4.39  78.04  94.00",
    ),
    *_rows(
        "resnet101",
        "none     44.46  7.85  77.35  93.56",
        "se       49.29  7.86  77.62  93.93",
        "bam      44.91  7.93  77.56  93.71",
        "cbam     49.33  7.86  78.49  94.31",
        "srm      44.68  7.85  78.47  94.20",
        "triplet  44.56  7.95  78.03  93.85",
        "asr      45.00  -     78.18  -",
        "das      45.89  8.12  78.62  94.43",
    ),
    *_rows(
        "mobilenet_v2",
        "none     3.51   0.32  71.88  90.29",
        "se       3.53   0.32  72.42  90.67",
        "cbam     3.54   0.32  69.33  89.33",
        "triplet  3.51   0.32  72.62  90.77",
        "das      3.57   0.35  72.79  90.87",
    ),
)

NOTES: dict[tuple[str, str], str] = {
    ("resnet50", "a2"): (
        "Closest: five blocks with m = n = c / 2, 32.91 M (32.96 with the running statistics of the batch norms, so "
        "33.0 in one decimal) and, with the products of A, B and V (which this table's counter leaves out), 6.66 G. "
        "ECA-Net's Table 3 prints the same 33.00 and 6.50, and that the code of A2-Nets is not public."
    ),
    ("resnet50", "gala"): (
        "Closest: r = 16 with biases everywhere, 29.38 M: 29.4 in one decimal, printed with a zero; without biases "
        "29.36 M. No choice of biases or norms gives 29.40, and the GALA authors' network is TensorFlow code."
    ),
    ("resnet50", "abn"): (
        "Closest: the authors' code, 43.585 M, which is 43.59 only rounded up. With a bias in each of the branch's "
        "three convolutions, which the authors' code does not have, it would be 43.587 M and agree."
    ),
    ("resnet50", "asr"): (
        "ASR is multiplied into batch norms after training, so it is the backbone's 25.56 M: 26 in whole millions, "
        "printed with two zeros. While it trains it has 28.10 M."
    ),
    ("resnet101", "asr"): (
        "ASR is multiplied into batch norms after training, so it is the backbone's 44.55 M: 45 in whole millions, "
        "printed with two zeros. While it trains it has 49.36 M."
    ),
    ("resnet101", "none"): (
        "torchvision's ResNet-101 has 44.55 M, and the rows below it (SENet 49.29 = 44.55 + 4.74, SRM, Triplet) are "
        "built on that: 44.46 looks like a slip."
    ),
    ("resnet50", "gc"): (
        "Parameters agree only when cut: 28.105 M. Rounded, 28.10 would need 33 fewer, as without the biases of the first "
        "convolutions (28.104 M), which the GCNet authors' code has."
    ),
    ("resnet50", "emca"): (
        "FLOPs agree only when cut: 3.8395 in units of 2^30, of which the plain network has 3.8388. ResNet-18's agree "
        "only when rounded, 1.697; no one rule of rounding gives both."
    ),
    ("mobilenet_v2", "none"): "torchvision's MobileNetV2 has 3.505 M, which is 3.51 only rounded up.",
}
"""A sentence for each row of Table 1 that does not come out, or only when cut: which reading comes closest."""

TABLE2: dict[tuple[str, str], str] = {
    ("resnet50", "none"): "41.7",
    ("resnet101", "none"): "60.6",
    ("resnet50", "se"): "44.2",
    ("resnet50", "cbam"): "44.2",
    ("resnet50", "triplet"): "41.7",
    ("resnet50", "das"): "43.0",
}
"""DAS Table 2: millions of parameters of Faster R-CNN with that backbone (and an FPN) on COCO."""

TABLE4: dict[str, tuple[str, str]] = {
    "a": ("12.766", "1.99"),
    "b": ("11.801", "1.846"),
    "c": ("11.817", "1.856"),
    "d": ("11.923", "1.915"),
    "e": ("12.048", "1.879"),
    "f": ("11.843", "1.849"),
    "g": ("11.925", "1.917"),
    "h": ("11.819", "1.858"),
}
"""DAS Table 4: millions of parameters and 10^9 FLOPs of ResNet-18 with each variant of Fig. 2 (1000 classes)."""

TABLE4_TOP1 = dict(zip("abcdefgh", ("65.00", "65.21", "66.410", "65.338", "65.291", "66.107", "60.851", "61.375")))
"""DAS Table 4: top-1 on Stanford Dogs in %."""

DEFCON1: dict[str, int] = {"none": 23_705_252, "se": 26_220_196, "eca": 23_705_332, "defcon1": 23_705_756}
"""DEFCON-1 Table 1: parameters of ResNet-50 for 32x32 images (``stem="padded"``) and 100 classes."""

DEFCON1_ROWS: tuple[tuple[str, str, dict[str, Any], str, str], ...] = (
    ("", "none", {}, "67.060", "-"),
    ("", "se", {}, "75.18", "92.59"),
    ("", "eca", {}, "74.68", "92.65"),
    ("", "defcon1", {}, "66.79", "88.12"),
    (" (warm restarts)", "defcon1", {}, "70.3500", "89.6200"),
    ("", "defcon1", {"offsets": "shuffle"}, "67.3900", "88.4800"),
)
"""DEFCON-1 Table 1: how it was trained if not as ECA, attention, its arguments, top-1 and top-5 on CIFAR-100 in %."""


def count(row: Row) -> Counted:
    """Builds the row's network (shapes only) and counts it as the row's authors did.

    The DAS rows by ``thop``, without the deformable kernels; ASR fused, as it is used; all other rows with all their
    parameters, and FLOPs by ``ptflops``: its rules give the printed plain backbones. The EMCA rows are in units of 2^20
    and 2^30, as their authors count.
    """
    network = on_meta(row.backbone, row.attention)
    if row.attention == "das":
        counts = profile(network)
        return _counted(counts.parameters_published, counts.macs_published)
    if row.attention == "asr":
        network = fused(network)
    parameters, macs = sum(parameter.numel() for parameter in network.parameters()), ptflops_macs(network)
    if row.attention == "emca":
        return Counted(Decimal(parameters) / 2**20, Decimal(macs) / 2**30)
    return _counted(parameters, macs)


def count_ablation(variant: str) -> Counted:
    """Counts a row of DAS Table 4, as its authors did: by ``thop``, without the deformable kernels."""
    counts = profile(on_meta("resnet18", "das", variant=variant))
    return _counted(counts.parameters_published, counts.macs_published)


def _counted(parameters: int, macs: int) -> Counted:
    return Counted(Decimal(parameters) / 10**6, Decimal(macs) / 10**9)


def on_meta(backbone: str, attention: str, num_classes: int = 1000, **arguments: Any) -> nn.Module:
    """The network without memory: shapes are all that counting needs."""
    with without_values():
        return create_model(backbone, attention, num_classes, **arguments)


def agreement(value: Decimal, printed: str) -> str:
    """``rounded`` or ``cut``: how ``value`` gives the printed digits; ``none``: not at all; ``-``: none are printed."""
    if printed == "-":
        return "-"
    last = Decimal(printed)
    for name, rounding in (("rounded", ROUND_HALF_UP), ("cut", ROUND_DOWN)):
        if value.quantize(last, rounding) == last:
            return name
    return "none"


def detector(backbone: str, attention: str) -> int:
    """Parameters of torchvision's Faster R-CNN with FPN on this backbone, as DAS Table 2 counts.

    80 classes and background; the backbone's batch norms (frozen) and deformable kernels are not counted.
    """
    from torchvision.models.detection import fasterrcnn_resnet50_fpn

    with without_values():
        whole = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=81)
    body = sum(parameter.numel() for parameter in whole.backbone.body.parameters())
    rest = sum(parameter.numel() for parameter in whole.parameters()) - body
    network = on_meta(backbone, attention)
    plain = on_meta(backbone, "none")
    norms = sum(p.numel() for m in plain.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    head = sum(parameter.numel() for parameter in network.fc.parameters())
    return rest + profile(network).parameters_published - norms - head
