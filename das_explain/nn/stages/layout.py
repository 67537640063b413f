"""How the output of a block is read as a map (N, C, h, w): the one place that decides.

Convolutional networks put channels first, Swin and its like last, vision transformers give a sequence of tokens in which
class, distillation and register tokens may stand before the patches, and some keep the patches in the order of their
windows. Read in the wrong one, a map has a plausible look and another photo's meaning. So what a person says comes
first, then what the network knows of itself (``nn.stages.known``), then the shape, where it admits one reading only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from das_explain.errors import DasExplainError, UsageError

KINDS = ("nchw", "nhwc", "tokens")
MOST_PREFIX = 8  # class, distillation and register tokens, where nothing says how many there are
SLACK = 2  # pixels by which a map's sides may differ from the frame's aspect: convolutions without padding

Size = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """``kind`` is one of ``KINDS``; ``prefix`` counts the tokens before the patches, ``None``: as the shape says.

    >>> Layout.parse("tokens:1")
    Layout(kind='tokens', prefix=1)
    >>> str(Layout.parse("nhwc"))
    'nhwc'
    """

    kind: str = "nchw"
    prefix: int | None = None

    @classmethod
    def parse(cls, text: str) -> Layout:
        """``nchw``, ``nhwc``, ``tokens`` or ``tokens:PREFIX``. Raises UsageError for anything else."""
        match = re.fullmatch(r"(nchw|nhwc|tokens)|tokens:(\d{1,4})", text)
        if not match:
            raise UsageError(f"layout {text!r} is unknown; write nchw, nhwc, tokens or tokens:PREFIX, as in tokens:1")
        return cls(match[1] or "tokens", None if match[2] is None else int(match[2]))

    def __str__(self) -> str:
        return self.kind if self.prefix is None else f"{self.kind}:{self.prefix}"

    def __repr__(self) -> str:
        prefix = "" if self.prefix is None else f", prefix={self.prefix}"
        return f"Layout(kind={self.kind!r}{prefix})"


@dataclass(frozen=True, eq=False)
class Reading:
    """A layout for one shape: how to make a map of the block's output, or of its gradient.

    ``grid``: (rows, columns) of the map. ``order``: (cells,) int64, where in the sequence each of its cells stands, for
    patches that do not come row by row.

    >>> import torch
    >>> tokens = torch.arange(5.0).view(1, 5, 1)
    >>> Reading(Layout("tokens", 1), (2, 2))(tokens)
    tensor([[[[1., 2.],
              [3., 4.]]]])
    """

    layout: Layout
    grid: Size
    order: Tensor | None = None

    def __call__(self, output: Tensor) -> Tensor:
        """(N, C, h, w) of an output in this layout."""
        if self.layout.kind == "nchw":
            return output
        if self.layout.kind == "nhwc":
            return output.permute(0, 3, 1, 2)
        patches = output.flatten(1, -2)[:, self.layout.prefix or 0 :]
        if self.order is not None:
            patches = patches[:, self.order.to(patches.device)]
        return patches.transpose(1, 2).unflatten(2, self.grid)

    def __str__(self) -> str:
        height, width = self.grid
        what = {"nchw": "channels first", "nhwc": "channels last"}.get(self.layout.kind)
        if what is None:
            prefix = self.layout.prefix or 0
            what = f"tokens, {prefix or 'none'} of them before the patches"
        return f"{self.layout} ({what}: a map of {height} x {width})"


@dataclass(frozen=True)
class Hints:
    """What a network knows of its blocks' layouts; everything may be left open.

    ``prefixes``: how many tokens may stand before the patches (blocks before a class token's entry have none).
    ``grid``: frame -> (rows, columns) of its patches. ``ordered``: block, shape -> (grid, order), where patches come in
    the order of windows. ``widths``: the sizes that its layers know as a last dimension (layer norms, linear layers).
    """

    prefixes: tuple[int, ...] | None = None
    grid: Callable[[Size], Size | None] = lambda frame: None
    ordered: Callable[[str, tuple[int, ...]], tuple[Size, Tensor] | None] = lambda name, shape: None
    widths: frozenset[int] = frozenset()


NO_HINTS = Hints()


def read_layout(
    name: str,
    shape: tuple[int, ...],
    frame: Size,
    *,
    given: Layout | None = None,
    hints: Hints = NO_HINTS,
    channels_first: bool = False,
    ask: Callable[[], str | None] = lambda: None,
) -> Reading:
    """How the output of block ``name`` is read.

    Args:
        shape: of the output.
        frame: (height, width) of the images.
        given: what a person says; nothing else counts then.
        hints: what the network says.
        channels_first: the module gives channels first by what it is (a convolution).
        ask: gives ``nchw`` or ``nhwc`` by running the network at another size, ``None`` where it takes none; only called
            where nothing else decides.

    Raises:
        DasExplainError: no reading is possible, or there are two; the message names them.
    """
    if given is not None:
        return _as_given(name, shape, frame, given, hints)
    if len(shape) not in (3, 4):
        raise _no_map(name, shape)
    if known := hints.ordered(name, shape):
        return Reading(Layout("tokens", 0), *known)
    if len(shape) == 3:
        return _tokens(name, shape, frame, hints)
    first, last = Reading(Layout("nchw"), (shape[2], shape[3])), Reading(Layout("nhwc"), (shape[1], shape[2]))
    if channels_first:
        return first
    plausible = [each for each in (first, last) if _is_map(each.grid, frame)]
    if len(plausible) == 1:
        return plausible[0]
    if (kind := ask()) is not None:
        return first if kind == "nchw" else last
    if shape[3] not in hints.widths:  # no layer works on such a last dimension
        return first
    raise _undecided(name, shape, plausible or [first, last])


def _as_given(name: str, shape: tuple[int, ...], frame: Size, given: Layout, hints: Hints) -> Reading:
    if given.kind == "tokens" and (known := hints.ordered(name, shape)):
        return Reading(given, *known)
    if len(shape) == 4 and given.kind == "nchw":
        return Reading(given, (shape[2], shape[3]))
    if len(shape) == 4 and given.kind == "nhwc":
        return Reading(given, (shape[1], shape[2]))
    if len(shape) == 3 and given.kind == "tokens":
        prefixes = hints.prefixes if given.prefix is None else (given.prefix,)
        return _tokens(name, shape, frame, replace(hints, prefixes=prefixes, widths=frozenset({shape[2]})))
    raise DasExplainError(f"block {name} gives {_written(shape)}, which cannot be read as {given}: see --layout")


def _tokens(name: str, shape: tuple[int, ...], frame: Size, hints: Hints) -> Reading:
    """The reading of (N, tokens, C)."""
    _, length, width = shape
    if length in hints.widths and width not in hints.widths:
        raise _no_map(name, shape, "channels before tokens")
    own = hints.grid(frame)
    readings = []
    for prefix in range(MOST_PREFIX + 1) if hints.prefixes is None else hints.prefixes:
        if own is not None and own[0] * own[1] == length - prefix:
            return Reading(Layout("tokens", prefix), own)
        fitting = grids(length - prefix, frame)
        fitting = [grid for grid in fitting if _divides(grid, frame)] or fitting
        readings += [Reading(Layout("tokens", prefix), grid) for grid in fitting]
    if own is not None and own[0] * own[1] == width:
        raise _no_map(name, shape, "channels before tokens")
    if not readings:
        raise _no_map(name, shape)
    turned = [grid for grid in grids(width, frame) if _divides(grid, frame)]
    if turned and width not in hints.widths and hints.prefixes is None:
        ways = f"{readings[0]} or {length} channels of a map of {turned[0][0]} x {turned[0][1]}"
        raise _undecided(name, shape, readings, ways)
    if len(readings) > 1:
        raise _undecided(name, shape, readings)
    return readings[0]


def grids(cells: int, frame: Size) -> list[Size]:
    """The (rows, columns) of ``cells`` square patches that a frame (height, width) may be cut into.

    >>> grids(196, (224, 224)), grids(280, (224, 320)), grids(768, (224, 224))
    ([(14, 14)], [(14, 20)], [])
    """
    height, width = frame
    found = []
    for rows in range(1, cells + 1):
        columns, rest = divmod(cells, rows)
        if not rest and cells > 1 and rows <= height and columns <= width:
            low = max(height / (rows + 1), width / (columns + 1))
            high = min(height / max(rows - 1, 1e-9), width / max(columns - 1, 1e-9))
            if rows == columns if height == width else low < high:
                found.append((rows, columns))
    return found


def _divides(grid: Size, frame: Size) -> bool:
    return all(side % cells == 0 for side, cells in zip(frame, grid)) and frame[0] * grid[1] == frame[1] * grid[0]


def _is_map(grid: Size, frame: Size) -> bool:
    """Whether a map of that size may lie over the frame: the same aspect, up to rounding, and more than a pixel."""
    height, width = grid
    if frame[0] == frame[1]:
        return height == width
    return abs(height * frame[1] - width * frame[0]) <= SLACK * max(frame)


def _written(shape: tuple[int, ...]) -> str:
    return f"(N, {', '.join(map(str, shape[1:]))})"


def _no_map(name: str, shape: tuple[int, ...], what: str = "") -> DasExplainError:
    what = what or ("no map" if len(shape) < 3 else "no map that lies over the image")
    return DasExplainError(
        f"block {name} gives {_written(shape)}, {what}: neither (N, C, H, W) nor (N, H, W, C) nor one token per patch; "
        "choose another block"
    )


def _undecided(name: str, shape: tuple[int, ...], readings: list[Reading], ways: str = "") -> DasExplainError:
    ways = ways or " or ".join(str(each) for each in readings[:2])
    return DasExplainError(
        f"block {name} gives {_written(shape)}, which may be {ways}; say which, as in "
        f"--layout {name}={readings[0].layout} (in Python: layout={{{name!r}: {str(readings[0].layout)!r}}})"
    )
