"""Photos that go through the networks together get what they get alone; what fails costs nothing but itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from das_explain.segment.finders.detect import HubDetector
from das_explain.segment.finders.sam import HubSam
from tests.segment.networks import sample, scene

BATCH = [  # sizes that give equal inputs, and others; prompts of equal length, and others
    ("dog", (200, 120)),
    ("golden retriever", (90, 150)),
    ("cat", (200, 120)),
    ("golden retriever", (200, 120)),
    ("dog", (180, 300)),
    ("crane", (200, 120)),
    ("a red bird", (60, 50)),
]


def assert_batches_change_nothing(finder, monkeypatch):
    """In batches of up to 4 each photo gets the boxes, scores, masks and words that it gets alone."""
    samples = [sample(label) for label, _ in BATCH]
    photos = [scene(*size, seed=i) for i, (_, size) in enumerate(BATCH)]
    looked, encoded = [], []
    look, encode = type(finder.detector).look, type(finder.masker).encode
    monkeypatch.setattr(type(finder.detector), "look", lambda *a: looked.append(len(a[1])) or look(*a))
    monkeypatch.setattr(type(finder.masker), "encode", lambda *a: encoded.append(len(a[1])) or encode(*a))
    alone = [finder.find([each], [photo])[0] for each, photo in zip(samples, photos)]
    assert set(looked) == set(encoded) == {1}
    del looked[:], encoded[:]
    monkeypatch.setattr(finder, "batch", 4)
    together = finder.find(samples, photos)
    assert encoded == [4, 3]
    assert sum(looked) == len(BATCH) > len(looked)
    for one, other in zip(alone, together):
        assert (one.status, one.detail["prompt"], one.detail["used"]) == (
            "ok",
            other.detail["prompt"],
            other.detail["used"],
        )
        assert one.detail["labels"] == other.detail["labels"]
        for what in ("boxes", "scores", "iou"):
            np.testing.assert_allclose(
                one.detail[what], other.detail[what], rtol=1e-4, atol=2e-4 if what != "boxes" else 0.02
            )
        assert np.mean(one.mask == other.mask) > 0.9995


@pytest.mark.parametrize("name", ["grounded-sam", "grounded-sam2"])
def test_result_does_not_depend_on_the_batch(make, monkeypatch, name):
    assert_batches_change_nothing(make(name), monkeypatch)


def test_less_memory_means_smaller_batches(make, monkeypatch):
    """Each photo is found all the same, and what did not fit is not tried again."""
    finder, tried = make(batch=4), []
    encode = HubSam.encode

    def small(self, images, boxes):
        tried.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(self, images, boxes)

    monkeypatch.setattr(HubSam, "encode", small)
    regions = finder.find([sample()] * 9, [scene(60, 50, seed=i) for i in range(9)])
    assert [region.status for region in regions] == ["ok"] * 9
    assert tried == [4, 2, 2, 2, 2, 1]


def test_one_bad_photo_does_not_stop_the_others(make, monkeypatch):
    real = HubDetector.detect

    def detect(self, images, prompts):
        if any(image.width == 61 for image in images):
            raise RuntimeError("not enough memory: you tried to allocate\nmore")
        return real(self, images, prompts)

    monkeypatch.setattr(HubDetector, "detect", detect)
    regions = make(batch=3).find([sample()] * 3, [scene(60, 50), scene(61, 50), scene(60, 50)])
    assert [region.status for region in regions] == ["ok", "no_mask", "ok"]
    assert "failed on this photo (RuntimeError: not enough memory" in regions[1].detail["message"]
    assert "\n" not in regions[1].detail["message"]
