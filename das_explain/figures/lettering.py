"""Text from data in a figure: shown as it is, in a font that has it, in the room there is."""

from __future__ import annotations

import warnings
from bisect import bisect_right
from functools import cache

from matplotlib import font_manager
from matplotlib.backends.backend_agg import RendererAgg

from das_explain.text import cut_middle


def plain() -> dict:
    """Style of any text that comes from data: shown literally, in the first installed font that has the glyph."""
    return {"parse_math": False, "fontfamily": list(_fonts())}


@cache
def _fonts() -> tuple[str, ...]:
    installed = set(font_manager.get_font_names())
    wanted = ("DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Arial Unicode MS", "Microsoft YaHei")
    return tuple(name for name in wanted if name in installed) or ("sans-serif",)


def inches(text: str, size: float, weight: str = "normal") -> float:
    """Width of a text of this size in points, as drawn."""
    font = font_manager.FontProperties(family=list(_fonts()), size=size, weight=weight)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        return RendererAgg(1, 1, 72).get_text_width_height_descent(text, font, ismath=False)[0] / 72 if text else 0.0


def fit(text: str, room: float, size: float, weight: str = "normal") -> str:
    """The text as it may be drawn in ``room`` inches: control characters escaped, the middle cut out."""
    text = cut_middle(literal(text), 1000)
    if inches(text, size, weight) <= room:
        return text
    lengths = range(1, len(text))
    fits = bisect_right(lengths, room, key=lambda length: inches(cut_middle(text, length), size, weight))
    return cut_middle(text, max(1, fits))


def two_lines(text: str, room: float, size: float, weight: str) -> list[str]:
    """One line if the text fits, else two, parted at a space if there is one."""
    text = literal(text)
    start = fit(text, room, size, weight)
    cut = text.rfind(" ", 1, len(start))
    return [text] if start == text or cut < 0 else [text[:cut], text[cut + 1 :]]


def literal(text: str) -> str:
    """Control characters and the like as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
