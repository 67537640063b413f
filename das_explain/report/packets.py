"""The maps and outlines of one image as a script of its own, loaded when the image comes near the screen.

A page from disk may not read files, but it may load scripts and pictures. A packet is ``DAS.packets[index] = [length,
text]``: deflated bytes, 15 bits to a character from U+3000 on, in UTF-16. That is two bytes for 15 bits, where base64
takes 20.

The bytes, inflated: four for the length n of a JSON list of outlines (``payload.outline``), little-endian; that list, n
bytes; then the maps, models and blocks in order. A map is unsigned integers of ``map_bits`` bits, 0 for 0 and all ones
for 1, as planes: the highest byte of every pixel, each less the one before it, then the next byte of every pixel, and so
on; highest bytes are alike among neighbours and deflate well so.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence

import numpy as np

SMALL = 1024  # pixels up to which a map has 24 bits: sfd is a mean over few of them, and shows three digits
FIRST = 0x3000  # no character from here on needs an escape, and 2**15 of them end before the surrogates


def map_bits(height: int, width: int) -> int:
    """How many bits a pixel of a map of this size has."""
    return 24 if height * width <= SMALL else 16


def map_planes(native: np.ndarray) -> bytes:
    """A finite map float32 (h, w) in [0, 1] -> its bytes, plane by plane."""
    count = map_bits(*native.shape) // 8
    top = 2 ** (8 * count) - 1
    values = np.rint(np.clip(native.astype(np.float64).ravel(), 0, 1) * top).astype(">u4")
    planes = values.view(np.uint8).reshape(-1, 4)[:, 4 - count :].T
    first = np.diff(planes[0], prepend=np.uint8(0))  # modulo 256
    return np.concatenate([first, *planes[1:]]).tobytes()


def pack(outlines: Sequence[str | None], maps: Sequence[np.ndarray]) -> tuple[int, str]:
    """One image's outlines and finite maps -> how many deflated bytes, and the text that holds them."""
    head = json.dumps(list(outlines)).encode("ascii")
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    parts = [len(head).to_bytes(4, "little"), head, *map(map_planes, maps)]
    data = deflate.compress(b"".join(parts)) + deflate.flush()
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    bits = np.pad(bits, (0, -len(bits) % 15)).reshape(-1, 15)
    values = bits.astype(np.uint16) @ (1 << np.arange(14, -1, -1)).astype(np.uint16)
    return len(data), (values + np.uint16(FIRST)).astype("<u2").tobytes().decode("utf-16-le")


def packet(index: int, outlines: Sequence[str | None], maps: Sequence[np.ndarray]) -> str:
    """One image's packet, a line of JavaScript; to be written with ``encoding="utf-16"``."""
    length, text = pack(outlines, maps)
    return f'DAS.packets[{index}] = [{length}, "{text}"];\n'
