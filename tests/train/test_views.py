"""Order and views are functions of (seed, epoch, index), whatever happened before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional

from das_explain.errors import DasExplainError, UsageError
from das_explain.train import load_recipe
from das_explain.train.augment import fixed_crop, jitter, random_box, random_view
from das_explain.train.data import EpochSampler, TrainingData
from das_explain.train.schema import Augment


def _epoch(sampler: EpochSampler, epoch: int) -> list[tuple[int, int]]:
    sampler.set_epoch(epoch)
    return list(sampler)


def test_an_epoch_of_all_images_is_a_permutation_and_epochs_differ():
    sampler = EpochSampler(50, 50, seed=3)
    first, second = _epoch(sampler, 0), _epoch(sampler, 1)
    assert sorted(i for _, i in first) == sorted(i for _, i in second) == list(range(50))
    assert [i for _, i in first] != [i for _, i in second]
    assert {e for e, _ in second} == {1}
    assert _epoch(EpochSampler(50, 50, seed=3), 1) == second, "an epoch does not need those before"
    assert _epoch(EpochSampler(50, 50, seed=4), 1) != second


def test_partial_epochs_use_every_image_before_any_again():
    sampler = EpochSampler(10, 4, seed=0)
    stream = [i for epoch in range(5) for _, i in _epoch(sampler, epoch)]
    assert sorted(stream[:10]) == sorted(stream[10:]) == list(range(10))


def test_an_epoch_longer_than_the_data_repeats_it():
    epoch = [i for _, i in _epoch(EpochSampler(3, 7, seed=0), 0)]
    assert len(epoch) == 7
    assert sorted(epoch[:3]) == sorted(epoch[3:6]) == [0, 1, 2]


def test_a_view_depends_on_seed_epoch_and_index_only(tiny):
    data = TrainingData(load_recipe(tiny))
    again = TrainingData(load_recipe(tiny))
    [data.train[0, i] for i in range(4)]
    view = data.train[1, 2][0]
    assert view.shape == (3, 32, 32)
    assert view.dtype == torch.uint8
    assert torch.equal(view, again.train[1, 2][0])
    assert not torch.equal(view, data.train[0, 2][0])
    assert not torch.equal(view, TrainingData(load_recipe(tiny, ["seed=1"])).train[1, 2][0])


def test_plain_frames_are_the_network_s_preprocessing(tiny):
    data = TrainingData(load_recipe(tiny))
    frame, target = data.tests["test"][5]
    sample = data.tests["test"].samples[5]
    with Image.open(sample.path) as photo:
        assert torch.equal(data.preprocess.normalize(frame[None])[0], data.preprocess(photo))
    assert data.labels[target] == sample.label == "red"


def test_a_csv_is_trained_on_as_its_rows_say(tiny, photos, tmp_path):
    names = {"red": "warm", "blue": "cold"}
    rows = [f"{photos}/{folder}/{i}.png,{name}" for folder, name in names.items() for i in (0, 2)]
    (tmp_path / "mine.csv").write_text("\n".join(["image,label", *rows]) + "\n")
    data = TrainingData(load_recipe(tiny, [f"data.{split}={tmp_path / 'mine.csv'}" for split in ("train", "test")]))
    assert data.labels == ["cold", "warm"]
    assert data.train.targets == data.tests["test"].targets == [1, 1, 0, 0]


def test_held_out_images_are_never_trained_on(tiny):
    data = TrainingData(load_recipe(tiny, ["data.held_out=2"]))
    held_out = {s.name for s in data.tests["held_out"].samples}
    assert len(held_out) == 2
    assert {s.label for s in data.tests["held_out"].samples} == {"blue", "red"}
    assert held_out.isdisjoint(s.name for s in data.train.samples)
    assert len(data.train) == 6


def test_boxes_lie_inside_and_have_the_area_and_ratio_asked_for():
    rng = np.random.default_rng(0)
    for _ in range(200):
        x0, y0, x1, y1 = random_box(320, 240, (0.3, 0.6), (0.75, 4 / 3), rng)
        assert 0 <= x0 < x1 <= 320 and 0 <= y0 < y1 <= 240
        assert 0.29 < (x1 - x0) * (y1 - y0) / (320 * 240) < 0.61
        assert 0.73 < (x1 - x0) / (y1 - y0) < 1.37


def test_a_box_for_an_extreme_photo_is_the_largest_allowed_in_its_middle():
    assert random_box(1000, 10, (0.9, 1.0), (0.5, 2.0), np.random.default_rng(0)) == (490, 0, 510, 10)


class _Fixed:
    """A generator whose uniform draws are the numbers given."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = list(numbers)

    def uniform(self, low: float, high: float) -> float:
        return self.numbers.pop(0)


def test_jitter_against_the_definition_in_steps():
    frame = np.array([[[200, 100, 50], [20, 40, 240]]], dtype=np.uint8)
    luma = np.array([0.299, 0.587, 0.114])
    x = frame * 1.1  # brightness 1 + 0.5 * 0.2
    x = 0.9 * x + 0.1 * (x @ luma).mean()  # contrast 1 - 0.5 * 0.2
    x = 1.2 * x - 0.2 * (x @ luma)[..., None]  # saturation 1 + 0.5 * 0.4
    expected = np.clip(np.rint(x), 0, 255).astype(int)
    out = jitter(frame, Augment(brightness=0.5, contrast=0.5, saturation=0.5), _Fixed(0.2, -0.2, 0.4))
    assert np.abs(out.astype(int) - expected).max() <= 1, (out, expected)


def test_without_randomness_a_view_is_the_resized_photo():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8))
    still = Augment(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0)
    view = random_view(photo, 16, still, "bilinear", np.random.default_rng(0))
    assert np.array_equal(view, np.asarray(photo.resize((16, 16), Image.Resampling.BILINEAR)))
    mirrored = random_view(photo, 16, Augment((1.0, 1.0), (1.0, 1.0), flip=1.0), "bilinear", np.random.default_rng(0))
    assert np.array_equal(mirrored, view[:, ::-1])


class _Place:
    """A generator that draws one place."""

    def __init__(self, x: int, y: int) -> None:
        self.draws, self.bounds = [x, y], []

    def integers(self, low: int, high: int) -> int:
        self.bounds.append((low, high))
        return self.draws.pop(0)


@pytest.mark.parametrize(
    ("width", "height", "resize", "padding", "place"),
    [
        (32, 32, 32, 4, (-4, 4)),
        (32, 32, 32, 4, (0, 0)),
        (32, 32, 32, 4, (3, -2)),
        (48, 40, 36, 0, (11, 4)),
    ],
)
def test_a_fixed_crop_is_torchvision_s(width, height, resize, padding, place):
    photo = Image.fromarray(np.random.default_rng(0).integers(1, 256, (height, width, 3), dtype=np.uint8))
    rng = _Place(*place)
    ours = fixed_crop(photo, 32, resize, padding, "bilinear", rng)
    theirs = functional.pad(functional.resize(photo, resize), padding)
    x, y = place[0] + padding, place[1] + padding
    assert np.array_equal(ours, np.asarray(functional.crop(theirs, y, x, 32, 32)))
    assert rng.bounds == [(-padding, theirs.width - padding - 32 + 1), (-padding, theirs.height - padding - 32 + 1)]


def test_fixed_crops_come_from_the_recipe_and_reach_every_place(tiny):
    settings = [
        "augment.crop=fixed",
        "augment.padding=1",
        "augment.flip=0",
        "augment.brightness=0",
        "augment.contrast=0",
        "augment.saturation=0",
        "input.resize=36",
    ]
    data = TrainingData(load_recipe(tiny, settings))
    photo = functional.resize(data.train.dataset.read(data.train.samples[0]), 36)  # 40 x 36
    padded = np.asarray(functional.pad(photo, 1))
    places = {padded[y : y + 32, x : x + 32].tobytes(): (x, y) for y in range(7) for x in range(11)}
    seen = {places[data.train[epoch, 0][0].permute(1, 2, 0).numpy().tobytes()] for epoch in range(400)}
    assert {x for x, _ in seen} == set(range(11)) and {y for _, y in seen} == set(range(7))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("data.train={}/blue", "no classes"),
        ("data.test={}/blue", "no class; give it one or leave it out"),
        ("data.train={}/nowhere", "no such data"),
        ("data.held_out=8", "leaves nothing of 8"),
    ],
)
def test_data_that_cannot_be_trained_on_is_said_in_one_line(tiny, photos, setting, words):
    with pytest.raises((UsageError, DasExplainError), match=words) as caught:
        TrainingData(load_recipe(tiny, [setting.format(photos)]))
    assert "\n" not in str(caught.value)
