"""The mirror image of a photo has the mirror image of R, through networks that are equivariant to the flip.

A box read as centre and size, a photo's height taken for its width, x for y, or a place off by one breaks it.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from das_explain.segment.finders.options import FinderOptions
from das_explain.types import Sample
from tests.segment import networks
from tests.segment.flips import flippable

# SAM pads a landscape photo below, a portrait one at the right: each can be flipped along its longer side. In frames
# of 128 pixels and a detector of 96 they need no resizing.
FLIPS = {
    "landscape": SimpleNamespace(axis=0, size=(128, 96), flip=Image.Transpose.FLIP_LEFT_RIGHT),
    "portrait": SimpleNamespace(axis=1, size=(96, 128), flip=Image.Transpose.FLIP_TOP_BOTTOM),
}


@pytest.fixture(scope="module", params=FLIPS)
def case(request, tmp_path_factory):
    """``photo`` and ``mirrored``, and ``finder(name)`` of networks that are equivariant to this flip."""
    flip = FLIPS[request.param]
    root = tmp_path_factory.mktemp("flips")
    options = {"num_feature_levels": 3, "position_embedding_type": "learned"}  # a fourth is off the grid by half a cell
    detector = flippable(networks.save_detector(root / "detector", **options), flip.axis)
    finders = {}

    def finder(name):
        if name not in finders:
            save = networks.save_sam2 if name == "grounded-sam2" else networks.save_sam
            sam = flippable(save(root / name), flip.axis)
            finders[name] = FinderOptions(detector=str(detector), sam=str(sam), side=96, device="cpu").create(name)
        return finders[name]

    photo = networks.scene(*flip.size)
    return SimpleNamespace(photo=photo, mirrored=photo.transpose(flip.flip), finder=finder, **vars(flip))


def mirror_boxes(boxes: np.ndarray, axis: int, last: float) -> np.ndarray:
    """xyxy boxes of the mirror image, where place p becomes ``last - p``."""
    mirrored = np.array(boxes, dtype=float)
    mirrored[:, [axis, axis + 2]] = last - mirrored[:, [axis + 2, axis]]
    return mirrored


def test_boxes_flip(case):
    """Exactly, in the continuous coordinates of the photo: edges lie at 0 and at its width."""
    detector = case.finder("grounded-sam").detector
    seen, mirrored = detector.detect([case.photo, case.mirrored], ["dog."] * 2)
    assert len(seen.scores) > 10
    np.testing.assert_allclose(mirrored.scores, seen.scores, atol=1e-4)
    np.testing.assert_allclose(mirrored.boxes, mirror_boxes(seen.boxes, case.axis, case.size[case.axis]), atol=0.01)
    centres = (seen.boxes[:, case.axis] + seen.boxes[:, case.axis + 2]) / 2 / case.size[case.axis]
    extents = (seen.boxes[:, 2:] - seen.boxes[:, :2]) / case.size
    assert np.abs(centres - 0.5).max() > 0.2  # off the middle, and neither square nor alike
    assert np.abs(extents[:, 0] - extents[:, 1]).max() > 0.02


@pytest.mark.parametrize("name", ["grounded-sam", "grounded-sam2"])
def test_masks_flip_with_their_boxes(case, name):
    """SAM takes a box's ends for pixels, the last of which is the width - 1: its mirror image is flipped about that."""
    masker = case.finder(name).masker
    width, height = case.size
    boxes = np.array([[0.1, 0.2, 0.45, 0.9], [0.5, 0.05, 0.95, 0.6]]) * [width, height, width, height]
    last = case.size[case.axis] * (1 - 1 / 128)  # SAM 2 stretches the photo to its frame: pixels of that
    for box in boxes:
        mirrored = mirror_boxes(box[None], case.axis, last)
        found = masker.segment([case.photo, case.mirrored, case.photo], [box[None], mirrored, mirrored])
        mask, other, stayed = (each.mask for each in found)
        assert mask.shape == (height, width)
        assert np.mean(np.flip(other, 1 - case.axis) == mask) > 0.9995
        np.testing.assert_allclose(found[0].iou, found[1].iou, atol=1e-3)
        assert np.mean(np.flip(mask, 1 - case.axis) != mask) > 0.05
        assert np.mean(stayed != mask) > 0.01  # it is not the photo alone that decides


@pytest.mark.parametrize("name", ["grounded-sam", "grounded-sam2"])
def test_r_flips(case, name):
    """From photo to R. SAM's pixel is made up for: its mirror image of the mirrored box lies one further down."""
    finder = case.finder(name)
    sample = Sample("x", 0, "dog")
    region, mirrored = finder.find([sample] * 2, [case.photo, case.mirrored])
    assert region.status == mirrored.status == "ok"
    boxes = mirror_boxes(np.array(region.detail["boxes"]), case.axis, case.size[case.axis])
    np.testing.assert_allclose(mirrored.detail["boxes"], boxes, atol=0.02)
    np.testing.assert_allclose(mirrored.detail["scores"], region.detail["scores"], atol=2e-4)
    seen = finder.detector.detect([case.photo], ["dog."])[0].boxes[:1]
    seen[:, [case.axis, case.axis + 2]] -= case.size[case.axis] / 128
    expected = finder.masker.segment([case.photo], [seen])[0].mask
    assert np.mean(np.flip(mirrored.mask, 1 - case.axis) == expected) > 0.999
    assert np.mean(mirrored.mask == region.mask) < 0.95
