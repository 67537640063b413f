"""The tables of both papers as a reader checks them: what is printed, what is counted here, and where that differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from das_explain.nn.counts.tables import (
    DEFCON1,
    DEFCON1_ROWS,
    NOTES,
    TABLE1,
    TABLE2,
    TABLE4,
    TABLE4_TOP1,
    agreement,
    count,
    count_ablation,
    detector,
    on_meta,
)


@dataclass(frozen=True)
class Number:
    """One printed count and ours, in the same unit; both are shown with ``decimals``."""

    printed: str
    ours: Decimal
    decimals: int = 3

    @property
    def agreement(self) -> str:
        """``rounded``, ``cut``, ``none`` or ``-``, as ``tables.agreement``."""
        return agreement(self.ours, self.printed)


@dataclass(frozen=True)
class Line:
    """A row: the network as ``profile`` takes it, its counts, other printed results; a sentence if a count differs, or
    agrees only when cut."""

    name: str
    numbers: tuple[Number, ...]
    results: tuple[str, ...] = ()
    note: str | None = None
    last: bool = False


@dataclass(frozen=True)
class Comparison:
    """A table: ``columns`` are those of the numbers, ``results`` those after them; ``reading``: how it is counted."""

    title: str
    columns: tuple[str, ...]
    results: tuple[str, ...]
    reading: str
    lines: Callable[[], Iterator[Line]]


def _table1() -> Iterator[Line]:
    for row in TABLE1:
        ours = count(row)
        name = _name(row.backbone, row.attention)
        numbers = Number(row.parameters, ours.parameters), Number(row.flops, ours.flops)
        note = NOTES.get((row.backbone, row.attention))
        yield Line(name, numbers, (row.top1, row.top5), note, last=row.attention == "das")


def _table2() -> Iterator[Line]:
    for (backbone, attention), printed in TABLE2.items():
        yield Line(_name(backbone, attention), (Number(printed, Decimal(detector(backbone, attention)) / 10**6),))


def _table4() -> Iterator[Line]:
    for variant, printed in TABLE4.items():
        ours = count_ablation(variant)
        numbers = Number(printed[0], ours.parameters, 4), Number(printed[1], ours.flops, 5)
        yield Line(f"resnet18:das?variant={variant}", numbers, (TABLE4_TOP1[variant],))


def _defcon1() -> Iterator[Line]:
    for trained, attention, arguments, *results in DEFCON1_ROWS:
        network = on_meta("resnet50", attention, 100, stem="padded", **arguments)
        ours = Decimal(sum(parameter.numel() for parameter in network.parameters()))
        options = "&".join(f"{key}={value}" for key, value in arguments.items())
        name = _name("resnet50", attention) + f"?{options}" * bool(options) + trained
        yield Line(name, (Number(str(DEFCON1[attention]), ours, 0),), tuple(results))


def _name(backbone: str, attention: str) -> str:
    return backbone if attention == "none" else f"{backbone}:{attention}"


COMPARISONS: dict[str, Comparison] = {
    "1": Comparison(
        "DAS paper, Table 1: ImageNet",
        ("M par.", "GFLOPs"),
        ("top-1", "top-5"),
        "The das rows are counted by the rules of thop, without deformable kernels; the others have all their "
        "parameters, and FLOPs by the rules of ptflops; the emca rows are in units of 2^20 and 2^30, as their authors "
        "count.",
        _table1,
    ),
    "2": Comparison(
        "DAS paper, Table 2: Faster R-CNN with that backbone and an FPN, COCO",
        ("M par.",),
        (),
        "80 classes and background; without the backbone's batch norms, which are frozen, and deformable kernels.",
        _table2,
    ),
    "4": Comparison(
        "DAS paper, Table 4: ResNet-18 with the variants of Fig. 2, 1000 classes",
        ("M par.", "GFLOPs"),
        ("top-1, Dogs",),
        "Counted by the rules of thop, without deformable kernels.",
        _table4,
    ),
    "defcon1": Comparison(
        "DEFCON-1 paper, Table 1: ResNet-50 for 32x32 images, CIFAR-100",
        ("parameters",),
        ("top-1", "top-5"),
        "All parameters; each network with stem=padded (3x3, as in the authors' code; stem=small counts alike) and "
        "num_classes=100.",
        _defcon1,
    ),
}
