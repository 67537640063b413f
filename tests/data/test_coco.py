"""COCO's shapes against pycocotools, and masks that come back from a COCO file."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.ndimage import binary_fill_holes

from das_explain.data.coco import rle
from das_explain.data.coco.write import annotation
from das_explain.data.dataset import open_dataset
from das_explain.errors import DasExplainError, UsageError
from das_explain.segment import create_segmenter
from tests.photos import HEIGHT, STORED, WIDTH, object_mask, photo, store, store_mask

coco_mask = pytest.importorskip("pycocotools.mask")

MASKS = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(lambda shape: arrays(bool, shape))


@given(MASKS)
@settings(max_examples=150, deadline=None)
def test_rle_is_that_of_pycocotools(mask):
    encoded = rle.encode(mask)
    theirs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert (encoded["size"], encoded["counts"]) == (theirs["size"], theirs["counts"].decode())
    np.testing.assert_array_equal(rle.decode(encoded), mask)


@given(MASKS)
@settings(max_examples=150, deadline=None)
def test_outlines_give_the_mask_back_here_and_in_pycocotools(mask):
    rings, holes = rle.rings(mask)
    filled = binary_fill_holes(mask, structure=np.ones((3, 3)))
    assert holes == bool((filled != mask).any())
    height, width = mask.shape
    if not holes:
        np.testing.assert_array_equal(rle.fill(rings, (width, height)), mask)
        if rings:
            theirs = coco_mask.merge(coco_mask.frPyObjects(rings, height, width))
            np.testing.assert_array_equal(coco_mask.decode(theirs).astype(bool), mask)


def test_hand_made_shapes():
    mask = np.zeros((3, 4), bool)
    mask[1:, 1:3] = True
    assert rle.encode(mask) == {"size": [3, 4], "counts": "42102"}
    np.testing.assert_array_equal(rle.decode({"size": [3, 4], "counts": [4, 2, 1, 2, 3]}), mask)  # down the columns
    assert rle.rings(mask) == ([[1, 1, 3, 1, 3, 3, 1, 3]], False)
    np.testing.assert_array_equal(rle.fill([[1, 1, 3, 1, 3, 3, 1, 3]], (4, 3)), mask)
    assert annotation(mask) == {
        "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]],
        "area": 4,
        "bbox": [1, 1, 2, 2],
        "iscrowd": 0,
    }


def test_polygons_of_a_hand_belong_by_pixel_centres():
    triangle = rle.fill([[0, 0, 6, 0, 0, 6]], (7, 7))
    y, x = np.mgrid[:7, :7] + 0.5
    np.testing.assert_array_equal(triangle, x + y < 6)
    rng = np.random.default_rng(0)
    angles = np.sort(rng.random(40)) * 2 * np.pi
    points = np.stack([40 + 33 * np.cos(angles), 30 + 22 * np.sin(angles)], 1).ravel().tolist()
    ours = rle.fill([points], (80, 60))
    theirs = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([points], 60, 80))).astype(bool)
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.97
    outside = rle.fill([[-50, -50, 3, -50, 3, 2, -50, 2]], (5, 4))  # reaches out of the photo
    assert outside.sum() == 3 * 2
    assert outside[:2, :3].all()


@pytest.mark.parametrize(
    "broken",
    [
        {"size": [3, 4], "counts": [4, 2]},
        {"size": [3, 4], "counts": [14, -2]},
        {"size": [3, 4], "counts": "\x01"},
        {"size": [3, 4], "counts": "PPPPPPPPPPPP"},
        {"size": [3, 4], "counts": None},
        {"size": [0, 4], "counts": []},
        {"size": [10**6, 10**6], "counts": [10**12]},
        {"counts": [12]},
        [],
    ],
)
def test_broken_rle_is_a_value_error(broken):
    with pytest.raises(ValueError, match=r"RLE|pixels"):
        rle.decode(broken)


@pytest.mark.parametrize(
    "ring", [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7], [0, 0, 1, 0, float("nan"), 1], ["a"] * 6, [[0, 0], [1, 1]]]
)
def test_broken_polygons_are_value_errors(ring):
    with pytest.raises(ValueError):  # noqa: PT011
        rle.fill([ring], (5, 5))


# ---- --masks FILE.json

OBJECT = [0.0, HEIGHT // 4, WIDTH // 3, HEIGHT // 4, WIDTH // 3, HEIGHT, 0, HEIGHT]


def coco_file(
    path: Path, images: list[str], shapes: list[tuple], categories=("cat", "dog"), size=(WIDTH, HEIGHT)
) -> Path:
    """``shapes``: (image number, category number, segmentation)."""
    path.write_text(
        json.dumps(
            {
                "images": [
                    {"id": 100 + i, "file_name": name, "width": size[0], "height": size[1]}
                    for i, name in enumerate(images)
                ],
                "annotations": [
                    {"id": i, "image_id": 100 + image, "category_id": category, "segmentation": shape}
                    for i, (image, category, shape) in enumerate(shapes)
                ],
                "categories": [{"id": i, "name": name} for i, name in enumerate(categories)],
            }
        )
    )
    return path


@pytest.fixture
def photos(tmp_path) -> Path:
    for name in ("cat/x.jpg", "dog/x.jpg", "dog/y.jpg"):
        store(photo(), tmp_path / "photos" / name)
    return tmp_path / "photos"


def regions(dataset) -> dict:
    segmenter = pickle.loads(pickle.dumps(create_segmenter("masks", dataset)))
    return {sample.name: segmenter.region(sample, dataset.read(sample)) for sample in dataset.samples}


@pytest.mark.parametrize("kind", ["polygon", "rle", "uncompressed"])
def test_masks_from_a_coco_file(photos, tmp_path, kind):
    runs = [HEIGHT // 4, HEIGHT - HEIGHT // 4] * (WIDTH // 3) + [HEIGHT * (WIDTH - WIDTH // 3)]
    shape = {
        "polygon": [OBJECT],
        "rle": rle.encode(object_mask()),
        "uncompressed": {"size": [HEIGHT, WIDTH], "counts": runs},
    }[kind]
    file = coco_file(tmp_path / "m.json", ["cat/x.jpg", "dog/x.jpg"], [(0, 0, shape), (0, 1, [[0, 0, 9, 0, 9, 9]])])
    found = regions(open_dataset(photos, masks=file))
    np.testing.assert_array_equal(found["cat/x.jpg"].mask, object_mask())  # the dog on the cat's photo is not R
    assert found["dog/x.jpg"].status == "no_object"
    assert found["dog/y.jpg"].status == "no_mask"


def test_parts_are_united_and_names_may_lack_folders(photos, tmp_path):
    (photos / "cat" / "x.jpg").unlink()
    halves = [[0, 10, 7, 10, 7, 40, 0, 40]], [[7, 10, 20, 10, 20, 40, 7, 40]]
    file = coco_file(
        tmp_path / "m.json", ["x.png", "y.jpg"], [(0, 0, halves[0]), (0, 0, halves[1])], categories=("thing",)
    )
    found = regions(open_dataset(photos, masks=file))
    np.testing.assert_array_equal(found["dog/x.jpg"].mask, object_mask())


def test_a_turned_photo_whose_tool_ignored_its_exif(tmp_path):
    store(photo(), tmp_path / "photos" / "cat" / "x.jpg", 6)
    stored = np.asarray(Image.fromarray(object_mask()).transpose(STORED[6]))
    file = coco_file(tmp_path / "m.json", ["cat/x.jpg"], [(0, 0, rle.encode(stored))], size=(HEIGHT, WIDTH))
    np.testing.assert_array_equal(
        regions(open_dataset(tmp_path / "photos", masks=file))["cat/x.jpg"].mask, object_mask()
    )


def test_a_broken_shape_is_a_status_of_its_image(photos, tmp_path):
    shapes = [(0, 0, {"size": [3, 3], "counts": "?"}), (1, 1, []), (2, 1, [OBJECT])]
    file = coco_file(tmp_path / "m.json", ["cat/x.jpg", "dog/x.jpg", "dog/y.jpg"], shapes)
    found = regions(open_dataset(photos, masks=file))
    assert [region.status for region in found.values()] == ["mask_unreadable", "mask_unreadable", "ok"]
    assert "only a box" in found["dog/x.jpg"].detail["message"]
    file = coco_file(tmp_path / "m.json", ["cat/x.jpg"], [(0, 0, [OBJECT])], size=(WIDTH + 1, HEIGHT))
    assert regions(open_dataset(photos, masks=file))["cat/x.jpg"].status == "mask_mismatch"


def test_the_fingerprint_follows_the_annotations(photos, tmp_path):
    prints = set()
    for edge in (39, 40):
        shape = [[0, 10, 20, 10, 20, edge, 0, edge]]
        prints.add(
            open_dataset(photos, masks=coco_file(tmp_path / "m.json", ["cat/x.jpg"], [(0, 0, shape)])).fingerprint
        )
    assert len(prints) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "needs the lists images and annotations"),
        ('{"images": [{"id": 1}, {"id": 1}], "annotations": []}', "the same id"),
        ('{"images": [{"id": 1, "file_name": "cat/x.jpg"}], "annotations": [{"image_id": 2}]}', "not listed"),
        ('{"images": [{"id": 1, "file_name": "z.jpg"}], "annotations": []}', "has no mask for any of the 3 images"),
        ('{"images": [{"file_name": "z.jpg"}], "annotations": []}', "lacks a usable 'id'"),
        ('{"images": [{"id": 1, "file_name": "x.jpg"}], "annotations": []}', "fits both cat/x.jpg and dog/x.jpg"),
    ],
)
def test_a_file_that_is_no_coco_file(photos, tmp_path, text, message):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        open_dataset(photos, masks=tmp_path / "m.json")
    with pytest.raises(DasExplainError, match="cannot read"):
        open_dataset(photos, masks=tmp_path / "missing.json")


# ---- --masks FILE.csv


def test_masks_from_a_csv_by_path_or_by_name(photos, tmp_path):
    store_mask(object_mask(), tmp_path / "fixed" / "a.png")
    (tmp_path / "fixed" / "masks.csv").write_text("image,mask\n../photos/dog/x.jpg,a.png\n../photos/cat/x.jpg,\n")
    found = regions(open_dataset(photos, masks=tmp_path / "fixed" / "masks.csv"))
    assert {name: region.status for name, region in found.items()} == {
        "cat/x.jpg": "no_mask",
        "dog/x.jpg": "ok",
        "dog/y.jpg": "no_mask",
    }
    (tmp_path / "fixed" / "masks.csv").write_text("image,mask\nelsewhere/dog/y.jpg,a.png\n")
    found = regions(open_dataset(photos, masks=tmp_path / "fixed" / "masks.csv"))
    assert found["dog/y.jpg"].status == "ok"
    (tmp_path / "fixed" / "masks.csv").write_text("image,label\n../photos/dog/y.jpg,dog\n")
    with pytest.raises(UsageError, match="names no masks"):
        open_dataset(photos, masks=tmp_path / "fixed" / "masks.csv")
