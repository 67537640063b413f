"""Which annotations of a COCO file are R, and what their shapes enclose: areas counted by hand on 60 x 40 pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from das_explain.data.assumptions import assume_of_masks
from das_explain.data.coco import rle
from das_explain.data.coco.file import match_category
from das_explain.data.dataset import open_dataset
from das_explain.data.mask_options import MaskOptions
from das_explain.errors import UsageError
from tests.photos import HEIGHT, WIDTH, photo, store


def square(x: int, y: int, side: int) -> list[int]:
    return [x, y, x + side, y, x + side, y + side, x, y + side]


def runs(x: int, y: int, side: int) -> dict:
    """The same as an uncompressed RLE, down the columns."""
    counts = [x * HEIGHT + y, *[side, HEIGHT - side] * (side - 1), side]
    return {"size": [HEIGHT, WIDTH], "counts": [*counts, HEIGHT * WIDTH - sum(counts)]}


def compressed(x: int, y: int, side: int) -> dict:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + side, x : x + side] = True
    return rle.encode(mask)


HYDRANT, PERSON = [square(0, 0, 20)], [square(30, 0, 10)]


class Case:
    """A photo in the folder ``label`` and a COCO file; ``shapes``: (category, segmentation, iscrowd)."""

    def __init__(self, folder: Path, label: str | None, categories: list[str], shapes: list[tuple], size=True) -> None:
        store(photo(), folder / "photos" / (label or "") / "x.jpg")
        self.folder = folder
        image = {"id": 7, "file_name": "x.jpg"} | ({"width": WIDTH, "height": HEIGHT} if size else {})
        annotations = [
            {"id": i, "image_id": 7, "category_id": categories.index(category), "segmentation": shape, "iscrowd": crowd}
            for i, (category, shape, crowd) in enumerate(shapes)
        ]
        numbered = [{"id": i, "name": name} for i, name in enumerate(categories)]
        (folder / "m.json").write_text(
            json.dumps({"images": [image], "annotations": annotations, "categories": numbered})
        )

    def open(self, *values: str | None, **options):
        return open_dataset(
            self.folder / "photos", masks=self.folder / "m.json", objects=MaskOptions(*values, **options)
        )

    def region(self, *values: str | None, **options):
        dataset = self.open(*values, **options)
        return dataset.read_mask(dataset.samples[0], (WIDTH, HEIGHT))

    def area(self, *values: str | None, **options) -> int:
        return int(self.region(*values, **options).mask.sum())

    def told(self, *values: str | None, **options) -> list[str]:
        dataset = self.open(*values, **options)
        return assume_of_masks(dataset.samples, dataset.source)


TWO = [("fire hydrant", HYDRANT, 0), ("person", PERSON, 0)]


@pytest.mark.parametrize(
    ("label", "loosely"),
    [("fire hydrant", False), ("fire_hydrant", True), ("Fire-Hydrant", True), ("hydrant, fire hydrant", True)],
)
def test_a_label_is_matched_to_its_category_as_labels_are(tmp_path, label, loosely):
    case = Case(tmp_path, label, ["fire hydrant", "person"], TWO)
    assert case.area() == 400  # without the person
    assert [each.startswith("1 photo, first ") and "without regard to case" in each for each in case.told()] == (
        [True] * loosely
    )


def test_categories_that_a_name_fits_once_and_twice():
    assert match_category("cafe\u0301", {1: "caf\u00e9", 2: "Cafe"}) == ({1}, False)  # NFC
    assert match_category("cat", {1: "cat", 2: "cat", 3: "Cat"}) == ({1, 2}, False)  # two of one name are both
    assert match_category("fire hydrant", {1: "fire_hydrant", 2: "Fire-Hydrant"}) == (set(), False)
    assert match_category("n02123045", {1: "Tabby cat", 2: "dog"}) == ({1}, False)  # ImageNet's id
    assert match_category("tabby", {1: "Tabby cat", 2: "dog"}) == ({1}, True)  # WordNet's synonym
    assert match_category("crane", {1: "crane, bird", 2: "crane, machine"}) == (set(), False)


def test_a_label_that_is_no_category_takes_all_and_that_is_told(tmp_path):
    case = Case(tmp_path, "plug", ["fire hydrant", "person"], TWO)
    assert case.area() == 500
    (told,) = case.told()
    assert told.startswith("1 photo, first plug/x.jpg, whose label is no category of the COCO file: all annotations")


def test_an_unlabelled_photo_with_several_categories_is_told(tmp_path):
    case = Case(tmp_path, None, ["fire hydrant", "person"], TWO)
    assert case.area() == 500
    (told,) = case.told()
    assert told.startswith("1 photo, first x.jpg, without a label and with annotations of several categories")
    assert Case(tmp_path / "one", None, ["fire hydrant"], TWO[:1]).told() == []


def test_a_value_says_which_category_is_r(tmp_path):
    case = Case(tmp_path, "plug", ["fire hydrant", "person"], TWO)
    assert (case.area("fire hydrant"), case.area("Person"), case.area("0"), case.area("0,1")) == (400, 100, 400, 500)
    assert case.told("0") == []
    (tmp_path / "v.csv").write_text("label,value\nplug,fire hydrant\n")
    assert case.area(str(tmp_path / "v.csv")) == 400
    assert len({case.open(value).fingerprint for value in (None, "0", "1")}) == 3
    with pytest.raises(UsageError, match="no category 'zebra'; it has fire hydrant, person"):
        case.open("zebra")


def test_one_instance_or_all(tmp_path):
    shapes = [("cat", [square(0, 0, 5)], 0), ("cat", [square(10, 10, 9)], 0), ("dog", [square(30, 0, 30)], 0)]
    case = Case(tmp_path, "cat", ["cat", "dog"], shapes)
    assert (case.area(), case.area(instances="largest")) == (25 + 81, 81)
    assert case.open().fingerprint != case.open(instances="largest").fingerprint


def test_crowd_regions_are_left_out_unless_asked_for(tmp_path):
    shapes = [("cat", [square(0, 0, 5)], 0), ("cat", runs(20, 0, 20), 1)]
    case = Case(tmp_path, "cat", ["cat"], shapes)
    assert (case.area(), case.area(crowd=True)) == (25, 425)
    (told,) = case.told()
    assert told.startswith("1 photo, first cat/x.jpg, with crowd regions (iscrowd)")
    assert case.told(crowd=True) == []
    assert case.open().fingerprint != case.open(crowd=True).fingerprint
    alone = Case(tmp_path / "alone", "cat", ["cat"], shapes[1:])
    assert alone.region().status == "no_object"
    assert "--crowd takes them in" in alone.region().detail["message"]
    assert alone.area(crowd=True) == 400


@pytest.mark.parametrize(
    "broken",
    [
        [[1, 2, 3, 4]],
        [[0, 0, 9, 9, 0]],
        [["a"] * 6],
        [],
        None,
        [[5, 5, 5, 5, 5, 5]],
        [[0, 0, 9, 9, 18, 18]],
        [{}],
        [None],
        "text",
        {"size": [HEIGHT, WIDTH], "counts": [1]},
        {"size": [3, 4], "counts": [12]},
        {},
    ],
)
@pytest.mark.parametrize("size", [True, False])
def test_one_degenerate_shape_does_not_lose_the_photo(tmp_path, broken, size):
    shapes = [("cat", [square(0, 0, 5)], 0), ("cat", broken, 0), ("cat", [square(10, 0, 5)], 0)]
    case = Case(tmp_path, "cat", ["cat"], shapes, size)
    assert case.area() == 50
    (told,) = case.told()
    assert told.startswith("1 photo, first cat/x.jpg, with shapes in the COCO file that enclose nothing")


def test_one_degenerate_outline_of_an_object_does_not_lose_the_others(tmp_path):
    case = Case(tmp_path, "cat", ["cat"], [("cat", [[3, 3, 4, 4], square(0, 0, 5), square(10, 0, 5)], 0)])
    assert case.area() == 50
    assert len(case.told()) == 1


def test_a_photo_of_only_degenerate_shapes_says_so(tmp_path):
    assert Case(tmp_path / "a", "cat", ["cat"], [("cat", [[1, 2, 3, 4]], 0)]).region().status == "mask_unreadable"
    assert Case(tmp_path / "b", "cat", ["cat"], [("cat", [[5, 5, 5, 5, 5, 5]], 0)]).region().status == "no_object"


@pytest.mark.parametrize("shape", [lambda *at: [square(*at)], runs, compressed, lambda *at: [compressed(*at)]])
def test_polygons_and_rle_compressed_and_not_enclose_the_same(tmp_path, shape):
    region = Case(tmp_path, "cat", ["cat"], [("cat", shape(4, 6, 7), 0)]).region()
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[6:13, 4:11] = True
    np.testing.assert_array_equal(region.mask, expected)


OUTER, HOLE, ISLAND, APART = square(0, 0, 30), square(5, 5, 20), square(10, 10, 10), square(40, 0, 8)


@pytest.mark.parametrize("turned", [False, True])
def test_an_outline_inside_another_is_a_hole(tmp_path, turned):
    hole = [each for pair in reversed(list(zip(HOLE[::2], HOLE[1::2]))) for each in pair] if turned else HOLE
    case = Case(tmp_path, "cat", ["cat"], [("cat", [hole, OUTER], 0)])
    assert case.area() == 900 - 400
    (told,) = case.told()
    assert told.startswith("1 photo, first cat/x.jpg, with outlines within the outline of one object")


def test_holes_islands_and_parts(tmp_path):
    assert (
        Case(tmp_path / "a", "cat", ["cat"], [("cat", [OUTER, HOLE, ISLAND, APART], 0)]).area() == 900 - 400 + 100 + 64
    )
    assert Case(tmp_path / "b", "cat", ["cat"], [("cat", [OUTER, APART], 0)]).told() == []
    twice = Case(tmp_path / "c", "cat", ["cat"], [("cat", [OUTER, OUTER], 0)])  # the same again is no hole
    assert (twice.area(), twice.told()) == (900, [])
    crossing = Case(tmp_path / "d", "cat", ["cat"], [("cat", [square(0, 0, 10), square(5, 0, 10)], 0)])
    assert (crossing.area(), crossing.told()) == (150, [])
    others = Case(tmp_path / "e", "cat", ["cat"], [("cat", [OUTER], 0), ("cat", [HOLE], 0)])  # two objects have no hole
    assert (others.area(), others.told()) == (900, [])
