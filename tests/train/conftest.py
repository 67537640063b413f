"""A tiny data set on which a network can be seen to learn: two colours, with noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``blue`` and ``red``, four PNGs of 40 x 36 pixels each."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for label, colour in (("blue", (60, 60, 180)), ("red", (180, 60, 60))):
        (folder / label).mkdir()
        for number in range(4):
            pixels = np.clip(np.array(colour) + rng.normal(0, 40, (36, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


@pytest.fixture
def tiny(photos: Path, tmp_path: Path) -> Path:
    """A recipe file: ResNet-18 with a gate, small stem, 32 px, 2 epochs of 2 steps."""
    recipe = {
        "model": {
            "architecture": "resnet18",
            "attention": "das",
            "arguments": {"stem": "small", "gates": ["layer4"]},
        },
        "data": {"train": str(photos), "test": str(photos)},
        "input": {"size": 32, "resize": 32},
        "augment": {"scale": [0.5, 1.0], "brightness": 0.2, "contrast": 0.2, "saturation": 0.2},
        "optimizer": {"lr": 0.02, "nesterov": True},
        "schedule": {"epochs": 2, "warmup_epochs": 0.5},
        "loop": {"batch_size": 4, "precision": "32", "workers": 0, "device": "cpu", "half": True},
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path
