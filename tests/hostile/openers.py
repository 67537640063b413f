"""Every door that a stranger's file comes in by: name -> (the file's ending, a call that opens it)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from das_explain.checkpoint.config import read_config
from das_explain.checkpoint.files import read_weights
from das_explain.checkpoint.labels import read_label_map, read_labels
from das_explain.data.coco.objects import open_objects
from das_explain.data.dataset import open_dataset
from das_explain.data.images import decode_image
from das_explain.data.mask_pixels import decode_mask
from das_explain.evidence.run import Run
from das_explain.evidence.tables import read_table
from das_explain.segment.finders.prompts import read_overrides

Opener = Callable[[Path], object]


def photos_beside(path: Path) -> str:
    """A folder of one photo, for what is said about photos."""
    folder = path.parent / "photos"
    folder.mkdir(exist_ok=True)
    if not (folder / "a.png").exists():
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "a.png")
    return str(folder)


def _recipe(path: Path) -> object:
    from das_explain.train.recipe import load_recipe

    return load_recipe(str(path))


OPENERS: dict[str, tuple[str, Opener]] = {
    "data CSV": (".csv", lambda path: open_dataset(str(path))),
    "mask CSV": (".csv", lambda path: open_dataset(photos_beside(path), masks=path)),
    "box CSV": (".csv", lambda path: open_dataset(photos_beside(path), boxes=path)),
    "PASCAL XML": (".xml", lambda path: open_dataset(photos_beside(path), boxes=path)),
    "COCO masks": (".json", lambda path: open_dataset(photos_beside(path), masks=path)),
    "COCO objects": (".json", lambda path: open_objects(f"{path}@{path.parent}")),
    "prompts": (".csv", read_overrides),
    "labels": (".txt", read_labels),
    "JSON labels": (".json", read_labels),
    "label map": (".csv", read_label_map),
    "config": (".json", read_config),
    "checkpoint": (".pth", read_weights),
    "safetensors": (".safetensors", read_weights),
    "recipe": (".yaml", _recipe),
    "photo": (".jpg", decode_image),
    "mask": (".png", decode_mask),
    "table": (".csv", lambda path: read_table(path, ("image",))),
    "run.json": ("run.json", lambda path: Run.open(path.parent)),
}
