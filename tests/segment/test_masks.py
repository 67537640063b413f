"""Region R from the data's masks and from rectangles, in the photo's upright frame."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from das_explain.commands.common import print_assumed
from das_explain.data import images as imageio
from das_explain.data.assumptions import Assumed, assume_of_masks
from das_explain.data.dataset import open_dataset
from das_explain.data.sources import find_unconfirmed_turns
from das_explain.errors import UsageError
from das_explain.explain.contestants import Contest
from das_explain.segment import SEGMENTERS, create_segmenter
from das_explain.segment.masks import assume_of_regions
from tests.photos import HEIGHT, STORED, WIDTH, object_mask, photo, store, store_mask


def region_of(folder, columns: str, row: str, name: str = "masks", index: int = 0):
    """The region of a CSV's row."""
    (folder / "list.csv").write_text(f"{columns}\n{row}\n")
    dataset = open_dataset(folder / "list.csv")
    segmenter = pickle.loads(pickle.dumps(create_segmenter(name, dataset)))
    sample = dataset.samples[index]
    return segmenter.region(sample, dataset.read(sample))


def masked(folder, mask, orientation: int = 1):
    store(photo(), folder / "x.jpg", orientation)
    if mask is not None:
        store_mask(mask, folder / "m.png")
    return region_of(folder, "image,mask", "x.jpg,m.png")


def test_registry():
    assert set(SEGMENTERS) >= {"masks", "boxes"}
    with pytest.raises(UsageError, match=r"no segmenter is called 'sam'; there are .*boxes.*masks"):
        create_segmenter("sam", None)
    with pytest.raises(UsageError, match="has no option prompt; it has none"):
        create_segmenter("masks", None, prompt="a cat")


def test_mask_of_the_upright_photo(tmp_path):
    region = masked(tmp_path, object_mask())
    assert region.status == "ok"
    assert region.mask.dtype == bool
    np.testing.assert_array_equal(region.mask, object_mask())


@pytest.mark.parametrize("orientation", STORED)
def test_exif_turned_photo_with_an_upright_mask(tmp_path, orientation):
    region = masked(tmp_path, object_mask(), orientation)
    np.testing.assert_array_equal(region.mask, object_mask())


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_mask_drawn_on_the_stored_pixels_is_turned_along(tmp_path, orientation):
    stored = np.asarray(Image.fromarray(object_mask()).transpose(STORED[orientation]))
    assert stored.shape == (WIDTH, HEIGHT)
    region = masked(tmp_path, stored, orientation)
    assert region.status == "ok"
    np.testing.assert_array_equal(region.mask, object_mask())


def test_mask_with_an_orientation_of_its_own(tmp_path):
    store(Image.fromarray(object_mask().astype(np.uint8) * 255), tmp_path / "m.png", 6)
    np.testing.assert_array_equal(masked(tmp_path, None, 6).mask, object_mask())


def test_orientation_that_the_size_of_the_mask_cannot_confirm(tmp_path, capsys):
    store_mask(object_mask(), tmp_path / "m.png")
    store_mask(object_mask(40, 40), tmp_path / "square.png")
    store(Image.fromarray(object_mask().astype(np.uint8) * 255), tmp_path / "tagged.png", 3)
    (tmp_path / "broken.jpg").write_bytes(b"<html>")
    rows = ["image,mask", "broken.jpg,m.png", "missing.jpg,m.png"]
    for orientation in range(1, 9):
        store(photo(), tmp_path / f"{orientation}.jpg", orientation)
        store(photo(40, 40), tmp_path / f"square{orientation}.jpg", orientation)
        rows += [f"{orientation}.jpg,m.png", f"square{orientation}.jpg,square.png"]
    store(photo(), tmp_path / "own.jpg", 3)
    store(photo(), tmp_path / "none.jpg", 3)
    (tmp_path / "list.csv").write_text("\n".join([*rows, "own.jpg,tagged.png", "none.jpg,"]))
    dataset = open_dataset(tmp_path / "list.csv")
    samples, segmenter = dataset.samples, create_segmenter("masks", dataset)
    guessed = {sample.name for sample in find_unconfirmed_turns(samples)}
    assert guessed == {*(f"{i}.jpg" for i in (2, 3, 4)), *(f"square{i}.jpg" for i in range(2, 9))}
    print_assumed(Contest([], {}), segmenter, samples)
    told = capsys.readouterr().out
    assert told.startswith("assumed     10 photos, first 2.jpg, with an EXIF orientation")
    assert told.count("\n") == 1
    print_assumed(Contest([], {}), segmenter, [sample for sample in samples if sample.name not in guessed])
    print_assumed(Contest([], {}), None, samples)
    assert capsys.readouterr().out == ""
    seen = Assumed()  # a run reads each photo once, and is told on the way
    for sample in samples:
        if sample.name not in ("broken.jpg", "missing.jpg"):
            notes = segmenter.region(sample, dataset.read(sample)).detail.get("assumed", [])
            assert notes == ["turned"] * (sample.name in guessed), sample.name
            seen.add(sample.name, notes)
    assert seen.sentences() == assume_of_masks(samples)
    assert assume_of_regions(segmenter, samples, unread=True) == []


def test_a_mask_stored_as_jpeg_is_an_assumption(tmp_path):
    store_mask(object_mask(), tmp_path / "m.jpg")
    store_mask(object_mask(), tmp_path / "n.png")
    for name in "ab":
        store(photo(), tmp_path / f"{name}.png")
    (tmp_path / "list.csv").write_text("image,mask\na.png,m.jpg\nb.png,n.png")
    (told,) = assume_of_masks(open_dataset(tmp_path / "list.csv").samples)
    assert told.startswith("1 mask, first that of a.png, stored as JPEG")


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_mask_of_another_size(tmp_path, orientation):
    region = masked(tmp_path, object_mask(WIDTH, HEIGHT + 1), orientation)
    assert (region.mask, region.status) == (None, "mask_mismatch")
    assert region.detail["message"] == "the mask has 60 x 41 pixels, its photo 60 x 40"


def test_transposed_mask_of_a_photo_that_is_not_turned(tmp_path):
    assert masked(tmp_path, object_mask().T).status == "mask_mismatch"


def test_empty_missing_and_broken_masks(tmp_path):
    assert masked(tmp_path, np.zeros((HEIGHT, WIDTH), bool)).status == "no_object"
    (tmp_path / "m.png").write_bytes(b"<html>")
    region = masked(tmp_path, None)
    assert (region.mask, region.status) == (None, "mask_unreadable")
    assert "a web page" in region.detail["message"]
    (tmp_path / "m.png").unlink()
    assert masked(tmp_path, None).status == "mask_unreadable"
    store(photo(), tmp_path / "y.jpg")
    assert region_of(tmp_path, "image,mask", "x.jpg,m.png\ny.jpg,", index=1).status == "no_mask"


def test_data_without_masks_or_boxes(tmp_path):
    store(photo(), tmp_path / "x.jpg")
    dataset = open_dataset(tmp_path)
    with pytest.raises(UsageError, match=r"has no masks: .*--masks DIR"):
        create_segmenter("masks", dataset)
    with pytest.raises(UsageError, match=r"has no rectangles: .*x0,y0,x1,y1"):
        create_segmenter("boxes", dataset)


def test_identity_is_json(tmp_path):
    store(photo(), tmp_path / "x.jpg")
    store_mask(object_mask(), tmp_path / "m.png")
    (tmp_path / "list.csv").write_text("image,mask,boxes\nx.jpg,m.png,1 2 3 4\n")
    dataset = open_dataset(tmp_path / "list.csv")
    identities = [json.loads(json.dumps(create_segmenter(name, dataset).identity())) for name in ("masks", "boxes")]
    assert [identity["name"] for identity in identities] == ["masks", "boxes"]


@pytest.fixture
def small_limit(monkeypatch):
    """A photo of 400 x 320 counts as gigantic and is decoded at 100 x 80."""
    monkeypatch.setattr(imageio, "MAX_PIXELS", 100 * 80 * 2)


def test_mask_of_a_gigantic_photo_shrinks_with_it(tmp_path, small_limit):
    store(photo(400, 320), tmp_path / "x.jpg")
    store_mask(object_mask(400, 320), tmp_path / "m.png")
    region = region_of(tmp_path, "image,mask", "x.jpg,m.png")
    np.testing.assert_array_equal(region.mask, object_mask(100, 80))


def test_boxes_of_a_gigantic_photo_shrink_with_it(tmp_path, small_limit):
    store(photo(400, 320), tmp_path / "x.jpg")
    region = region_of(tmp_path, "image,boxes", "x.jpg,0 80 132 320", "boxes")
    np.testing.assert_array_equal(region.mask, object_mask(100, 80))


# ---- rectangles


def boxed(folder, boxes: str):
    store(photo(), folder / "x.png")
    return region_of(folder, "image,boxes", f"x.png,{boxes}", "boxes")


def filled(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for x0, y0, x1, y1 in boxes:
        for y in range(y0, y1):
            for x in range(x0, x1):
                mask[y, x] = True
    return mask


@pytest.mark.parametrize(
    ("boxes", "pixels"),
    [
        ("3 5 20 9", [(3, 5, 20, 9)]),
        ("0 0 60 40", [(0, 0, 60, 40)]),
        ("3 5 20 9;18 7 30 39", [(3, 5, 20, 9), (18, 7, 30, 39)]),  # their union, and nothing between
        ("2.5 5.4 20.5 9.6", [(2, 5, 20, 10)]),  # a pixel belongs if its centre does
        ("-7 30 5 99", [(0, 30, 5, 40)]),  # clipped
        ("10.6 3.6 10.9 3.9", [(10, 3, 11, 4)]),  # thinner than a pixel: the pixel it lies in
        ("59.8 39.9 70 70", [(59, 39, 60, 40)]),
    ],
)
def test_boxes_fill_their_pixels(tmp_path, boxes, pixels):
    region = boxed(tmp_path, boxes)
    assert region.status == "ok"
    np.testing.assert_array_equal(region.mask, filled(*pixels))


def test_box_detail_and_no_boxes(tmp_path):
    assert boxed(tmp_path, "3 5 20 9").detail == {"boxes": [[3, 5, 20, 9]]}
    store(photo(), tmp_path / "y.png")
    region = region_of(tmp_path, "image,boxes", "x.png,3 5 20 9\ny.png,", "boxes", index=1)
    assert (region.mask, region.status) == (None, "no_mask")


def test_boxes_outside_the_photo(tmp_path):
    region = boxed(tmp_path, "60 5 70 9")
    assert (region.mask, region.status) == (None, "mask_mismatch")
    assert region.detail["message"] == "no box meets the photo of 60 x 40"


def test_boxes_in_fractions_are_refused(tmp_path):
    with pytest.raises(UsageError, match="fractions"):
        boxed(tmp_path, "0.1 0.2 0.5 1")
