"""``--mask-value``, ``--instances``, ``--crowd``: which of the objects in the data's masks are R."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from das_explain.data import voc
from das_explain.data.assumptions import assume_of_masks
from das_explain.data.dataset import open_any, open_dataset
from das_explain.data.mask_options import MaskOptions
from das_explain.errors import UsageError
from tests.photos import HEIGHT, WIDTH, photo, store

DOG, CAT = 600, 100


def scene() -> np.ndarray:
    """A dog (1) of 600 pixels, a cat (2) of 10 x 10, void (255) between them."""
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[10:, :20], values[:10, 40:50], values[5, 20:40] = 1, 2, 255
    return values


@pytest.fixture
def data(tmp_path) -> Path:
    for name in ("dog/x.png", "Cat/y.png"):
        store(photo(), tmp_path / "photos" / name)
        (tmp_path / "masks" / name).parent.mkdir(parents=True)
        Image.fromarray(scene()).save(tmp_path / "masks" / name)
    return tmp_path


def opened(data: Path, *values: str | None, **options):
    objects = MaskOptions(*values, **options)
    return open_dataset(data / "photos", masks=data / "masks", objects=objects)


def areas(dataset) -> dict[str, int]:
    found = {each.name: dataset.read_mask(each, (WIDTH, HEIGHT)) for each in dataset.samples}
    return {name: 0 if region.mask is None else int(region.mask.sum()) for name, region in found.items()}


def told(dataset) -> list[str]:
    return assume_of_masks(dataset.samples, dataset.source)


def test_without_a_word_all_classes_are_the_object_and_that_is_told(data):
    dataset = opened(data)
    assert areas(dataset) == {"Cat/y.png": DOG + CAT, "dog/x.png": DOG + CAT}
    assert told(dataset) == [
        "2 masks, first that of Cat/y.png, with class numbers in which 255 is void (in colours #e0e0c0): no part of R; "
        "--mask-value takes it in",
        "2 masks, first that of Cat/y.png, with several class numbers or colours: all but the background is R; "
        "--mask-value says which of them is the photo's class, --instances largest takes one",
    ]


def test_what_a_soft_mask_leaves_out_is_told_by_its_value(data):
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[10:, :20], values[:10, 40:50] = 250, 100
    values[9, :20] = np.arange(20) * 12  # a soft edge
    for name in ("dog/x.png", "Cat/y.png"):
        Image.fromarray(values).save(data / "masks" / name)
    dataset = opened(data)
    assert areas(dataset) == {"Cat/y.png": 600 + 9, "dog/x.png": 600 + 9}  # 132 and above
    assert told(dataset) == [
        "2 masks, first that of Cat/y.png, with soft values (mattes, soft or resized edges): an object's pixel is one above "
        "half the mask's maximum",
        "2 masks, first that of Cat/y.png, with soft values and areas of one value that is not above half the maximum (100 in "
        "the first): no part of R; --mask-value says what the object is",
    ]
    region = dataset.read_mask(dataset.samples[0], (WIDTH, HEIGHT))
    assert region.detail["assumed"] == ["soft", "left out: 100"]
    assert areas(opened(data, "100")) == {"Cat/y.png": 100, "dog/x.png": 100}
    assert told(opened(data, "100")) == []


def test_another_name_for_a_class_of_vocs_palette_is_told(data):
    image = Image.fromarray(
        scene() * np.uint8(8), "P"
    )  # a dog of entry 8, VOC's cat, and a cat of 16, its potted plant
    image.putpalette([value for number in range(256) for value in voc.colour(number)])
    (data / "photos" / "dog").rename(data / "photos" / "tabby")
    (data / "masks" / "dog").rename(data / "masks" / "tabby")
    image.save(data / "masks" / "tabby" / "x.png")
    dataset = opened(data)
    assert areas(dataset)["tabby/x.png"] == DOG
    assert told(dataset)[-1] == (
        "1 mask, first that of tabby/x.png, in PASCAL VOC's palette, whose photo's label is another name for one of VOC's "
        "classes or a kind of it (cat in the first): R is that class by its number there; --mask-value says what else it is"
    )


def test_one_value_for_all(data):
    dataset = opened(data, "2")
    assert areas(dataset) == {"Cat/y.png": CAT, "dog/x.png": CAT}
    assert told(dataset) == []
    assert areas(opened(data, "1, 2")) == {"Cat/y.png": DOG + CAT, "dog/x.png": DOG + CAT}


def test_a_table_says_which_value_each_class_is(data):
    (data / "v.csv").write_text("label,value\nCAT,2\ndog,1\n")
    dataset = opened(data, str(data / "v.csv"))
    assert areas(dataset) == {"Cat/y.png": CAT, "dog/x.png": DOG}
    assert told(dataset) == []


def test_a_table_says_which_value_each_photo_has(data):
    (data / "v.csv").write_text("image,value\ndog/x.png,1\ndog/x.png,2\nCat/y.png,#020202\n")
    assert areas(opened(data, str(data / "v.csv"))) == {"Cat/y.png": CAT, "dog/x.png": DOG + CAT}


def test_the_table_of_the_masks_may_say_their_values(data):
    rows = ["image,mask,value", "../photos/dog/x.png,dog/x.png,1", "../photos/Cat/y.png,Cat/y.png,2"]
    table = data / "masks" / "m.csv"
    table.write_text("\n".join(rows))
    dataset = open_dataset(data / "photos", masks=table, objects=MaskOptions(str(table)))
    assert areas(dataset) == {"Cat/y.png": CAT, "dog/x.png": DOG}


def test_cvats_label_map_says_which_colour_each_class_is(data):
    (data / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndog:128,0,0::\ncat:0,128,0::\n"
    )
    palette = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0), *[(7, 7, 7)] * 253], np.uint8)
    for name in ("dog/x.png", "Cat/y.png"):
        Image.fromarray(palette[scene()]).save(data / "masks" / name)
    assert areas(opened(data, str(data / "labelmap.txt"))) == {"Cat/y.png": CAT, "dog/x.png": DOG}


def test_classes_that_a_table_leaves_out_are_told(data):
    (data / "v.csv").write_text("label,value\ndog,1\n")
    dataset = opened(data, str(data / "v.csv"))
    assert areas(dataset) == {"Cat/y.png": DOG + CAT, "dog/x.png": DOG}
    assert told(dataset)[-1] == "1 photo, first Cat/y.png, not named in --mask-value: read without it"


def test_a_value_that_a_mask_lacks_is_no_object(data):
    dataset = opened(data, "7")
    region = dataset.read_mask(dataset.samples[0], (WIDTH, HEIGHT))
    assert (region.mask, region.status) == (None, "no_object")
    assert region.detail["message"] == "the mask has no value 7; it has 0, 1, 2, 255"


def test_the_largest_instance(data):
    dataset = opened(data, instances="largest")
    assert areas(dataset) == {"Cat/y.png": DOG, "dog/x.png": DOG}
    assert told(dataset)[0].startswith("2 masks, first that of Cat/y.png, with class numbers in which 255 is void")


def test_what_changes_r_changes_the_fingerprint(data):
    (data / "v.csv").write_text("label,value\ncat,2\ndog,1\n")
    options = [(), ("1",), ("2",), (str(data / "v.csv"),), (None, "largest")]
    assert len({opened(data, *each).fingerprint for each in options}) == len(options)
    (data / "w.csv").write_text("label,value\ndog,1\nCat,2\n")  # says the same
    assert opened(data, str(data / "w.csv")).fingerprint == opened(data, str(data / "v.csv")).fingerprint


def test_photos_named_one_by_one_take_the_options_too(data):
    dataset = open_any([str(data / "photos/dog/x.png")], masks=data / "masks", objects=MaskOptions("1"))
    assert areas(dataset) == {"x.png": DOG}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,mask\nx,1\n", "line 2: no value; it is a number"),
        ("label,value\ndog,\n", "line 2: no value"),
        ("class,value\ndog,1\n", "no column image or label .*; expected image,value or label,value"),
        ("label,value\n,1\n", "line 2: the image or label cell is empty"),
        ("label,value\nzebra,1\n", "has values for zebra, and none for the data's"),
    ],
)
def test_a_table_of_values_that_cannot_be_used(data, text, message):
    (data / "v.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        opened(data, str(data / "v.csv"))


def test_other_mistakes_are_one_line(data):
    with pytest.raises(UsageError, match=r"no such CSV: .*none\.csv"):
        opened(data, str(data / "none.csv"))
    for text, message in [("cat:300,0,0::\n", "line 1: a label map has lines"), ("cat:::\n", "names no colours")]:
        (data / "labelmap.txt").write_text(text)
        with pytest.raises(UsageError, match=message):
            opened(data, str(data / "labelmap.txt"))
    with pytest.raises(UsageError, match="--instances is all or largest, not 'one'"):
        opened(data, instances="one")
    with pytest.raises(UsageError, match="--crowd goes with --masks FILE.json"):
        opened(data, crowd=True)
    with pytest.raises(UsageError, match=r"--mask-value 1 goes with masks in files"):
        open_dataset("collage:2", objects=MaskOptions("1"))
    with pytest.raises(UsageError, match=r"--instances largest goes with masks in files"):
        open_dataset(data / "photos", objects=MaskOptions(instances="largest"))
