"""How a network behaves that nobody here has written: whether a photo's answer depends on the company it is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from das_explain.nn.running import as_found, check_logits
from das_explain.nn.stages import Layout, first_tensor, probe_images, readings_of

ROUNDING = 1e-2  # of the largest logit: other batches take other ways through the same sums
DARK, FLAT = -1.5, 0.25  # brightness and contrast of the neighbour, where a usual photo has 0 and 1


@dataclass(frozen=True)
class Manners:
    """``layouts``: how the outputs of blocks are read. ``alone``: photos have to be shown one at a time. ``notes``: what
    of this a person should know."""

    layouts: dict[str, Layout] = field(default_factory=dict)
    alone: bool = False
    notes: list[str] = field(default_factory=list)


@torch.no_grad()
def observe(
    network: nn.Module, name: str, blocks: Mapping[str, nn.Module], size: tuple[int, int], given: Mapping[str, Layout]
) -> Manners:
    """Shows a network a photo of noise of ``size`` (height, width) alone, alone again, and beside a dark and flat one.

    Beside its like, one that is standardised by its batch's mean and spread would answer as it does alone.

    Args:
        name: of the model, for the notes.
        given: layouts of blocks that a person decided.

    Raises:
        DasExplainError: it takes no photo at all, or a block's output may be read in two ways.
    """
    images = probe_images(network, size)
    images[1:] = images[1:] * FLAT + DARK
    with as_found(network):
        first, shapes = _run(network, images[:1], blocks)
        again, _ = _run(network, images[:1], {})
        try:
            together, _ = _run(network, images, {})
        except Exception:  # somebody else's network: whatever it raises, it takes no two photos
            together = None
    ran = {
        block: module for block, module in blocks.items() if len(shapes.get(block, ())) in (3, 4)
    }  # else: told later
    layouts = {block: each.layout for block, each in readings_of(network, ran, shapes, size, given).items()}
    if not _same(first, again):
        note = (
            f"{name} answers the same photo differently each time (dropout that is on in eval mode, or another draw): "
            "its maps are one draw of many"
        )
        return Manners(layouts, False, [note])
    if together is None:
        return Manners(layouts, True, [f"{name} takes one photo at a time, and is shown one at a time"])
    if not _same(first, together[:1]):
        note = (
            f"{name} answers a photo differently in company (batch norm without running statistics, or the like): it is "
            "shown one photo at a time"
        )
        return Manners(layouts, True, [note])
    return Manners(layouts)


def _run(
    network: nn.Module, images: Tensor, blocks: Mapping[str, nn.Module]
) -> tuple[Tensor, dict[str, tuple[int, ...]]]:
    """The logits, and the shapes of what blocks give."""
    shapes: dict[str, tuple[int, ...]] = {}

    def watch(name: str):
        def note(module: nn.Module, args: tuple, output: object) -> None:
            tensor = first_tensor(output)
            shapes[name] = () if tensor is None else tuple(tensor.shape)

        return note

    handles = [module.register_forward_hook(watch(name)) for name, module in blocks.items()]
    try:
        logits = check_logits(network(images), len(images))
    finally:
        for handle in handles:
            handle.remove()
    return logits, shapes


def _same(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= ROUNDING * one.abs().max())
