"""A loaded model as a value: its repr, its usual blocks, its copies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from das_explain.checkpoint.load import load_model
from das_explain.nn import create_model
from tests.models import model_directory

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def test_a_repr_fits_on_a_screen(tmp_path: Path) -> None:
    folder = model_directory(tmp_path / "net", ["ant", "bee", "cat"], attention="das")
    text = repr(load_model(f"mine={folder}", device="cpu"))
    assert text.splitlines() == [
        "LoadedModel 'mine'",
        f"  spec         {folder}",
        "  architecture resnet18 with das attention",
        "  blocks       layer1, layer2, layer3, layer4",
        "  classes      3: ant, bee, cat",
        "  input        32 x 32",
        "  device       cpu",
    ]


def test_a_repr_of_many_blocks_and_classes_is_cut() -> None:
    network = create_model("mobilenet_v2", "none", 1000)
    model = load_model(network, size=(32, 64), blocks=[f"features.{i}" for i in range(19)])
    lines = repr(model).splitlines()
    assert len(lines) == 7
    assert max(map(len, lines)) <= 120
    assert "  blocks       features.0, features.1, features.2 ... features.16, features.17, features.18" in lines
    assert "  classes      1000: tench, goldfish, great white shark ... ear, toilet tissue" not in lines
    assert any(line.startswith("  classes      1000: tench, goldfish, great white shark ... ") for line in lines)
    assert "  input        64 x 32" in lines
    assert "without names" in repr(load_model(create_model("resnet18", "none", 5), size=32))


def test_the_usual_blocks_are_the_last_two_or_those_that_were_chosen(tmp_path: Path) -> None:
    folder = model_directory(tmp_path / "net", ["ant", "bee"])
    assert list(load_model(str(folder), device="cpu").usual_blocks) == ["layer3", "layer4"]
    chosen = load_model(str(folder), device="cpu", blocks=["layer1", "layer2", "layer4"])
    assert list(chosen.explain(PHOTO).cams) == ["layer1", "layer2", "layer4"]
    assert list(chosen.explain(PHOTO, blocks=["layer4", "layer2.0"]).cams) == ["layer4", "layer2.0"], "as asked for"


def test_another_network_put_in_its_place_is_the_one_explained(tmp_path: Path) -> None:
    model = load_model(str(model_directory(tmp_path / "net", ["ant", "bee"])), device="cpu")
    model.explain(PHOTO)
    model.network = load_model(str(model_directory(tmp_path / "b", ["ant", "bee"], seed=3)), device="cpu").network
    image = model.preprocess(Image.fromarray(PHOTO))[None]
    found = model.explain(PHOTO, blocks="layer4").logits
    torch.testing.assert_close(found, model.network(image).detach(), rtol=1e-3, atol=1e-3)


def test_a_renamed_model_explains_as_before(tmp_path: Path) -> None:
    model = load_model(str(model_directory(tmp_path / "net", ["ant", "bee"])), device="cpu")
    before = model.explain(PHOTO)
    renamed = replace(model, name="other")
    assert renamed.explain(PHOTO).model == "other"
    assert renamed.explain(PHOTO).logits.equal(before.logits)
    assert renamed.assumptions is model.assumptions
