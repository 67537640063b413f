"""A copy of a network whose parts between the explained blocks are compiled (``torch.compile``).

The blocks' outputs, and the gradients with respect to them, have to be seen from outside, so what holds a block stays as
it is, and what does not is compiled by itself: of a ResNet explained at ``layer3`` and ``layer4``, each stage. Meant for a
graphics card and many photos, since it takes a minute to begin with; the copy of ``cam.fast`` needs no compiler.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import torch
from torch import Tensor, nn

from das_explain.cam.engine import explain
from das_explain.errors import DasExplainError, one_line
from das_explain.nn.running import channels_of, copy_of, in_copy
from das_explain.nn.stages import Layout

CLOSE = 1e-2  # of a map's values, 0 to 1, and of the highest logit: what rounding may move, and a mistake would not stay under


def compiled_copy(
    network: nn.Module,
    blocks: Mapping[str, nn.Module],
    size: tuple[int, int],
    *,
    layouts: Mapping[str, Layout | str] | None = None,
) -> tuple[nn.Module, dict[str, nn.Module]]:
    """The copy, which shares the network's weights, and the blocks in it; both are tried on two images of ``size``.

    Raises:
        DasExplainError: there is no compiler, it fails at this network, or the copy's maps are others.
    """
    try:
        twin = copy_of(network)
        found = in_copy(twin, network, blocks)
        for part in _parts(twin, set(map(id, found.values()))):
            part.forward = torch.compile(part.forward)
        differs = _difference(network, blocks, twin, found, size, layouts)
    except DasExplainError:
        raise
    # Dynamo's and inductor's errors have no common kind.
    except Exception as error:
        raise DasExplainError(f"--compile: torch.compile fails at this network: {one_line(error)}") from None
    if differs > CLOSE:
        raise DasExplainError(f"--compile: the compiled network gives other maps (by {differs:.2g}): leave it out")
    return twin, found


def _parts(network: nn.Module, blocks: Collection[int]) -> Iterator[nn.Module]:
    """The outermost modules with children that hold no block, other than being one."""
    for child in network.children():
        holds = any(id(module) in blocks for module in child.modules() if module is not child)
        if holds or type(child).forward is nn.Module.forward:  # a list or a dictionary of modules
            yield from _parts(child, blocks)
        elif any(True for _ in child.children()):  # nothing is gained from a layer alone
            yield child


def _difference(
    network: nn.Module,
    blocks: Mapping[str, nn.Module],
    twin: nn.Module,
    found: Mapping[str, nn.Module],
    size: tuple[int, int],
    layouts: Mapping[str, Layout | str] | None,
) -> float:
    """The largest between the maps (0 to 1) of the two, and between their logits, in units of the highest."""
    like = next(network.parameters())
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, channels_of(network), *size, generator=generator).to(like)
    expected = explain(network, images, None, blocks, layouts=layouts)
    got = explain(twin, images, expected.target, found, layouts=layouts)
    pairs: list[tuple[Tensor, Tensor]] = [(got.cams[name].map, expected.cams[name].map) for name in blocks]
    scale = expected.logits.abs().max().clamp(min=1e-12)
    pairs.append((got.logits / scale, expected.logits / scale))
    return max(float((one - other).abs().max()) for one, other in pairs)
