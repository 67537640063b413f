"""How outputs of blocks are read: by hand, by what a network says, by shapes; two readings are an error."""

from __future__ import annotations

import pytest
import torch

from das_explain.errors import DasExplainError, UsageError
from das_explain.nn.stages.layout import Hints, Layout, grids, read_layout

SQUARE, WIDE = (224, 224), (224, 320)


@pytest.mark.parametrize(
    ("shape", "frame", "layout", "grid"),
    [
        ((2, 768, 7, 7), SQUARE, "nchw", (7, 7)),
        ((2, 7, 7, 768), SQUARE, "nhwc", (7, 7)),
        ((2, 14, 20, 384), WIDE, "nhwc", (14, 20)),
        ((2, 384, 14, 20), WIDE, "nchw", (14, 20)),
        ((2, 128, 25, 36), WIDE, "nchw", (25, 36)),  # convolutions without padding
        ((2, 196, 192), SQUARE, "tokens:0", (14, 14)),
        ((2, 197, 192), SQUARE, "tokens:1", (14, 14)),
        ((2, 198, 192), SQUARE, "tokens:2", (14, 14)),
        ((2, 201, 384), SQUARE, "tokens:5", (14, 14)),
        ((2, 281, 192), WIDE, "tokens:1", (14, 20)),
        ((1, 50, 768), SQUARE, "tokens:1", (7, 7)),
    ],
)
def test_shapes_with_one_reading(shape: tuple[int, ...], frame: tuple[int, int], layout: str, grid: object) -> None:
    reading = read_layout("b", shape, frame)
    assert (str(reading.layout), reading.grid) == (layout, grid)
    assert reading(torch.zeros(shape)).shape == (shape[0], shape[1] if layout == "nchw" else shape[-1], *grid)


def test_two_readings_are_an_error_that_names_both() -> None:
    hints = Hints(widths=frozenset({56}))
    message = (
        r"block b gives \(N, 56, 56, 56\), which may be nchw \(channels first: a map of 56 x 56\) or nhwc \(channels last: "
        r"a map of 56 x 56\); say which, as in --layout b=nchw"
    )
    with pytest.raises(DasExplainError, match=message):
        read_layout("b", (2, 56, 56, 56), SQUARE, hints=hints)
    for given in ("nchw", "nhwc"):
        assert str(read_layout("b", (2, 56, 56, 56), SQUARE, hints=hints, given=Layout.parse(given)).layout) == given
    assert read_layout("b", (2, 56, 56, 56), SQUARE, hints=hints, ask=lambda: "nhwc").layout.kind == "nhwc"
    assert read_layout("b", (2, 56, 56, 56), SQUARE).layout.kind == "nchw", "no layer works on a last dimension of 56"
    with pytest.raises(DasExplainError, match="none of them before the patches.* or 196 channels of a map of 16 x 16"):
        read_layout("b", (2, 196, 256), SQUARE)
    assert read_layout("b", (2, 196, 256), SQUARE, hints=Hints(widths=frozenset({256}))).grid == (14, 14)
    with pytest.raises(DasExplainError, match=r"may be tokens:1 \(.* a map of 3 x 3\) or tokens:6 \(.* 2 x 2\)"):
        read_layout("b", (2, 10, 5), (16, 16))


@pytest.mark.parametrize(
    ("shape", "hints", "message"),
    [
        ((2, 10), Hints(), r"gives \(N, 10\), no map: neither"),
        ((2, 768, 3), Hints(), "no map that lies over the image"),
        ((2, 384, 196), Hints(widths=frozenset({384})), "channels before tokens"),
        ((2, 1024, 196), Hints((0,), lambda frame: (14, 14), widths=frozenset({1024, 196})), "channels before tokens"),
        ((2, 197, 8), Hints(prefixes=(0,)), "no map that lies over"),
        ((2, 1, 768), Hints(prefixes=(1, 0)), "no map that lies over"),
    ],
)
def test_what_is_no_map_is_refused(shape: tuple[int, ...], hints: Hints, message: str) -> None:
    with pytest.raises(DasExplainError, match=message):
        read_layout("b", shape, SQUARE, hints=hints)


def test_a_layout_by_hand_has_to_fit() -> None:
    assert read_layout("b", (2, 199, 8), SQUARE, given=Layout("tokens", 3)).grid == (14, 14)
    for shape, given in (((2, 199, 8), "nhwc"), ((2, 8, 7, 7), "tokens:1"), ((2, 199, 8), "tokens:2")):
        with pytest.raises(DasExplainError, match="block b gives"):
            read_layout("b", shape, SQUARE, given=Layout.parse(given))
    for text in ("hwcn", "tokens:", "tokens:-1", "nchw:1", ""):
        with pytest.raises(UsageError, match="write nchw, nhwc, tokens or tokens:PREFIX"):
            Layout.parse(text)


def test_tokens_go_to_their_places() -> None:
    """Three tokens before 2 x 3 patches, numbered row by row."""
    output = torch.tensor([-1, -1, -1, 0, 1, 2, 3, 4, 5]).view(1, 9, 1)
    reading = read_layout("b", (1, 9, 1), (32, 48), given=Layout("tokens", 3))
    assert reading(output)[0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    order = torch.tensor([0, 2, 1, 3])
    windows = read_layout("b", (1, 4, 1), (32, 32), hints=Hints(ordered=lambda name, shape: ((2, 2), order)))
    assert windows(torch.tensor([10, 11, 12, 13]).view(1, 4, 1))[0, 0].tolist() == [[10, 12], [11, 13]]


def test_grids_are_of_square_patches() -> None:
    assert grids(12, (30, 40)) == [(3, 4)]
    assert grids(1, SQUARE) == []
    assert grids(50, SQUARE) == []
