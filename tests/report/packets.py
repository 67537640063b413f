"""Reads packets of maps back, by their description and not by the code that writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def unpack(length: int, text: str, shapes: Sequence[dict]) -> tuple[list[str | None], list[np.ndarray]]:
    """The outlines and the maps float64 (h, w); ``shapes``: ``height``, ``width`` and ``bits`` of each map."""
    bits = "".join(f"{ord(character) - 0x3000:015b}" for character in text)
    data = bytes(int(bits[8 * i : 8 * i + 8], 2) for i in range(length))
    at = 4 + int.from_bytes(data[:4], "little")
    outlines, maps = json.loads(data[4:at]), []
    for shape in shapes:
        size, count = shape["height"] * shape["width"], shape["bits"] // 8
        there = [data[at + i // 8] >> (7 - i % 8) & 1 for i in range(size)]
        at += -(-size // 8)
        values = np.zeros(size)
        for i in np.flatnonzero(there):
            values[i] = int.from_bytes(data[at : at + count], "big") / (2 ** shape["bits"] - 1)
            at += count
        maps.append(values.reshape(shape["height"], shape["width"]))
    assert at == len(data)
    return outlines, maps


def read_packet(report: Path, entry: dict, shapes: list[list[dict]]) -> tuple[list[str | None], list[np.ndarray]]:
    """The packet of an image of ``data.js``; ``shapes``: ``DAS.shapes``."""
    line = (report / f"images/{entry['index']:06d}.js").read_text(encoding="utf-16")
    index, length, text = re.fullmatch(r'DAS\.packets\[(\d+)\] = \[(\d+), "([^"\\]*)"\];\n', line).groups()
    assert int(index) == entry["index"]
    cells = [
        shape
        for answer, row in zip(entry["models"], shapes)
        for cell, shape in zip(answer["cells"] if answer else [], row)
        if cell and not cell.get("blank")
    ]
    return unpack(int(length), text, cells)
