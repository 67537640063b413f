"""Small detection data in COCO's format: coloured rectangles on grey noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {7: ("red square", (220, 40, 40)), 3: ("blue bar", (40, 60, 220))}  # ids neither dense nor in order of names


def coco_folder(folder: Path, count: int = 6, *, seed: int = 0, side: int = 64) -> Path:
    """``instances_small.json`` and ``small/``, laid out as COCO is; every third image is tall, each has two objects.

    The first image has a crowd too, and the last no object at all.
    """
    rng = np.random.default_rng(seed)
    (folder / "small").mkdir(parents=True)
    (folder / "annotations").mkdir()
    images, annotations = [], []
    for i in range(count):
        height, width = (side + 16, side) if i % 3 == 1 else (side, side + 16)
        pixels = rng.integers(90, 150, (height, width, 3), np.uint8)
        for place, (category, (_, colour)) in enumerate(COLOURS.items() if i < count - 1 else ()):
            w, h = (26, 26) if category == 7 else (30, 14)
            x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height // 2 - h)) + place * (height // 2)
            pixels[y : y + h, x : x + w] = colour
            annotations.append(_annotation(annotations, i, category, [x, y, w, h]))
        if i == 0:
            annotations.append(_annotation(annotations, i, 3, [0, 0, width, 8]) | {"iscrowd": 1})
        name = f"{i:03}.png"
        Image.fromarray(pixels).save(folder / "small" / name)
        images.append({"id": 100 + i, "file_name": name, "width": width, "height": height})
    categories = [{"id": number, "name": name} for number, (name, _) in COLOURS.items()]
    path = folder / "annotations" / "instances_small.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def _annotation(before: list, image: int, category: int, box: list[int]) -> dict:
    return {
        "id": len(before),
        "image_id": 100 + image,
        "category_id": category,
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
    }
