"""What a run may bring into the page: text that stays text, numbers, maps, outlines and frames that are checked."""

import io
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from das_explain.report.payload import (
    colour_table,
    dump_js,
    finite,
    is_jpeg,
    outline,
    plain_text,
)


@given(st.text())
def test_javascript_strings_hold_the_text_and_cannot_end_a_script(text):
    written = dump_js([text])
    assert json.loads(written) == [text]
    assert "<" not in written
    assert written.isascii()


@pytest.mark.parametrize("hostile", ["</script>", "<!--", "\u2028", "\u2029", "]]>", "\udc80"])
def test_hostile_strings_are_escaped(hostile):
    written = dump_js(hostile)
    assert hostile not in written or hostile == "]]>"
    assert json.loads(written) == hostile


def test_numbers_are_finite_or_nothing():
    assert finite(0.123456) == 0.1235
    assert finite(1234567, 3) == 1230000
    for value in (math.nan, math.inf, 10**400, True, None, "1", [1]):
        assert finite(value) is None


def test_text_is_bounded_and_empty_is_nothing():
    assert plain_text("") is None
    assert plain_text(None) is None
    assert plain_text(7) == "7"
    assert plain_text("x" * 5000) == "x" * 1000


def test_outline_of_a_square_by_hand():
    """2 x 2 pixels at (1, 1) of 4 x 4, in half pixels: through midpoints, so half a pixel off each corner."""
    mask = np.zeros((4, 4), dtype=bool)
    mask[1:3, 1:3] = True
    path = outline(mask)
    assert path.startswith("M")
    assert path.endswith("z")
    assert path.count("M") == 1
    points = _points(path)
    assert {tuple(point) for point in points} == {(3, 2), (5, 2), (6, 3), (6, 5), (5, 6), (3, 6), (2, 5), (2, 3)}


def test_outline_of_the_full_frame_follows_its_border():
    points = _points(outline(np.ones((3, 5), dtype=bool)))
    assert points.min(axis=0).tolist() == [0, 0]
    assert points.max(axis=0).tolist() == [10, 6]


def test_a_hole_and_a_second_part_have_lines_of_their_own():
    mask = np.zeros((12, 12), dtype=bool)
    mask[1:7, 1:7] = True
    mask[3:5, 3:5] = False
    mask[9:11, 9:11] = True
    assert outline(mask).count("M") == 3
    assert outline(np.zeros((4, 4), dtype=bool)) == ""


def _points(path: str) -> np.ndarray:
    """The corners of a path of one part, absolute, (n, 2)."""
    import re

    moves = [[int(number) for number in re.findall(r"-?\d+", step)] for step in re.findall(r"[Ml][^Mlz]*", path)]
    return np.cumsum(moves, axis=0)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_outline_encloses_the_area_of_the_mask(seed):
    """Shoelace over all parts: holes run the other way round. Cut corners take at most 1/8 pixel per corner."""
    rng = np.random.default_rng(seed)
    mask = np.kron(rng.random((4, 5)) < 0.5, np.ones((4, 4))).astype(bool)
    area, corners = 0.0, 0
    for part in outline(mask).split("z")[:-1]:
        points = _points(part).astype(float) / 2
        x, y = points[:, 0], points[:, 1]
        area += 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
        corners += len(points)
    assert abs(abs(area) - mask.sum()) <= corners / 8 + 1e-9


def test_a_frame_is_a_jpeg_of_its_size():
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, "JPEG")
    file = buffer.getvalue()
    assert is_jpeg(file, 30, 40)
    assert not is_jpeg(file, 40, 30)
    assert not is_jpeg(file[:20], 30, 40)
    assert not is_jpeg(file + bytes(1 << 17), 30, 40)
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, "PNG")
    for other in (buffer.getvalue(), b"\xff\xd8\xff\xe0rest", b"", None, "text"):
        assert not is_jpeg(other, 30, 40)


def test_colours_run_from_blue_to_red():
    table = np.frombuffer(bytes.fromhex(colour_table()), dtype=np.uint8).reshape(256, 3).astype(int)
    (red, green, blue), (last_red, last_green, last_blue) = table[0], table[255]
    assert blue > 2 * red
    assert blue > 2 * green
    assert last_red > 3 * last_green
    assert last_red > 3 * last_blue
    assert len(np.unique(table, axis=0)) > 200
