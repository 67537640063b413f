"""What annotation tools export, as ``docs/how-to/masks.md`` has it converted: an object of 20 x 30 pixels in a photo of 60 x 40.

Each file below is what the line in the guide wrote, shortened by entries that nothing reads.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from das_explain.data.dataset import open_dataset
from das_explain.data.mask_options import MaskOptions
from tests.photos import HEIGHT, WIDTH, object_mask, photo, store

CAT = [0, 10, 20, 10, 20, 40, 0, 40]

LABELME2COCO = {  # 0.2.6; the second shape is another class
    "images": [{"height": 40, "width": 60, "id": 1, "file_name": "photos/cat/x.jpg"}],
    "annotations": [
        {
            "iscrowd": 0,
            "image_id": 1,
            "bbox": [0.0, 10.0, 20.0, 30.0],
            "segmentation": [CAT],
            "category_id": 0,
            "id": 1,
        },
        {
            "iscrowd": 0,
            "image_id": 1,
            "bbox": [30.0, 0.0, 10.0, 10.0],
            "segmentation": [[30, 0, 40, 0, 40, 10, 30, 10]],
            "category_id": 1,
            "id": 2,
        },
    ],
    "categories": [{"id": 0, "name": "cat", "supercategory": "cat"}, {"id": 1, "name": "dog", "supercategory": "dog"}],
}
DATUMARO = {  # 1.13.12, of CVAT for images 1.1: a polygon, and two by two pixels of the brush
    "categories": [{"id": 1, "name": "cat", "supercategory": ""}],
    "images": [{"id": 1, "width": 60, "height": 40, "file_name": "x.jpg", "license": 0}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[float(each) for each in CAT]], "iscrowd": 0},
        {
            "id": 2,
            "image_id": 1,
            "category_id": 1,
            "segmentation": {"counts": [1200, 2, 38, 2, 1158], "size": [40, 60]},
            "iscrowd": 1,
        },
    ],
}
LABEL_STUDIO = {  # label-studio-sdk 2.1.2, -f COCO
    "images": [{"width": 60, "height": 40, "id": 0, "file_name": "/data/upload/1/0a1b2c3d-x.jpg"}],
    "categories": [{"id": 0, "name": "cat"}],
    "annotations": [
        {
            "id": 0,
            "image_id": 0,
            "category_id": 0,
            "segmentation": [[0.0, 10.0, 20.000000000000004, 10.0, 20.000000000000004, 40.0, 0.0, 40.0]],
            "ignore": 0,
            "iscrowd": 0,
        }
    ],
}
LABEL_STUDIO_BRUSH = {  # label-studio-sdk 2.1.2, -f BRUSH_TO_COCO
    "images": [
        {"id": 0, "file_name": "0a1b2c3d-x.jpg", "path": "/data/upload/1/0a1b2c3d-x.jpg", "width": 60, "height": 40}
    ],
    "annotations": [
        {
            "id": 0,
            "image_id": 0,
            "category_id": 1,
            "segmentation": [[0, 10, 0, 39, 19, 39, 19, 10]],
            "area": 551,
            "iscrowd": 0,
        }
    ],
    "categories": [{"id": 1, "name": "cat", "supercategory": "", "color": "#f0f6bf"}],
}


def region(tmp_path, exported: dict, **options):
    store(photo(), tmp_path / "photos" / "cat" / "x.jpg")
    (tmp_path / "exported.json").write_text(json.dumps(exported))
    dataset = open_dataset(tmp_path / "photos", masks=tmp_path / "exported.json", objects=MaskOptions(**options))
    return dataset.read_mask(dataset.samples[0], (WIDTH, HEIGHT))


@pytest.mark.parametrize("exported", [LABELME2COCO, DATUMARO, LABEL_STUDIO], ids=["labelme", "cvat", "label studio"])
def test_the_object_that_was_drawn_is_r(tmp_path, exported):
    np.testing.assert_array_equal(region(tmp_path, exported).mask, object_mask())


def test_what_cvats_brush_painted_comes_as_a_crowd(tmp_path):
    expected = object_mask()
    expected[:2, 30:32] = True
    np.testing.assert_array_equal(region(tmp_path, DATUMARO, crowd=True).mask, expected)


def test_label_studios_brush_loses_the_right_and_the_lower_edge(tmp_path):
    found = region(tmp_path, LABEL_STUDIO_BRUSH).mask
    np.testing.assert_array_equal(
        found, object_mask() & (np.indices((HEIGHT, WIDTH))[0] < 39) & (np.arange(WIDTH) < 19)
    )
    assert found.sum() == 551


def test_only_a_prefix_that_hides_a_photos_name_is_passed_over(tmp_path):
    store(photo(), tmp_path / "photos" / "cat" / "0a1b2c3d-x.jpg")
    store(photo(), tmp_path / "photos" / "cat" / "x.jpg")
    (tmp_path / "exported.json").write_text(json.dumps(LABEL_STUDIO))
    dataset = open_dataset(tmp_path / "photos", masks=tmp_path / "exported.json")
    assert {each.name: each.mask_path is not None for each in dataset.samples} == {
        "cat/0a1b2c3d-x.jpg": True,
        "cat/x.jpg": False,
    }
