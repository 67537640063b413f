"""What is written in a figure, and that it can be read."""

from __future__ import annotations

from itertools import combinations

from matplotlib.figure import Figure
from matplotlib.text import Text


def texts(figure: Figure) -> list[Text]:
    figure.draw_without_rendering()
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def strings(figure: Figure) -> list[str]:
    return [text.get_text() for text in texts(figure)]


def assert_readable(figure: Figure) -> None:
    """Every text lies on the page and on no other text (by more than a pixel at 300 dpi)."""
    boxes = [(text.get_text(), text.get_window_extent().padded(-1)) for text in texts(figure)]
    assert boxes
    for text, box in boxes:
        assert box.x0 >= 0, f"{text!r} leaves the page on the left"
        assert box.y0 >= 0, f"{text!r} leaves the page at the bottom"
        assert box.x1 <= figure.bbox.x1, f"{text!r} leaves the page on the right"
        assert box.y1 <= figure.bbox.y1, f"{text!r} leaves the page at the top"
    for (one, a), (other, b) in combinations(boxes, 2):
        assert not a.overlaps(b), f"{one!r} meets {other!r}"
