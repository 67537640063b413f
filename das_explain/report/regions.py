"""Where R came from: the segmenter's settings in words, and per image what was asked and what was found."""

from __future__ import annotations

import json
from typing import Any

from das_explain.data.geometry import Geometry
from das_explain.evidence.values import Photo
from das_explain.report.payload import finite, plain_text
from das_explain.report.results import Results
from das_explain.statuses import WITHOUT_REGION

BOXES = 20  # of one image at most, the used ones first
TERMS = {  # setting -> how it reads; in this order, before all others
    "detector": "boxes by {}",
    "sam": "masks by {}",
    "template": "asked for “{}”",
    "overrides": "other prompts from a table ({})",
    "box_threshold": "box threshold {}",
    "text_threshold": "text threshold {}",
    "retry_threshold": "once more at {} where nothing was found",
    "minimum_area": "objects from {} of the photo on",
}
CHOICES = {"best": "the box with the best score", "union": "all boxes above the threshold"}


def told(segmenter: dict[str, Any], *known: Any) -> list[str]:
    """The settings of ``run.json``'s segmenter, one phrase each; values in ``known`` are said elsewhere."""
    known = (None, "", [], {}, 0.0, segmenter.get("name"), *known)
    rest = {name: value for name, value in segmenter.items() if value not in known}
    phrases = []
    for name, words in TERMS.items():
        if name in rest:
            phrases.append(words.format(_value(rest.pop(name))))
    choice = rest.pop("choice", None)
    if choice is not None:
        phrases.append(CHOICES.get(str(choice), f"choice {_value(choice)}"))
    return phrases + [f"{name} {_value(value)}" for name, value in rest.items()]


def _value(value: Any) -> str:
    """A setting as text: of weights their name and the head of their hash, which ``run.json`` has in full."""
    if isinstance(value, dict) and "weights" in value:
        sha = str(value.get("sha256") or "")
        side = f" at {value['side']} pixels" if "side" in value else ""
        return f"{value['weights']}{side}" + (f", SHA-256 {sha[:12]}" if sha else "")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:12] if len(text) == 64 and text.isalnum() else text


def region_entry(photo: Photo, geometry: Geometry) -> dict[str, Any] | None:
    """How one image's R was found, for the page; ``None`` if nothing is told.

    ``prompt``; ``score``: the best of the boxes used; ``iou``: the least that SAM predicts; ``retried``; ``used`` of
    ``of`` boxes; ``boxes``: those on the frame of ``geometry``, each ``x0, y0, x1, y1`` in pixels of it, clipped to it,
    with ``score`` and ``used``.
    """
    region = photo.region
    if not isinstance(region, dict) or not (region.get("prompt") or region.get("boxes")):
        return None
    boxes = _list(region.get("boxes"))
    scores = [finite(score) for score in _list(region.get("scores"))]
    given = region.get("used", list(range(len(boxes))))
    used = {i for i in _list(given) if type(i) is int and 0 <= i < len(boxes)}
    order = sorted(range(len(boxes)), key=lambda i: (i not in used, i))[:BOXES]
    drawn = []
    for i in order:
        corners = _on_frame(boxes[i], photo, geometry)
        if corners is not None:
            edges = dict(zip(("x0", "y0", "x1", "y1"), corners))
            drawn.append(edges | {"score": scores[i] if i < len(scores) else None, "used": i in used})
    best = max((scores[i] for i in used if i < len(scores) and scores[i] is not None), default=None)
    iou = [value for value in map(finite, _list(region.get("iou"))) if value is not None]
    return {
        "prompt": plain_text(region.get("prompt"), 200),
        "score": best,
        "iou": min(iou, default=None),
        "retried": region.get("retried") is True,
        "used": len(used),
        "of": len(boxes),
        "boxes": drawn,
    }


def _on_frame(box: Any, photo: Photo, geometry: Geometry) -> list[float] | None:
    """A box in pixels of the photo as pixels of the frame; ``None`` if it lies outside, or is none."""
    corners = [finite(edge, 7) for edge in box] if isinstance(box, list) and len(box) == 4 else [None]
    if None in corners or photo.width <= 0 or photo.height <= 0:
        return None
    left, top, right, bottom = geometry.box(photo.width, photo.height)
    frame_height, frame_width = geometry.size
    x0, x1 = (min(max((corners[i] - left) / (right - left) * frame_width, 0.0), frame_width) for i in (0, 2))
    y0, y1 = (min(max((corners[i] - top) / (bottom - top) * frame_height, 0.0), frame_height) for i in (1, 3))
    return [round(edge, 1) for edge in (x0, y0, x1, y1)] if x1 > x0 and y1 > y0 else None


def without_region(results: Results) -> dict[str, int]:
    """Status -> images, of the statuses that say that an image has no R."""
    return {status: results.tally.images[status] for status in WITHOUT_REGION if results.tally.images[status]}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
