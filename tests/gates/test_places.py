"""Where a deformable kernel looks: by hand, against what the kernel reads, and against Pillow's resampling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from das_explain.data.geometry import Geometry
from das_explain.gates.places import (
    cell_at,
    frame_to_photo,
    innermost,
    kernel_grid,
    kernel_places,
    photo_to_frame,
    rescale,
)
from das_explain.nn.deform import modulated_deform_conv2d


def test_a_constant_offset_by_hand() -> None:
    offset = np.zeros((9, 2, 5, 5), np.float32)
    offset[:, 0], offset[:, 1] = 1, -2  # one pixel down, two to the left
    places = kernel_places(offset, (2, 3))  # around column 3, row 2
    assert places.tolist() == [[0, 2], [1, 2], [2, 2], [0, 3], [1, 3], [2, 3], [0, 4], [1, 4], [2, 4]]
    assert kernel_grid(9, (2, 3))[4].tolist() == [3, 2]
    in_frame = rescale(places, (5, 5), (20, 20))  # a map pixel is four pixels wide: the first spans -0.5 to 3.5
    assert in_frame[4].tolist() == [5.5, 13.5]
    assert in_frame[0].tolist() == [1.5, 9.5]
    # 60 x 40 becomes 30 x 20, of which columns 5 to 24 are kept: photo columns 10 to 49, two to a pixel
    geometry = Geometry(size=(20, 20), resize=20)
    assert frame_to_photo(in_frame, geometry, (60, 40))[4].tolist() == [21.5, 27.5]
    assert photo_to_frame(np.array([21.5, 27.5]), geometry, (60, 40)).tolist() == [5.5, 13.5]


def test_the_kernel_reads_where_it_is_said_to_look() -> None:
    """A map that holds its own coordinates, and a kernel that passes one tap: the output is where that tap looked."""
    height, width = 9, 11
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    ramp = torch.stack((columns, rows)).float()[None]
    offset = torch.rand(1, 18, height, width, generator=torch.Generator().manual_seed(0)) * 3 - 1.5
    ones = torch.ones(1, 9, height, width)
    for tap in range(9):
        weight = torch.zeros(2, 2, 3, 3)
        weight[0, 0].view(-1)[tap] = weight[1, 1].view(-1)[tap] = 1
        read = modulated_deform_conv2d(ramp, offset, ones, weight)[0]
        for cell in ((4, 5), (3, 7), (5, 3)):  # far enough from the edge for the tap to stay inside
            place = kernel_places(offset[0].unflatten(0, (9, 2)).numpy(), cell)[tap]
            np.testing.assert_allclose(read[:, cell[0], cell[1]].numpy(), place, atol=1e-5)


@pytest.mark.parametrize(
    ("geometry", "size"),
    [
        (Geometry(size=(48, 48), resize=56), (300, 200)),
        (Geometry(size=(48, 64), resize=64), (200, 340)),
        (Geometry(size=(40, 40), resize=40, fit="squash"), (300, 180)),
        (Geometry(size=(40, 40), resize=20), (200, 160)),  # smaller than the frame: padded
    ],
    ids=["landscape", "portrait", "squashed", "padded"],
)
def test_a_spot_in_the_photo_is_found_where_it_is_said_to_be(geometry: Geometry, size: tuple[int, int]) -> None:
    for across, down in ((0.45, 0.5), (0.6, 0.45), (0.35, 0.56)):
        x, y = round(across * size[0]), round(down * size[1])
        photo = np.zeros((size[1], size[0], 3), np.uint8)
        photo[y - 4 : y + 5, x - 4 : x + 5] = 255
        frame = geometry.frame(Image.fromarray(photo))[..., 0].astype(float)
        rows, columns = np.indices(frame.shape)
        centre = np.array([(columns * frame).sum(), (rows * frame).sum()]) / frame.sum()
        np.testing.assert_allclose(photo_to_frame(np.array([x, y]), geometry, size), centre, atol=0.1)


@settings(max_examples=50, deadline=None)
@given(
    st.tuples(st.integers(20, 400), st.integers(20, 400)),
    st.sampled_from([Geometry((32, 48), 40), Geometry((24, 24), 24, fit="squash")]),
    st.floats(-10, 60),
)
def test_there_and_back(photo: tuple[int, int], geometry: Geometry, x: float) -> None:
    points = np.array([[x, 3.25]])
    back = photo_to_frame(frame_to_photo(points, geometry, photo), geometry, photo)
    np.testing.assert_allclose(back, points, atol=1e-9)


def test_the_cell_under_a_point() -> None:
    assert cell_at(np.array([0, 0]), (32, 32), (4, 4)) == (0, 0)
    assert cell_at(np.array([7.4, 7.6]), (32, 32), (4, 4)) == (1, 0)  # cells end at 7.5
    assert cell_at(np.array([31.4, 12]), (32, 32), (4, 8)) == (1, 7)
    assert cell_at(np.array([-3, 40]), (32, 32), (4, 4)) == (3, 0)
    assert cell_at(np.array([20, 20]), (32, 32), (1, 1)) == (0, 0)


def test_the_innermost_pixel() -> None:
    mask = np.zeros((9, 12), bool)
    mask[1:8, 2:9] = True
    assert innermost(mask).tolist() == [5, 4]
    mask[:] = False
    mask[0, 0] = True
    assert innermost(mask).tolist() == [0, 0]
