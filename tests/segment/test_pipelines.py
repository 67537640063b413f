"""The glue is held to transformers' own pipeline and processors: for the same folder, photo and thresholds they give the
same boxes, scores, words and masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from tests.segment.networks import sample, scene

SIZES = {"portrait": (90, 150), "landscape": (200, 120), "tiny": (7, 5), "huge": (1300, 900), "long": (900, 20)}


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


@pytest.fixture(scope="module")
def reference_boxes(nets):
    """Transformers' own way to boxes in pixels, scores and labels: processor, network, processor."""
    import transformers

    network = transformers.GroundingDinoForObjectDetection.from_pretrained(nets.detector).eval()
    processor = transformers.GroundingDinoProcessor.from_pretrained(nets.detector)

    def find(photo, threshold):
        inputs = processor(images=photo, text=[["golden retriever"]], return_tensors="pt")
        with torch.no_grad():
            out = network(**inputs)
        found = processor.post_process_grounded_object_detection(
            out,
            inputs["input_ids"],
            threshold=threshold,
            text_threshold=0.25,
            target_sizes=[(photo.height, photo.width)],
        )[0]
        order = found["scores"].argsort(descending=True).tolist()
        boxes = found["boxes"][order].numpy().clip(0, [*photo.size, *photo.size])
        return boxes, found["scores"][order].numpy(), [found["text_labels"][i] for i in order]

    return find


@pytest.mark.parametrize("shape", [shape for shape in SIZES if shape != "long"])
def test_boxes_scores_and_words_are_those_of_the_processor(make, reference_boxes, shape):
    photo = scene(*SIZES[shape])
    detail = make().find([sample()], [photo])[0].detail
    boxes, scores, labels = reference_boxes(photo, 0.35)
    np.testing.assert_allclose(detail["boxes"], boxes, atol=0.006 + 1e-5 * max(photo.size))
    np.testing.assert_allclose(detail["scores"], scores, atol=1e-4)
    labels = [label.replace("[SEP]", "").replace(".", "").strip() for label in labels]  # its marks pass for words there
    assert detail["labels"] == labels
    assert {"golden", "retriever", "golden retriever"} & set(labels)


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
def test_masks_are_those_of_the_processor(nets, make, reference_boxes, name, shape):
    """From the photo on; but transformers has no boxes for the long one, of which less than a cell is left."""
    photo = scene(*SIZES[shape])
    threshold = 0.8 if shape == "long" else 0.93
    finder = make(name, choice="union", box_threshold=threshold)
    region = finder.find([sample()], [photo])[0]
    boxes = finder.detector.detect([photo], ["golden retriever."])[0].above(threshold).boxes
    if shape != "long":
        theirs, _, _ = reference_boxes(photo, threshold)
        np.testing.assert_allclose(boxes, theirs, atol=1e-5 * max(photo.size))
        boxes = theirs
    mask, iou = reference_mask(nets, name, photo, boxes)
    assert region.detail["used"] == list(range(len(boxes)))
    assert len(boxes) > 1
    assert np.mean(region.mask == mask) >= 0.999
    np.testing.assert_allclose(region.detail["iou"], iou, atol=1e-4)


@pytest.mark.parametrize("name", ["grounded-sam", "grounded-sam2"])
def test_mask_depends_on_photo_and_box(make, name):
    """Else the tests above hold nothing to anything."""
    masker, photo = make(name).masker, scene(200, 120)
    wide, tall = (
        masker.segment([photo], [np.array([box])])[0].mask for box in ([10.0, 40, 190, 80], [80.0, 5, 120, 115])
    )
    swapped = masker.segment([photo], [np.array([[40.0, 10, 80, 190]])])[0].mask
    other = masker.segment([photo.transpose(Image.Transpose.ROTATE_180)], [np.array([[10.0, 40, 190, 80]])])[0].mask
    for mask in (tall, swapped, other):
        assert 0.001 < np.mean(mask != wide) < 0.999
