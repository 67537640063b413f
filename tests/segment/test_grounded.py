"""From photo to R by Grounding DINO and SAM as transformers has them: small networks of the true classes, in folders."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from das_explain.errors import UsageError
from das_explain.segment.finders.detect import HubDetector, detections, pad
from das_explain.segment.finders.options import FinderOptions
from das_explain.segment.finders.sam import HubSam
from tests.segment.networks import QUERIES, sample, scene

CPU = torch.device("cpu")


def test_channels_are_red_green_blue(nets, make):
    photo = scene(200, 120)
    detector = make().detector
    seen, turned = detector.detect([photo, Image.fromarray(np.asarray(photo)[..., ::-1])], ["dog."] * 2)
    assert not np.allclose(seen.boxes[:5], turned.boxes[:5], atol=0.5)
    pixels = detector.processor.image_processor(photo, return_tensors="pt")["pixel_values"][0]
    shrunk = np.asarray(photo.resize((pixels.shape[2], pixels.shape[1]), Image.Resampling.BILINEAR)) / 255
    expected = (shrunk - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert np.mean(np.abs(pixels.permute(1, 2, 0).numpy() - expected)) < 0.05


@pytest.mark.parametrize(
    ("size", "shape"), [((640, 480), (800, 1066)), ((480, 640), (1066, 800)), ((2000, 500), (333, 1333))]
)
def test_shorter_side_is_800_and_the_longer_at_most_1333(nets, size, shape):
    """Unless a smaller side is asked for: all by the same rule."""
    finder = FinderOptions(detector=str(nets.detector), sam=str(nets.sam), device="cpu").create("grounded-sam")
    assert finder.detector.frame(scene(*size)).shape == (3, *shape)
    finder.detector.side = 400
    smaller = finder.detector.frame(scene(*size)).shape[1:]
    assert np.abs(np.array(smaller) * 2 - shape).max() <= 2


def test_smaller_side_is_what_the_detector_sees(make, monkeypatch):
    seen = []
    look = HubDetector.look
    monkeypatch.setattr(HubDetector, "look", lambda *a: seen.append(tuple(a[1].shape)) or look(*a))
    finder = make()
    monkeypatch.setattr(finder.detector, "side", 64)
    region = finder.find([sample()], [scene(200, 120)])[0]
    assert seen == [(1, 3, 64, 106)]
    assert region.mask.shape == (120, 200)


def test_output_boxes_are_centre_and_size():
    logits = torch.tensor([[0.0, 3.0, -torch.inf], [0.0, 1.0, -torch.inf], [2.0, 2.0, -torch.inf], [9.0, 0.0, 0.0]])
    boxes = [[0.5, 0.25, 0.2, 0.1], [0.1, 0.9, 0.4, 0.4], [1.2, 0.5, 0.2, 0.2], [torch.nan, 0.5, 0.1, 0.1]]
    seen = detections(logits, torch.tensor(boxes), [101, 102], (200, 100))
    np.testing.assert_allclose(seen.boxes, [[80, 20, 120, 30], [0, 70, 60, 100]], atol=1e-4)  # clipped; not outside
    np.testing.assert_allclose(seen.scores, [1 / (1 + np.exp(-3)), 1 / (1 + np.exp(-1))], rtol=1e-5)


def test_long_photo_gets_a_canvas_with_enough_cells():
    pixels, mask = pad(torch.ones(1, 3, 24, 800), 900)
    assert mask.shape[1:] == pixels.shape[2:]
    assert pixels.shape[3] == 800
    assert sum(-(-pixels.shape[2] // s) * -(-800 // s) for s in (8, 16, 32, 64)) >= 900
    assert int(mask.sum()) == 24 * 800 == int(pixels[0, 0].sum())
    same, mask = pad(torch.ones(1, 3, 800, 1066), 900)
    assert same.shape == (1, 3, 800, 1066)
    assert mask.all()


@pytest.mark.parametrize("size", [(900, 20), (20, 900), (1, 400), (1, 1)])
def test_long_photo_is_searched(make, size):
    seen = make().detector.detect([scene(*size)], ["dog."])[0]
    assert 0 < len(seen.scores) <= QUERIES
    assert (seen.boxes[:, 2:] <= size).all()


def test_what_is_asked(make):
    """Lower case, one phrase, a full stop: a bare string is not completed by the processor, a list is."""
    processor = make().detector.processor
    asked = processor.tokenizer(make().prompt(sample("Golden_Retriever, cat")))["input_ids"]
    assert asked == processor(text=[["Golden Retriever"]], images=scene(60, 50))["input_ids"][0]
    assert asked != processor.tokenizer("golden retriever")["input_ids"]
    assert make(template="a photo of a {label}").prompt(sample("crane, bird")) == "a photo of a crane."


def test_no_box_never_reaches_sam(make, monkeypatch):
    finder = make(box_threshold=0.9999)
    monkeypatch.setattr(HubSam, "segment", lambda *_: pytest.fail("SAM was called"))
    region = finder.find([sample()], [scene(200, 120)])[0]
    assert (region.mask, region.status) == (None, "no_object")
    assert "scores above 0.9999; the best scores 0." in region.detail["message"]
    assert region.detail["boxes"] == region.detail["used"] == []


def test_retry_is_the_lower_threshold_and_recorded(make):
    photo = scene(200, 120)
    plain, retried = (
        make(box_threshold=high, retry_threshold=low).find([sample()], [photo])[0]
        for high, low in ((0.5, None), (0.9999, 0.5))
    )
    assert (plain.detail["retried"], retried.detail["retried"]) == (False, True)
    assert (plain.detail["threshold"], retried.detail["threshold"]) == (0.5, 0.5)
    assert retried.detail["boxes"] == plain.detail["boxes"]
    np.testing.assert_array_equal(retried.mask, plain.mask)
    assert not make(box_threshold=0.5, retry_threshold=0.1).find([sample()], [photo])[0].detail["retried"]


def test_best_union_and_minimum_area(make):
    photo = scene(200, 120)
    best, union = (make(choice=choice, box_threshold=0.8).find([sample()], [photo])[0] for choice in ("best", "union"))
    assert best.detail["used"] == [0]
    assert len(union.detail["used"]) == len(union.detail["boxes"]) > 1
    assert best.detail["boxes"] == union.detail["boxes"]
    assert union.mask[best.mask].all()
    areas = [(x1 - x0) * (y1 - y0) / (200 * 120) for x0, y0, x1, y1 in best.detail["boxes"]]
    limit = sum(sorted(areas)[-3:-1]) / 2  # two are larger
    large = make(choice="union", box_threshold=0.8, minimum_area=limit).find([sample()], [photo])[0]
    assert large.detail["used"] == [i for i, area in enumerate(areas) if area >= limit]
    none = make(box_threshold=0.8, minimum_area=max(areas) + 0.01).find([sample()], [photo])[0]
    assert none.status == "no_object"
    assert "covers" in none.detail["message"]


@pytest.mark.parametrize("name", ["grounded-sam", "grounded-sam2"])
def test_photo_is_encoded_once_and_the_single_mask_is_used(make, monkeypatch, name):
    finder = make(name, choice="union", box_threshold=0.8)
    calls = []
    encoder = finder.masker.network.vision_encoder
    handle = encoder.register_forward_hook(lambda *_: calls.append(1))
    region = finder.find([sample()], [scene(200, 120)])[0]
    handle.remove()
    boxes = len(region.detail["used"])
    assert len(calls) == 1
    assert boxes > 1
    assert [len(three) for three in region.detail["alternatives"]] == [3] * boxes
    assert all(0 <= each["agreement"] <= 1 for three in region.detail["alternatives"] for each in three)
    assert set(region.detail["seconds"]) == {"detect", "encode", "decode"}
    assert len(region.detail["iou"]) == boxes


def test_what_r_would_be_with_other_boxes_is_kept_beside_it(make):
    photo = scene(200, 120)
    every = make(choice="union", box_threshold=0.8).find([sample()], [photo])[0].detail["boxes"]
    areas = sorted((x1 - x0) * (y1 - y0) / (200 * 120) for x0, y0, x1, y1 in every)
    few = {"box_threshold": 0.8, "minimum_area": sum(areas[-4:-2]) / 2}  # the three largest
    best = make(choice="best", **few).find([sample()], [photo])[0]
    union = make(choice="union", **few).find([sample()], [photo])[0]
    assert len(union.detail["used"]) in (2, 3)
    np.testing.assert_array_equal(union.alternatives.get("first box", union.mask), best.mask)
    np.testing.assert_array_equal(best.alternatives.get("all boxes", best.mask), union.mask)
    assert "all boxes" in best.alternatives
    assert "first box" in union.alternatives
    assert len(best.detail["iou"]) == len(best.detail["used"]) == 1


@pytest.mark.parametrize("name", ["grounded-sam", "grounded-sam2"])
def test_bf16_stays_close_and_the_weights_stay_32_bits(make, name):
    finder = make(name, precision="bf16")
    region = finder.find([sample()], [scene(200, 120)])[0]
    exact = make(name).find([sample()], [scene(200, 120)])[0]
    for network in (finder.detector.network, finder.masker.network):
        assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert region.detail["scores"] != exact.detail["scores"]
    assert region.detail["iou"] != exact.detail["iou"]
    assert region.status == "ok"
    ours, theirs = (np.array(each.detail["scores"][:5]) for each in (region, exact))
    np.testing.assert_allclose(ours, theirs, atol=0.03)
    assert finder.identity()["precision"] == "bf16"


def test_boxes_of_a_photo_decoded_smaller_are_in_its_own_pixels(make):
    photo = scene(200, 120)
    plain = make().find([sample()], [photo])[0]
    photo.info["full_size"] = (800, 480)
    scaled = make().find([sample()], [photo])[0]
    np.testing.assert_allclose(np.array(plain.detail["boxes"]) * 4, scaled.detail["boxes"], atol=0.03)
    np.testing.assert_array_equal(plain.mask, scaled.mask)


def test_identity_needs_no_network_and_follows_every_setting(nets, make, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "das_explain.segment.finders.detect.load_strictly", lambda *_: pytest.fail("a network was loaded")
    )
    table = tmp_path / "prompts.csv"
    table.write_text("label,prompt\ncrane,bird\n")
    known = {"detector": str(nets.detector), "sam": str(nets.sam)}
    settings = [
        {},
        {"side": 400},
        {"template": "a {label}"},
        {"overrides": table},
        {"box_threshold": 0.3},
        {"text_threshold": 0.2},
        {"retry_threshold": 0.1},
        {"choice": "union"},
        {"minimum_area": 0.1},
        {"precision": "bf16"},
    ]
    told = [
        json.dumps(FinderOptions(**known, **each).create("grounded-sam").identity(), sort_keys=True)
        for each in settings
    ]
    assert len(set(told)) == len(settings)
    copy = pickle.loads(pickle.dumps(FinderOptions(**known).create("grounded-sam")))
    assert json.dumps(copy.identity(), sort_keys=True) == told[0]


def test_pickled_finder_leaves_its_networks_behind(make):
    finder = make()
    assert "detector" in finder.__dict__
    assert len(pickle.dumps(finder)) < 10_000
    assert "detector" not in pickle.loads(pickle.dumps(finder)).__dict__


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"choice": "largest"}, "best or union"),
        ({"precision": "fp16"}, "fp32 or bf16"),
        ({"box_threshold": 1.5}, "between 0 and 1"),
        ({"retry_threshold": 0.4}, r"retry threshold \(0.4\) must lie below the box threshold \(0.35\)"),
        ({"minimum_area": -1.0}, "minimum area"),
        ({"template": "a {name}"}, "only {label}"),
        ({"device": "tpu0"}, "unknown device"),
        ({"batch": 0}, "at least one photo"),
    ],
)
def test_impossible_settings(nets, options, message):
    with pytest.raises(UsageError, match=message):
        FinderOptions(detector=str(nets.detector), sam=str(nets.sam), **options).create("grounded-sam")
