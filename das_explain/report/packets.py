"""The maps and outlines of one image as a script of its own, loaded when the image comes near the screen.

A page from disk may not read files, but it may load scripts and pictures. A packet is ``DAS.packets[index] = [length,
text]``: so many bytes, 15 bits to a character from U+3000 on, in UTF-16. That is two bytes for 15 bits, where base64
takes 20.

The bytes: four for the length n of a JSON list of outlines (``payload.outline``), little-endian; that list, n bytes;
then the maps, models and blocks in order. A map is one bit per pixel, 1 where it is not 0 (a ReLU leaves many zeros; the
bits are packed as numpy.packbits does), then the pixels that are not 0 as unsigned integers of ``map_bits`` bits, all
ones for 1, highest byte first. What is left is noise to a compressor: deflate would save two bytes of a hundred.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

SMALL = 1024  # pixels up to which a map has 24 bits: sfd is a mean over few of them, and shows three digits
FIRST = 0x3000  # no character from here on needs an escape, and 2**15 of them end before the surrogates


def map_bits(height: int, width: int) -> int:
    """How many bits a pixel of a map of this size has."""
    return 24 if height * width <= SMALL else 16


def map_bytes(native: np.ndarray) -> bytes:
    """A finite map float32 (h, w) in [0, 1] -> its bytes."""
    count = map_bits(*native.shape) // 8
    top = 2 ** (8 * count) - 1
    values = np.rint(np.clip(native.astype(np.float64).ravel(), 0, 1) * top).astype(">u4")
    there = values > 0
    return np.packbits(there).tobytes() + values[there].view(np.uint8).reshape(-1, 4)[:, 4 - count :].tobytes()


def pack(outlines: Sequence[str | None], maps: Sequence[np.ndarray]) -> tuple[int, str]:
    """One image's outlines and finite maps -> how many bytes, and the text that holds them."""
    head = json.dumps(list(outlines)).encode("ascii")
    data = b"".join([len(head).to_bytes(4, "little"), head, *map(map_bytes, maps)])
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    rows = np.zeros((-(-len(bits) // 15), 16), np.uint8)  # a character each: 0, then 15 bits
    rows[:, 1:] = np.pad(bits, (0, -len(bits) % 15)).reshape(-1, 15)
    values = np.packbits(rows).view(">u2") + np.uint16(FIRST)
    return len(data), values.astype("<u2").tobytes().decode("utf-16-le")


def packet(index: int, outlines: Sequence[str | None], maps: Sequence[np.ndarray]) -> str:
    """One image's packet, a line of JavaScript; to be written with ``encoding="utf-16"``."""
    length, text = pack(outlines, maps)
    return f'DAS.packets[{index}] = [{length}, "{text}"];\n'
