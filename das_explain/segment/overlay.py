"""A photo with its region drawn on it, to check masks by eye."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from das_explain.data.images import full_size
from das_explain.types import Region

SIDE = 1024  # longest side of a drawing, in pixels; a small photo is enlarged to at least half of it
FOUND, HUMAN, USED, UNUSED = (255, 64, 32), (40, 220, 90), (255, 210, 0), (150, 150, 150)


def draw_overlay(image: Image.Image, region: Region, human: np.ndarray | None = None) -> Image.Image:
    """The photo, about ``SIDE`` pixels long, with R tinted and outlined in red, and below it what was asked.

    The detector's boxes are drawn with their scores, yellow if used for R, else grey; a human's mask ``human``, bool
    (H, W), is a green outline.
    """
    scale = SIDE / max(image.size)
    scale = scale if scale < 1 else float(max(1, int(scale)))  # whole, so that pixels stay pixels
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    pixels = np.array(image.resize(size, Image.Resampling.BILINEAR if scale < 1 else Image.Resampling.NEAREST))
    if region.mask is not None:
        mask = _scale(region.mask, size)
        pixels[mask] = (0.7 * pixels[mask] + 0.3 * np.array(FOUND)).astype(np.uint8)
    line = max(1, round(max(size) / 300))
    for mask, colour in ((human, HUMAN), (region.mask, FOUND)):
        if mask is not None:
            pixels[_outline(_scale(mask, size), line)] = colour
    drawn = Image.fromarray(pixels)
    _draw_boxes(drawn, region.detail, scale * image.width / full_size(image)[0], line)
    return _with_caption(drawn, _caption(region))


def _draw_boxes(image: Image.Image, detail: dict[str, Any], scale: float, line: int) -> None:
    boxes, scores = detail.get("boxes") or [], detail.get("scores") or []
    used = set(detail.get("used", range(len(boxes))))
    draw = ImageDraw.Draw(image)
    for i, box in sorted(enumerate(boxes), key=lambda each: each[0] in used):
        x0, y0, x1, y1 = (float(edge) * scale for edge in box)
        colour = USED if i in used else UNUSED
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=line)
        if i < len(scores):
            draw.text(
                (x0 + 2 * line, y0 + line),
                f"{scores[i]:.2f}",
                fill=colour,
                font=_font(14),
                stroke_width=1,
                stroke_fill=(0, 0, 0),
            )


def _caption(region: Region) -> str:
    parts = [str(region.detail["prompt"])] if region.detail.get("prompt") else []
    if region.status != "ok":
        parts.append(region.status)
    if region.detail.get("retried"):
        parts.append("found at the lower threshold")
    return ", ".join(parts)


def _with_caption(image: Image.Image, text: str) -> Image.Image:
    if not text:
        return image
    text = " ".join(text.split())[:300]
    page = Image.new("RGB", (image.width, image.height + 22), (20, 20, 20))
    page.paste(image)
    ImageDraw.Draw(page).text((5, image.height + 3), text, fill=(240, 240, 240), font=_font(14))
    return page


def _scale(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if mask.shape == size[::-1]:
        return mask
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def _outline(mask: np.ndarray, width: int) -> np.ndarray:
    """The mask's pixels within ``width`` of its boundary."""
    import cv2

    from das_explain.segment.compare import boundary

    edge = boundary(mask).astype(np.uint8)
    if width > 1:
        edge = cv2.dilate(edge, np.ones((2 * width - 1, 2 * width - 1), np.uint8))
    return (edge > 0) & mask


@lru_cache
def _font(size: int) -> Any:
    """DejaVu Sans as matplotlib ships it, for labels in any European script; Pillow's own if it is not there."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None and spec.origin:
        path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), size)
    return ImageFont.load_default()
