"""Every text of the page stands out from what it stands on: a ratio of 4.5 to 1 at least, light and dark (WCAG 1.4.3)."""

import re
from pathlib import Path

import pytest

from das_explain import report

STYLE = (Path(report.__file__).parent / "report.css").read_text(encoding="utf-8")
INKS = ("ink", "soft", "accent", "warn", *(f"m{i}" for i in range(7)))
GROUNDS = ("paper", "sheet", "faint")


def palette(dark: bool) -> dict[str, str]:
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    assert len(blocks) == 2
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[dark]))


def luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour, as WCAG 2.2 defines it."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_the_ratio_by_hand():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("dark", [False, True])
def test_texts_stand_out(dark):
    colours = palette(dark)
    pairs = [(ink, ground) for ink in INKS for ground in GROUNDS] + [("warn", "warn-paper"), ("ink", "warn-paper")]
    weak = {pair: round(contrast(colours[pair[0]], colours[pair[1]]), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}


def test_models_differ_from_each_other():
    for dark in (False, True):
        colours = palette(dark)
        assert len({colours[f"m{i}"] for i in range(7)}) == 7


def test_texts_have_no_colours_but_those_of_the_palette():
    """What is drawn over photos has its own; a text may not."""
    rules = re.findall(r"(?<![-\w])(?:color|fill): ([^;}]+)", STYLE)
    assert set(rules) <= {"none", "inherit", *(f"var(--{name})" for name in (*INKS, "m")), "var(--m, var(--ink))"}
