"""The report's vocabulary: what statuses and settings mean in plain words, and how numbers are printed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

MINUS = "\N{MINUS SIGN}"
NULLS = {
    "shuffled": "Shuffled maps",
    "centre": "Blind centre spot",
    "uniform": "Uniform map",
}
SCALINGS = {
    "antilog": "10^w − 1, which keeps zero at zero, so sfd can reach 0 and 1",
    "antilog-literal": "10^w, as the paper's text has it: sfd can only lie between 0.09 and 0.91",
    "exp": "e^w: sfd can only lie between 0.27 and 0.73",
    "linear": "w itself, not scaled",
}
BOXES = {
    "rect": "the smallest upright rectangle that holds R and every pixel with w ≥ {threshold}; each map has its own",
    "region": "R and every pixel with w ≥ {threshold}, as they are; each map has its own",
    "shared": "one rectangle per block for all models, around R and every pixel with w ≥ {threshold} in any map",
}
TARGETS = {
    "label": "each image’s label",
    "predicted": "each model’s own prediction",
}
SOURCES = {
    "masks": "the masks that come with the data",
    "boxes": "the rectangles given with the data, not outlines",
    "grounded-sam": "found by Grounding DINO (a box for the label) and SAM (the mask in it), checked by no one",
    "grounded-sam2": "found by Grounding DINO (a box for the label) and SAM 2 (the mask in it), checked by no one",
    "grounded-sam-original": "found by Grounding DINO (a box for the label) and SAM (the mask in it), their authors’ "
    "packages, checked by no one",
    "boxes+sam": "found by SAM in the rectangles given with the data",
}


def number(value: float, digits: int = 3) -> str:
    """A fixed number of decimals with a true minus sign; an en dash for NaN."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int = 3) -> str:
    """As ``number``, with a plus sign before what is above zero; what rounds to zero has no sign."""
    text = number(value, digits)
    if text.strip(f"{MINUS}0.") == "":
        return text.lstrip(MINUS)
    return text if text.startswith((MINUS, "–")) else f"+{text}"


def p_text(value: float) -> str:
    """A p value for a table: two significant digits, or a bound."""
    if value is None or math.isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.0995 else f"{value:.2f}"


def percent(value: float) -> str:
    """A share as a whole percentage."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.0f} %"


def join(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def moment(value: Any) -> str:
    """An ISO time as ``3 July 2025, 14:05 UTC``; the text itself if it is none."""
    try:
        when = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return str(value or "")
    return f"{when.day} {when:%B %Y, %H:%M}" + (f" {when:%Z}" if when.tzinfo else "")
