"""``LoadedModel.explain``: photos of all kinds in, maps on the frame that the network saw out, as a notebook shows them."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import das_explain
from das_explain.cam.colours import HEAT, overlay
from das_explain.cam.engine import grad_cam
from das_explain.cam.explanation import SHOWN, Explanation
from das_explain.cam.maps import Cam
from das_explain.checkpoint.model import LoadedModel
from das_explain.errors import DasExplainError, UsageError
from tests.models import model_directory

LABELS = ["<b>ant</b>", "bee", "Cat's eye"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = model_directory(tmp_path_factory.mktemp("m") / "net", LABELS, attention="das", size=48)
    return das_explain.load_model(str(folder), device="cpu")


def photo(seed: int = 0, width: int = 90, height: int = 60) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def test_maps_are_the_engine_s(model: LoadedModel) -> None:
    photos = [photo(seed) for seed in range(3)]
    explanation = model.explain(photos, target=[0, None, "bee"])
    images = torch.stack([model.preprocess(each) for each in photos])
    predicted = int(model.network(images)[1].argmax())
    expected = grad_cam(model.network, images, torch.tensor([0, predicted, 1]), ["layer3", "layer4"])
    assert list(explanation.cams) == ["layer3", "layer4"], "the last two, as on the command line"
    for block, cam in explanation.cams.items():
        assert cam.map.shape == (3, 48, 48)
        torch.testing.assert_close(cam.map, expected[block].map, rtol=0, atol=1e-3)
        torch.testing.assert_close(cam.raw_max, expected[block].raw_max, rtol=1e-2, atol=1e-6)
    torch.testing.assert_close(explanation.logits, model.network(images), rtol=1e-3, atol=1e-3)
    assert explanation.target.tolist() == [0, predicted, 1]
    assert explanation.predicted.tolist() == model.network(images).argmax(1).tolist()
    torch.testing.assert_close(explanation.confidence, model.network(images).softmax(1).amax(1), rtol=1e-3, atol=1e-3)
    assert explanation.target_names[2] == "bee"


def test_it_runs_the_folded_copy_and_sees_later_changes(model: LoadedModel) -> None:
    before = model.explain(photo())
    twin = model._fast.of(model.usual_blocks)[0]
    assert twin is not model.network
    assert model._fast.of(model.usual_blocks)[0] is twin
    with torch.no_grad():
        model.network.fc.weight.mul_(2)
        after = model.explain(photo())
        model.network.fc.weight.div_(2)
    torch.testing.assert_close(after.logits - model.network.fc.bias, 2 * (before.logits - model.network.fc.bias))


def test_frames_are_what_the_network_saw(model: LoadedModel) -> None:
    explanation = model.explain([photo(0), photo(1, 40, 70)])
    assert explanation.frames.shape == (2, 48, 48, 3)
    for frame, image in zip(explanation.frames, (photo(0), photo(1, 40, 70))):
        np.testing.assert_array_equal(frame, model.preprocess.geometry.frame(image))


def test_photos_of_all_kinds(model: LoadedModel, tmp_path: Path) -> None:
    image = photo()
    image.save(tmp_path / "p.png")
    pixels = np.asarray(image)
    kinds = [image, tmp_path / "p.png", str(tmp_path / "p.png"), pixels, pixels[::-1][::-1]]
    for each in kinds:
        explanation = model.explain(each)
        assert len(explanation) == 1
        np.testing.assert_array_equal(explanation.frames[0], model.preprocess.geometry.frame(image))
    assert len(model.explain(np.stack([pixels, pixels]))) == 2
    assert len(model.explain(tuple(kinds))) == 5
    grey = np.asarray(image.convert("L"))
    np.testing.assert_array_equal(model.explain(grey).frames[..., 0], model.explain(grey).frames[..., 2])


def test_many_images_go_through_in_parts(model: LoadedModel) -> None:
    photos = [photo(seed) for seed in range(19)]
    together = model.explain(photos, blocks="layer4")
    for position in (0, 15, 16, 18):
        alone = model.explain(photos[position], blocks=["layer4"])
        torch.testing.assert_close(
            together.cams["layer4"].map[position], alone.cams["layer4"].map[0], rtol=0, atol=1e-3
        )
        one = together[position]
        assert (len(one), one.target_names) == (1, [together.target_names[position]])
        assert torch.equal(one.cams["layer4"].native[0], together.cams["layer4"].native[position])
    assert together[-1].target_names == together[18].target_names


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([], {}, "there is no image to explain"),
        (
            np.zeros((4, 4, 3)),
            {},
            r"an image must be an array uint8 \(H, W, 3\), not float64 \(4, 4, 3\); of values in",
        ),
        (np.zeros((4, 4, 2), np.uint8), {}, r"not uint8 \(4, 4, 2\)"),
        (torch.zeros(1, 3, 4, 4), {}, "images must be photos, not a tensor; das_explain.grad_cam takes tensors"),
        ([3], {}, "an image must be a path, a Pillow image or a numpy array, not a int"),
        (
            photo(),
            {"blocks": "layer5"},
            "resnet18 has no block 'layer5'; its blocks are layer1, layer2, layer3, layer4",
        ),
        (photo(), {"blocks": []}, "no block to explain: name at least one"),
        (photo(), {"target": 3}, r"targets must lie in 0\.\.2; they run from 3 to 3"),
        (photo(), {"target": 1.5}, "target must be a class name, its number, or None, not 1.5"),
        (photo(), {"target": True}, "target must be a class name, its number, or None, not True"),
        (photo(), {"target": [0, 1]}, "target has 2 classes for 1 images; give one for each, or one for all"),
    ],
)
def test_wrong_requests(model: LoadedModel, images, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        model.explain(images, **options)


def test_a_class_that_is_none_and_a_file_that_is_none(model: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(DasExplainError, match="near matches: 'bee' for 'bees'"):
        model.explain(photo(), target="bees")
    (tmp_path / "p.png").write_text("no photo")
    with pytest.raises(DasExplainError, match=r"p\.png"):
        model.explain(tmp_path / "p.png")


# --- what is seen


def test_the_overlay_lies_on_the_frame(model: LoadedModel) -> None:
    explanation = model.explain([photo(0), photo(1)])
    for position in (0, 1, -1):
        found = explanation.overlay("layer3", position)
        assert found.size == (48, 48)
        expected = overlay(explanation.frames[position], explanation.cams["layer3"].native[position].numpy())
        np.testing.assert_array_equal(np.asarray(found), expected)
    assert explanation.overlay() == explanation.overlay("layer4", 0)
    with pytest.raises(UsageError, match="there is no map of 'layer9'; there are those of layer3, layer4"):
        explanation.overlay("layer9")
    with pytest.raises(IndexError, match="there is no image 2; there are 2"):
        explanation.overlay("layer3", 2)


def made(count: int = 1, broken: bool = False) -> Explanation:
    """Frames of 8 x 6, grey; the map of ``top`` is 1 in the upper half, 0 below."""
    native = torch.tensor([[1.0], [0.0]]).expand(count, 2, 1)
    native = torch.full_like(native, torch.nan) if broken else native
    cam = Cam(native.repeat_interleave(4, 1).expand(count, 8, 6), native, torch.ones(count))
    logits = torch.tensor([[0.0, np.log(3.0), -30.0]]).float().expand(count, 3)
    frames = np.full((count, 8, 6, 3), 100, np.uint8)
    return Explanation(frames, logits, torch.zeros(count, dtype=torch.int64), {"<top>": cam}, LABELS, "net & co")


def test_an_overlay_by_hand() -> None:
    pixels = np.asarray(made().overlay("<top>", opacity=1.0))
    np.testing.assert_array_equal(pixels[0, 0], HEAT[255])
    np.testing.assert_array_equal(pixels[7, 5], HEAT[0])


def test_what_a_notebook_shows() -> None:
    page = made(2)._repr_html_()
    assert page.count("<img") == 4
    assert "<b>" not in page
    assert "bee (75%), map of &lt;b&gt;ant&lt;/b&gt;" in page
    assert "&lt;top&gt;" in page
    assert "net &amp; co" in page
    for data in re.findall(r"data:image/jpeg;base64,([^\"]+)", page):
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (6, 8)
    assert not re.search(r"https?:|<script", page)


def test_many_are_cut() -> None:
    page = made(SHOWN + 3)._repr_html_()
    assert page.count("<img") == 2 * SHOWN
    assert "and 3 more" in page


def test_the_picture_has_a_row_for_each_image() -> None:
    picture = Image.open(io.BytesIO(made(2)._repr_png_()))
    assert picture.size == (2 * (6 + 4), 2 * (8 + 4))
    assert picture.getpixel((2, 2)) == (100, 100, 100)
    expected = made().overlay("<top>")
    assert picture.getpixel((10, 0)) == expected.getpixel((0, 0))


def test_a_map_that_is_not_finite_is_said() -> None:
    explanation = made(broken=True)
    assert "&lt;top&gt;: not finite" in explanation._repr_html_()
    with pytest.raises(DasExplainError, match="finite map"):
        explanation.overlay("<top>")


def test_a_repr_is_a_line() -> None:
    assert repr(made(2)) == "Explanation of 2 images, <top>, first: bee (75%), map of <b>ant</b>"
    assert repr(made()[0]).startswith("Explanation of 1 image, ")
