"""A study that takes seconds: two designs, two copies of each, four steps of training, eight photos with masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

COLOURS = {"blue": (60, 60, 180), "red": (180, 60, 60)}


def write_photos(folder: Path) -> Path:
    """Noise with a brighter disc, four PNGs of two classes each, and ``photos.csv`` with their masks."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["image,label,mask"]
    y, x = np.mgrid[:36, :40]
    for label, colour in COLOURS.items():
        for number in range(4):
            mask = (y - rng.integers(10, 26)) ** 2 + (x - rng.integers(10, 30)) ** 2 < 64
            pixels = np.where(mask[..., None], colour, 60) + rng.normal(0, 20, (36, 40, 3))
            name = f"{label}-{number}.png"
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / name)
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"mask-{name}")
            lines.append(f"{name},{label},mask-{name}")
    (folder / "photos.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("study") / "photos")


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's file, with a recipe of its own beside it."""
    folder = tmp_path_factory.mktemp("small")
    recipe = {
        "model": {"architecture": "resnet18"},
        "data": {"train": "photos", "test": "photos"},
        "input": {"size": 32, "resize": 32},
        "augment": {"scale": [0.5, 1.0]},
        "optimizer": {"lr": 0.01},
        "schedule": {"epochs": 3},
        "loop": {"batch_size": 8, "precision": "32", "workers": 0, "device": "cpu"},
    }
    study = {
        "description": "Two designs <b>& few</b> steps",
        "needs": {"photos": "a folder with photos.csv"},
        "recipe": "tiny.yaml",
        "set": {"data.train": "${photos}/photos.csv", "data.test": "${photos}/photos.csv"},
        "designs": {
            "none": {"model.attention": "none"},
            "das": {"model.attention": "das", "model.arguments": {"gates": ["layer2"]}},
        },
        "copies": 2,
        "scored_on": {"all": {"data": "${photos}/photos.csv"}, "few": {"data": "${photos}/photos.csv", "sample": 6}},
        "blocks": ["layer1", "layer2"],
        "nulls": ["shuffled", "centre"],
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path
