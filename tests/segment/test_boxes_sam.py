"""R by SAM in the boxes that the data brings: from its own CSV, ImageNet's, or PASCAL's XML."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from das_explain.data.boxes import attach_boxes
from das_explain.data.dataset import open_dataset
from das_explain.errors import UsageError
from das_explain.segment.finders.options import FinderOptions
from das_explain.segment.finders.sam import HubSam
from das_explain.types import Sample
from tests.segment.networks import scene


@pytest.fixture(scope="module")
def finder(nets):
    return FinderOptions(sam=str(nets.sam), device="cpu").create("boxes+sam")


def boxed(*boxes, size=(200, 120)) -> tuple[Sample, object]:
    return Sample("x", 0, boxes=boxes), scene(*size)


def test_union_of_what_sam_finds_in_each_box(finder):
    first, second = (20.0, 30.0, 90.0, 100.0), (120.0, 10.0, 190.0, 60.0)
    (one, photo), (two, _), (both, _) = boxed(first), boxed(second), boxed(first, second)
    a, b, c = finder.find([one, two, both], [photo] * 3)
    np.testing.assert_array_equal(c.mask, a.mask | b.mask)
    assert not np.array_equal(a.mask, b.mask)
    assert c.detail["boxes"] == [[*first], [*second]]
    assert c.detail["iou"] == [*a.detail["iou"], *b.detail["iou"]]
    assert (c.detail["used"], c.detail["scores"], c.detail["source"]) == ([0, 1], [], "boxes+sam")


def test_sams_three_masks_and_the_first_box_alone_are_kept_as_alternatives(finder):
    first, second = (20.0, 30.0, 90.0, 100.0), (120.0, 10.0, 190.0, 60.0)
    (one, photo), (two, _), (both, _) = boxed(first), boxed(second), boxed(first, second)
    a, b, c = finder.find([one, two, both], [photo] * 3)
    for region in (a, b, c):
        assert set(region.alternatives) <= {"sam 1", "sam 2", "sam 3", "first box"}
        for mask in region.alternatives.values():
            assert mask.shape == (120, 200)
            assert mask.any()
            assert (mask != region.mask).any()
    assert a.alternatives
    assert "first box" not in a.alternatives
    np.testing.assert_array_equal(c.alternatives["first box"], a.mask)
    nothing = np.zeros((120, 200), bool)
    for name in ("sam 1", "sam 2", "sam 3"):
        of_each = [region.alternatives.get(name, nothing) for region in (a, b)]
        np.testing.assert_array_equal(c.alternatives.get(name, nothing), of_each[0] | of_each[1])


def test_other_boxes_are_another_prompt(finder):
    (one, _), (two, _), (none, _) = boxed((1, 2, 3, 4)), boxed((1, 2, 3, 4.5)), boxed()
    assert [finder.prompt(each) for each in (one, two, none)] == ["1 2 3 4", "1 2 3 4.5", ""]


def test_no_box_and_boxes_outside_never_reach_sam(finder, monkeypatch):
    monkeypatch.setattr(HubSam, "segment", lambda *_: pytest.fail("SAM was called"))
    (none, photo), (outside, _) = boxed(), boxed((200, 10, 250, 20), (5, 130, 10, 140))
    regions = finder.find([none, outside], [photo, photo])
    assert [region.status for region in regions] == ["no_mask", "mask_mismatch"]
    assert regions[1].detail["message"] == "no box meets the photo of 200 x 120"


def test_boxes_are_clipped_and_follow_a_photo_decoded_smaller(finder, monkeypatch):
    asked = []
    monkeypatch.setattr(
        HubSam,
        "segment",
        lambda self, images, boxes, used: (
            asked.extend(boxes)
            or [SimpleNamespace(mask=np.ones((120, 200), bool), iou=[1.0], alternatives=[], seconds={}, others={})]
        ),
    )
    sample, photo = boxed((-40, 80, 400, 999), (900, 0, 950, 9))
    photo.info["full_size"] = (800, 480)
    region = finder.find([sample], [photo])[0]
    np.testing.assert_allclose(asked[0], [[0, 20, 100, 120]])
    assert region.detail["used"] == [0]


def test_data_without_boxes_or_in_fractions(nets, tmp_path):
    scene(60, 40).save(tmp_path / "x.png")
    with pytest.raises(UsageError, match="no rectangles for boxes"):
        FinderOptions(sam=str(nets.sam)).create("boxes+sam", open_dataset(tmp_path))
    (tmp_path / "list.csv").write_text("image,boxes\nx.png,0.1 0.2 0.5 1\n")
    with pytest.raises(UsageError, match="fractions"):
        FinderOptions(sam=str(nets.sam)).create("boxes+sam", open_dataset(tmp_path / "list.csv"))
    with pytest.raises(UsageError, match="--detector goes with"):
        FinderOptions(sam=str(nets.sam), detector=str(nets.detector)).create("boxes+sam")


def test_sam2_is_taken_as_well(nets):
    finder = FinderOptions(sam=str(nets.sam2), device="cpu").create("boxes+sam")
    sample, photo = boxed((20, 30, 90, 100))
    assert finder.find([sample], [photo])[0].mask.shape == (120, 200)


# ---- boxes in files of their own

SAMPLES = [
    Sample("val/ILSVRC2012_val_00000001.JPEG", 0, "tench"),
    Sample("val/ILSVRC2012_val_00000002.JPEG", 1, "n01443537"),
    Sample("val/c.jpg", 2, "cat"),
]


def test_imagenet_csv(tmp_path):
    path = tmp_path / "LOC_val_solution.csv"
    path.write_text(
        "ImageId,PredictionString\n"
        "ILSVRC2012_val_00000002,n01440764 0 1 99 80 n01443537 5 6 70 80 \n"
        "ILSVRC2012_val_00000001,n01440764 10 20 30 40 n01440764 1 2 3 4 \n"
    )
    first, second, third = attach_boxes(SAMPLES, path)
    assert first.boxes == ((10, 20, 30, 40), (1, 2, 3, 4))
    assert second.boxes == ((5, 6, 70, 80),)  # of the labelled class
    assert third.boxes == ()
    path.write_text("ImageId,PredictionString\nx,n01 1 2 3\n")
    with pytest.raises(UsageError, match="line 2: ImageId and groups"):
        attach_boxes(SAMPLES, path)


XML = """<annotation><folder>VOC2007</folder><filename>c.jpg</filename>
<source><database>{database}</database></source><size><width>500</width><height>375</height><depth>3</depth></size>
<object><name>dog</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>
<object><name>cat</name><bndbox><ymin>20</ymin><xmin>100</xmin><xmax>500</xmax><ymax>375</ymax></bndbox></object>
</annotation>"""


@pytest.mark.parametrize(
    ("database", "box"),
    [("The VOC2007 Database", (99, 19, 500, 375)), ("ILSVRC_2012", (100, 20, 500, 375))],  # counted from 1; from 0
)
def test_pascal_xml(tmp_path, database, box):
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "c.xml").write_text(XML.format(database=database))
    for path in (tmp_path / "Annotations", tmp_path / "Annotations" / "c.xml"):
        assert [sample.boxes for sample in attach_boxes(SAMPLES, path)] == [(), (), (box,)]
    nameless = attach_boxes([Sample("c.png", 0, "zebra")], tmp_path / "Annotations")[0]
    assert len(nameless.boxes) == 2


def test_plain_csv(tmp_path):
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\nval/c.jpg,1,2,3,4\nval/c.jpg,5,6,7,8\n")
    assert attach_boxes(SAMPLES, tmp_path / "boxes.csv")[2].boxes == ((1, 2, 3, 4), (5, 6, 7, 8))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (XML.replace("<xmax>30", "<xmax>0"), "is empty"),
        (XML.replace("<xmin>1<", "<xmin>one<"), "four numbers"),
        (XML.replace("annotation>", "page>"), "not a PASCAL VOC file"),
        (XML[:200], "is not XML"),
        ('<!DOCTYPE a [<!ENTITY x "y">]>' + XML, "entities"),
        (('<!DOCTYPE a [<!ENTITY x "y">]>' + XML).encode("utf-16"), "entities"),
        *(
            (f'<?xml version="1.0" encoding="{name}"?><annotation/>', "is not XML")
            for name in ("x-evil", "hex", "undefined", "shift_jis", "idna")
        ),
    ],
)
def test_broken_xml(tmp_path, text, message):
    (tmp_path / "c.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=message):
        attach_boxes(SAMPLES, tmp_path / "c.xml")


def test_boxes_of_other_photos(tmp_path):
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\nother.jpg,1,2,3,4\n")
    with pytest.raises(UsageError, match="no box for any of the 3 images, such as val/ILSVRC"):
        attach_boxes(SAMPLES, tmp_path / "boxes.csv")
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\na/c.jpg,1,2,3,4\nb/c.jpg,1,2,3,4\n")
    with pytest.raises(UsageError, match="both fit val/c.jpg"):
        attach_boxes(SAMPLES, tmp_path / "boxes.csv")
