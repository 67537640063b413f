"""From photo to R by Grounding DINO and SAM as transformers has them: small networks of the true classes, in folders.

The glue is held to transformers' own ``zero-shot-object-detection`` pipeline and SAM processing of the same folder.
"""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from das_explain.errors import UsageError
from das_explain.segment.detect import HubDetector, detections, padded
from das_explain.segment.finders import create_finder
from das_explain.segment.sam import HubSam
from das_explain.types import Sample
from tests.segment.networks import QUERIES, SIDE, scene

CPU = torch.device("cpu")
SIZES = {"portrait": (90, 150), "landscape": (200, 120), "tiny": (7, 5), "huge": (1300, 900), "long": (900, 20)}


def sample(label="golden_retriever, dog", boxes=()) -> Sample:
    return Sample("x.jpg", 0, label, boxes=boxes)


@pytest.fixture(scope="module")
def make(nets):
    """Finders of the small networks; the loaded networks are shared."""
    loaded = {}

    def make(name="grounded-sam", **options):
        sam = nets.sam2 if name == "grounded-sam2" else nets.sam
        finder = create_finder(name, detector=str(nets.detector), sam=str(sam), side=SIDE, device="cpu", **options)
        if options.get("precision", "fp32") == "fp32":
            parts = {"masker": (sam, lambda: finder.masker), "detector": (nets.detector, lambda: finder.detector)}
            for part, (folder, load) in parts.items():
                finder.__dict__[part] = loaded[folder] if folder in loaded else loaded.setdefault(folder, load())
        return finder

    return make


@pytest.fixture(scope="module")
def pipeline(nets):
    import transformers

    return transformers.pipeline("zero-shot-object-detection", model=str(nets.detector), device="cpu")


@pytest.mark.parametrize("shape", [shape for shape in SIZES if shape != "long"])
def test_boxes_are_those_of_the_pipeline(make, pipeline, shape):
    photo = scene(*SIZES[shape])
    theirs = pipeline(photo, candidate_labels=["golden retriever."], threshold=0.35)
    region = make().find([sample()], [photo])[0]
    ours = region.detail
    assert len(theirs) == len(ours["boxes"]) > 3
    np.testing.assert_allclose(ours["scores"], [each["score"] for each in theirs], atol=1e-4)
    expected = np.array([[each["box"][end] for end in ("xmin", "ymin", "xmax", "ymax")] for each in theirs])
    expected = expected.clip(0, [*photo.size, *photo.size])  # theirs are whole pixels, and may lie outside
    assert np.all(np.abs(np.array(ours["boxes"]) - expected) < 1.01)
    assert region.mask.shape == (photo.height, photo.width)
    assert (ours["prompt"], ours["used"], ours["retried"], region.status) == ("golden retriever.", [0], False, "ok")


def reference_mask(nets, name: str, photo: Image.Image, boxes: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Transformers' own way: all boxes in one call, no embeddings kept."""
    import transformers

    kind = "Sam2" if name == "grounded-sam2" else "Sam"
    folder = nets.sam2 if name == "grounded-sam2" else nets.sam
    network = getattr(transformers, f"{kind}Model").from_pretrained(folder).eval()
    processor = getattr(transformers, f"{kind}Processor").from_pretrained(folder)
    inputs = processor(images=photo, input_boxes=[boxes.tolist()], return_tensors="pt")
    with torch.no_grad():
        out = network(**{k: inputs[k] for k in ("pixel_values", "input_boxes")}, multimask_output=False)
    sizes = [inputs["original_sizes"], *([] if kind == "Sam2" else [inputs["reshaped_input_sizes"]])]
    masks = processor.post_process_masks(out.pred_masks, *sizes)[0]
    return masks[:, 0].any(0).numpy(), out.iou_scores[0, :, 0].tolist()


@pytest.mark.parametrize("name", ["grounded-sam", "grounded-sam2"])
@pytest.mark.parametrize("shape", SIZES)
def test_masks_are_those_of_the_processor(nets, make, name, shape):
    photo = scene(*SIZES[shape])
    threshold = 0.8 if shape == "long" else 0.93
    finder = make(name, choice="union", box_threshold=threshold)
    region = finder.find([sample()], [photo])[0]
    boxes = finder.detector.detect(photo, "golden retriever.").above(threshold).boxes
    mask, iou = reference_mask(nets, name, photo, boxes)
    assert region.detail["used"] == list(range(len(boxes)))
    assert len(boxes) > 1
    assert np.mean(region.mask == mask) >= 0.999
    np.testing.assert_allclose(region.detail["iou"], iou, atol=1e-4)


@pytest.mark.parametrize("name", ["grounded-sam", "grounded-sam2"])
def test_mask_depends_on_photo_and_box(make, name):
    """Else the tests above hold nothing to anything."""
    masker, photo = make(name).masker, scene(200, 120)
    wide, tall = (masker.segment(photo, np.array([box])).mask for box in ([10.0, 40, 190, 80], [80.0, 5, 120, 115]))
    swapped = masker.segment(photo, np.array([[40.0, 10, 80, 190]])).mask
    other = masker.segment(photo.transpose(Image.Transpose.ROTATE_180), np.array([[10.0, 40, 190, 80]])).mask
    for mask in (tall, swapped, other):
        assert 0.001 < np.mean(mask != wide) < 0.999


def test_channels_are_red_green_blue(nets, make):
    photo = scene(200, 120)
    detector = make().detector
    seen = detector.detect(photo, "dog.")
    turned = detector.detect(Image.fromarray(np.asarray(photo)[..., ::-1]), "dog.")
    assert not np.allclose(seen.boxes[:5], turned.boxes[:5], atol=0.5)
    pixels = detector.processor.image_processor(photo, return_tensors="pt")["pixel_values"][0]
    shrunk = np.asarray(photo.resize((pixels.shape[2], pixels.shape[1]), Image.Resampling.BILINEAR)) / 255
    expected = (shrunk - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert np.mean(np.abs(pixels.permute(1, 2, 0).numpy() - expected)) < 0.05


def test_output_boxes_are_centre_and_size():
    logits = torch.tensor([[0.0, 3.0, -torch.inf], [0.0, 1.0, -torch.inf], [2.0, 2.0, -torch.inf], [9.0, 0.0, 0.0]])
    boxes = [[0.5, 0.25, 0.2, 0.1], [0.1, 0.9, 0.4, 0.4], [1.2, 0.5, 0.2, 0.2], [torch.nan, 0.5, 0.1, 0.1]]
    seen = detections(logits, torch.tensor(boxes), [101, 102], (200, 100))
    np.testing.assert_allclose(seen.boxes, [[80, 20, 120, 30], [0, 70, 60, 100]], atol=1e-4)  # clipped; not outside
    np.testing.assert_allclose(seen.scores, [1 / (1 + np.exp(-3)), 1 / (1 + np.exp(-1))], rtol=1e-5)


def test_long_photo_gets_a_canvas_with_enough_cells():
    pixels, mask = padded(torch.ones(1, 3, 24, 800), 900)
    assert mask.shape[1:] == pixels.shape[2:]
    assert pixels.shape[3] == 800
    assert sum(-(-pixels.shape[2] // s) * -(-800 // s) for s in (8, 16, 32, 64)) >= 900
    assert int(mask.sum()) == 24 * 800 == int(pixels[0, 0].sum())
    same, mask = padded(torch.ones(1, 3, 800, 1066), 900)
    assert same.shape == (1, 3, 800, 1066)
    assert mask.all()


@pytest.mark.parametrize("size", [(900, 20), (20, 900), (1, 400), (1, 1)])
def test_long_photo_is_searched(make, size):
    seen = make().detector.detect(scene(*size), "dog.")
    assert 0 < len(seen.scores) <= QUERIES
    assert (seen.boxes[:, 2:] <= size).all()


def test_what_is_asked(make, pipeline):
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
    plain, retried = (make(box_threshold=high, retry_threshold=low).find([sample()], [photo])[0]
                      for high, low in ((0.5, None), (0.9999, 0.5)))  # fmt: skip
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


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_bf16_stays_close_and_the_weights_stay_32_bits(make, precision):
    finder = make(precision=precision)
    region = finder.find([sample()], [scene(200, 120)])[0]
    exact = make().find([sample()], [scene(200, 120)])[0]
    assert {p.dtype for p in finder.detector.network.parameters()} == {torch.float32}
    assert region.status == "ok"
    ours, theirs = (np.array(each.detail["scores"][:5]) for each in (region, exact))
    np.testing.assert_allclose(ours, theirs, atol=0.03)
    assert finder.identity()["precision"] == precision


def test_flipped_photo_flips_the_mask():
    """SAM's own processing of left and right: with a decoder that only sees colour, R turns with the photo."""
    from das_explain.segment.sam import segmented

    photo = scene(64, 48)

    def region(image):
        red = torch.tensor(np.asarray(image.resize((32, 24)))[..., 0] - 128.0)[None, None]
        enlarge = lambda m: torch.nn.functional.interpolate(m, (48, 64), mode="bilinear")[0].numpy() > 0  # noqa: E731
        return segmented(1, lambda i, many: (red.repeat(1, 3 if many else 1, 1, 1), torch.ones(3)), enlarge, 0.0).mask

    mask = region(photo)
    for turn, flip in ((Image.Transpose.FLIP_LEFT_RIGHT, np.fliplr), (Image.Transpose.FLIP_TOP_BOTTOM, np.flipud)):
        np.testing.assert_array_equal(region(photo.transpose(turn)), flip(mask))
        assert not np.array_equal(flip(mask), mask)


def test_boxes_of_a_photo_decoded_smaller_are_in_its_own_pixels(make):
    photo = scene(200, 120)
    plain = make().find([sample()], [photo])[0]
    photo.info["full_size"] = (800, 480)
    scaled = make().find([sample()], [photo])[0]
    np.testing.assert_allclose(np.array(plain.detail["boxes"]) * 4, scaled.detail["boxes"], atol=0.03)
    np.testing.assert_array_equal(plain.mask, scaled.mask)


def test_one_bad_photo_does_not_stop_the_others(make, monkeypatch):
    real = HubDetector.detect

    def detect(self, image, prompt):
        if image.width == 61:
            raise RuntimeError("not enough memory: you tried to allocate\nmore")
        return real(self, image, prompt)

    monkeypatch.setattr(HubDetector, "detect", detect)
    regions = make().find([sample()] * 3, [scene(60, 50), scene(61, 50), scene(60, 50)])
    assert [region.status for region in regions] == ["ok", "no_mask", "ok"]
    assert "failed on this photo (RuntimeError: not enough memory" in regions[1].detail["message"]
    assert "\n" not in regions[1].detail["message"]


def test_result_does_not_depend_on_the_batch(make):
    photos = [scene(200, 120), scene(90, 150, seed=1), scene(60, 50, seed=2)]
    samples = [sample("dog"), sample("golden retriever"), sample("cat")]
    together = make().find(samples, photos)
    for each, photo, found in zip(samples, photos, together):
        alone = make().find([each], [photo])[0]
        np.testing.assert_array_equal(alone.mask, found.mask)
        assert alone.detail["boxes"] == found.detail["boxes"]


def test_identity_needs_no_network_and_follows_every_setting(nets, make, tmp_path, monkeypatch):
    monkeypatch.setattr("das_explain.segment.detect.load_strictly", lambda *_: pytest.fail("a network was loaded"))
    table = tmp_path / "prompts.csv"
    table.write_text("label,prompt\ncrane,bird\n")
    known = {"detector": str(nets.detector), "sam": str(nets.sam)}
    settings = [
        {}, {"side": 400}, {"template": "a {label}"}, {"overrides": table}, {"box_threshold": 0.3},
        {"text_threshold": 0.2}, {"retry_threshold": 0.1}, {"choice": "union"}, {"minimum_area": 0.1},
        {"precision": "bf16"},
    ]  # fmt: skip
    told = [json.dumps(create_finder("grounded-sam", **known, **each).identity(), sort_keys=True) for each in settings]
    assert len(set(told)) == len(settings)
    copy = pickle.loads(pickle.dumps(create_finder("grounded-sam", **known)))
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
    ],
)
def test_impossible_settings(nets, options, message):
    with pytest.raises(UsageError, match=message):
        create_finder("grounded-sam", detector=str(nets.detector), sam=str(nets.sam), **options)
