"""Packets of maps: read back bit by bit, exact enough, safe as JavaScript, smaller than base64."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from das_explain.report.packets import map_bits, map_bytes, pack, packet
from tests.report.packets import unpack


def shape_of(native):
    return {"height": native.shape[0], "width": native.shape[1], "bits": map_bits(*native.shape)}


def test_bytes_by_hand():
    """Two of three pixels of 24 bits: 0.5 is 0x800000 (8388607.5, to even), 1 is 0xffffff."""
    native = np.array([[0.5, 0.0, 1.0]], np.float32)
    assert map_bytes(native) == bytes([0b10100000, 0x80, 0x00, 0x00, 0xFF, 0xFF, 0xFF])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_what_was_packed_is_read_back(seed, height, width):
    rng = np.random.default_rng(seed)
    maps = [rng.random((height, width), dtype=np.float32), np.zeros((2, 3), np.float32), np.ones((1, 1), np.float32)]
    outlines = ["M1 2l3-4z", None]
    length, text = pack(outlines, maps)
    told, found = unpack(length, text, [shape_of(native) for native in maps])
    assert told == outlines
    for native, read in zip(maps, found):
        top = 2 ** map_bits(*native.shape) - 1
        assert np.abs(read - native).max() <= 0.5 / top + 1e-12
        assert read.shape == native.shape


def test_small_maps_have_24_bits_and_large_ones_16():
    assert map_bits(32, 32) == 24
    assert map_bits(33, 32) == 16


def test_a_packet_cannot_end_its_string_or_its_script():
    rng = np.random.default_rng(0)
    line = packet(7, [], [rng.random((30, 30), dtype=np.float32)])
    assert line.startswith("DAS.packets[7] = [")
    text = line.split('"')[1]
    assert line.count('"') == 2
    assert all(0x3000 <= ord(character) < 0xB000 for character in text)
    text.encode("utf-16")


def test_two_bytes_hold_fifteen_bits():
    length, text = pack([], [np.random.default_rng(0).random((50, 50), dtype=np.float32)])
    assert len(text) == -(-8 * length // 15)


def test_values_outside_of_the_range_are_clipped():
    _, (read,) = unpack(*pack([], [np.array([[-0.25, 1.5]], np.float32)]), [{"height": 1, "width": 2, "bits": 24}])
    assert read.tolist() == [[0, 1]]
