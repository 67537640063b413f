"""A tiny data set on which a network can be seen to learn: two colours, with noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy.io import savemat


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
    """A recipe file: ResNet-18 with a gate, 32 px, 2 epochs of 2 steps."""
    recipe = {
        "model": {
            "architecture": "resnet18",
            "attention": "das",
            "arguments": {"gates": ["layer4"]},
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


COLOURS = {"apple": (200, 50, 50), "lake": (50, 80, 200), "forest": (40, 160, 60), "desert": (210, 180, 90)}


def coloured(colour: tuple[int, int, int], size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Noise around a colour: uint8 (height, width, 3)."""
    return np.clip(np.array(colour) + rng.normal(0, 40, (*size, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def cifar100(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CIFAR-100's binary version: 100 class names, 16 training and 8 test records of four classes."""
    folder, rng = tmp_path_factory.mktemp("cifar-100-binary"), np.random.default_rng(0)
    names = sorted([*COLOURS, *(f"class_{i}" for i in range(96))])
    (folder / "fine_label_names.txt").write_text("\n".join(names) + "\n")
    (folder / "coarse_label_names.txt").write_text("\n".join(f"group_{i}" for i in range(20)) + "\n")
    for split, each in (("train", 4), ("test", 2)):
        records = bytearray()
        for _ in range(each):
            for name, colour in COLOURS.items():
                pixels = coloured(colour, (32, 32), rng).transpose(2, 0, 1)
                records += bytes([7, names.index(name)]) + pixels.tobytes()
        (folder / f"{split}.bin").write_bytes(records)
    return folder


@pytest.fixture(scope="session")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train`` and ``val`` with four synsets' folders; four and two JPEGs each."""
    folder, rng = tmp_path_factory.mktemp("imagenet"), np.random.default_rng(1)
    for split, each in (("train", 4), ("val", 2)):
        for synset, colour in zip(("n01440764", "n01443537", "n01484850", "n01491361"), COLOURS.values()):
            (folder / split / synset).mkdir(parents=True)
            for i in range(each):
                image = Image.fromarray(coloured(colour, (40, 48), rng))
                image.save(folder / split / synset / f"{synset}_{i}.JPEG")
    return folder


@pytest.fixture(scope="session")
def dogs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stanford Dogs as published: ``Images``, ``train_list.mat`` and ``test_list.mat`` of four breeds."""
    folder, rng = tmp_path_factory.mktemp("dogs"), np.random.default_rng(2)
    breeds = ("n02085620-Chihuahua", "n02106166-Border_collie", "n02106030-collie", "n02099601-golden_retriever")
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for breed, colour in zip(breeds, COLOURS.values()):
        (folder / "Images" / breed).mkdir(parents=True)
        for i in range(6):
            name = f"{breed}/{breed.split('-')[0]}_{10 * i + 7}.jpg"
            Image.fromarray(coloured(colour, (48, 40), rng)).save(folder / "Images" / name)
            lists["test" if i % 3 == 2 else "train"].append(name)
    for split, names in lists.items():
        cells = np.array(names, dtype=object).reshape(-1, 1)
        labels = np.array([[[b.split("-")[1] for b in breeds].index(n.split("/")[0].split("-")[1]) + 1] for n in names])
        savemat(folder / f"{split}_list.mat", {"file_list": cells, "labels": labels.reshape(-1, 1)})
    return folder
