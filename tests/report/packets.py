"""Reads packets of maps back, by their description and not by the code that writes them."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def unpack(length: int, text: str, shapes: Sequence[dict]) -> tuple[list[str | None], list[np.ndarray]]:
    """The outlines and the maps float64 (h, w); ``shapes``: ``height``, ``width`` and ``bits`` of each map."""
    bits = "".join(f"{ord(character) - 0x3000:015b}" for character in text)
    data = zlib.decompress(bytes(int(bits[8 * i : 8 * i + 8], 2) for i in range(length)), -15)
    at = 4 + int.from_bytes(data[:4], "little")
    outlines, maps = json.loads(data[4:at]), []
    for shape in shapes:
        size, count = shape["height"] * shape["width"], shape["bits"] // 8
        planes = np.frombuffer(data[at : at + size * count], np.uint8).reshape(count, size).astype(np.int64)
        planes[0] = np.cumsum(planes[0]) % 256
        values = sum(plane * 256 ** (count - 1 - i) for i, plane in enumerate(planes))
        maps.append(values.reshape(shape["height"], shape["width"]) / (2 ** shape["bits"] - 1))
        at += size * count
    assert at == len(data)
    return outlines, maps


def read_packet(report: Path, entry: dict) -> tuple[list[str | None], list[np.ndarray]]:
    """The packet of an image of ``data.js``."""
    line = (report / f"images/{entry['index']:06d}.js").read_text(encoding="utf-16")
    index, length, text = re.fullmatch(r'DAS\.packets\[(\d+)\] = \[(\d+), "([^"\\]*)"\];\n', line).groups()
    assert int(index) == entry["index"]
    shapes = [cell["map"] for answer in entry["models"] if answer for cell in answer["cells"] if cell and cell["map"]]
    return unpack(int(length), text, shapes)
