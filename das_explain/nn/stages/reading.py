"""The layout of a block of a network at hand: ``layout.read_layout`` with all that can be asked of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from das_explain.errors import DasExplainError
from das_explain.nn.stages.known import known_of
from das_explain.nn.stages.layout import Hints, Layout, Reading, Size, read_layout
from das_explain.nn.stages.probe import Probe, probe

CHANNELS_FIRST = (
    nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm,
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.PixelShuffle, nn.Upsample,
)  # fmt: skip


def readings_of(
    network: nn.Module,
    modules: Mapping[str, nn.Module],
    shapes: Mapping[str, tuple[int, ...]],
    frame: tuple[int, int],
    given: Mapping[str, Layout] | None = None,
) -> dict[str, Reading]:
    """Block -> how its output, of that shape, is read.

    ``frame``: (height, width) of the images. ``given``: what a person says of some.

    Raises:
        DasExplainError: a block's output admits no reading, or two.
    """
    given = given or {}
    if all(name not in given and isinstance(modules[name], CHANNELS_FIRST) for name in modules):
        hints = Hints()
    else:
        hints = known_of(network).hints
    paths = {id(module): name for name, module in network.named_modules()}
    return {
        name: read_layout(
            name,
            shapes[name],
            frame,
            given=given.get(name),
            hints=replace(hints, ordered=partial(_ordered, hints, paths.get(id(module), name))),
            channels_first=isinstance(module, CHANNELS_FIRST),
            ask=lambda name=name: _ask(network, paths.get(id(modules[name]), name), shapes[name], frame),
        )
        for name, module in modules.items()
    }


def _ordered(hints: Hints, path: str, name: str, shape: tuple[int, ...]) -> tuple[Size, Tensor] | None:
    """By a block's place in the network, whatever it is called."""
    return hints.ordered(path, shape)


def probe_narrow(network: nn.Module, frame: tuple[int, int]) -> Probe | None:
    """The calls for photos half or twice as wide; ``None`` where the network takes neither."""
    for width in (frame[1] // 2, 2 * frame[1]):
        try:
            return probe(network, (frame[0], width))
        except DasExplainError:
            continue
    return None


def which_moved(shape: tuple[int, ...], other: tuple[int, ...]) -> str | None:
    """``nchw`` or ``nhwc``, by the side of a map that followed the photo's; ``None``: neither did, or both."""
    if not len(shape) == len(other) == 4:
        return None
    moved = tuple(place for place in (1, 2, 3) if shape[place] != other[place])
    return {(3,): "nchw", (2,): "nhwc"}.get(moved)


def _ask(network: nn.Module, name: str, shape: tuple[int, ...], frame: tuple[int, int]) -> str | None:
    other = probe_narrow(network, frame)
    call = other.calls.get(name) if other else None
    return which_moved(shape, call.given) if call else None
