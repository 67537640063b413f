"""Frames equal torchvision's Resize + CenterCrop on Pillow images; masks go exactly where the photo goes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from das_explain.data.geometry import IMAGENET_MEAN, IMAGENET_STD, Geometry, Preprocess
from tests.photos import CORNERS, corners, photo


def textured(width: int, height: int) -> Image.Image:
    """A photo-like image: smooth colour with detail, no symmetry."""
    rng = np.random.default_rng(width * 10_007 + height)
    small = rng.integers(0, 256, (max(2, height // 5), max(2, width // 5), 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def reference(image: Image.Image, geometry: Geometry) -> np.ndarray:
    mode = InterpolationMode(geometry.interpolation)
    if geometry.fit == "squash":
        steps = [transforms.Resize(geometry.size, mode)]
    else:
        steps = [transforms.Resize(geometry.resize, mode), transforms.CenterCrop(geometry.size)]
    return np.asarray(transforms.Compose(steps)(image))


PHOTOS = [
    (320, 240),
    (240, 320),
    (500, 375),
    (1200, 800),
    (300, 901),
    (256, 256),
    (257, 255),
    (60, 40),
    (40, 60),
    (1, 1),
    (2, 3),
    (640, 97),
]
GEOMETRIES = [
    Geometry(),
    Geometry((160, 160), 160),
    Geometry((32, 32), 32, "bicubic"),
    Geometry((224, 320), 256),  # the crop exceeds the photo's width, its height, or both: padding
    Geometry((320, 224), 256, "lanczos"),
    Geometry((225, 224), 200),
    Geometry((299, 299), 342, "bicubic"),
    Geometry((64, 96), 100, "nearest"),
    Geometry((48, 80), 64, fit="squash"),
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.key)
@pytest.mark.parametrize("size", PHOTOS, ids=str)
def test_frame_equals_torchvision(size, geometry):
    image = textured(*size)
    frame = geometry.frame(image)
    assert frame.dtype == np.uint8
    np.testing.assert_array_equal(frame, reference(image, geometry))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40), st.integers(1, 50))
def test_frame_equals_torchvision_at_any_size(width, height, crop_h, crop_w, resize):
    geometry = Geometry((crop_h, crop_w), resize)
    image = textured(width, height)
    expected = reference(image, geometry).astype(int)
    exact = max(width, height) <= 16 * min(width, height)
    assert np.abs(geometry.frame(image) - expected).max() <= (0 if exact else 3)


@pytest.mark.parametrize("size", [(1000, 13), (13, 1000), (2000, 3)], ids=str)
@pytest.mark.parametrize("geometry", [Geometry(), Geometry((64, 96), 64), Geometry((30, 64), 40)], ids=lambda g: g.key)
def test_extreme_aspect_is_torchvision_up_to_rounding(size, geometry):
    image = textured(*size)
    difference = np.abs(geometry.frame(image).astype(int) - reference(image, geometry))
    assert difference.max() <= 1


def test_extreme_aspect_costs_no_more_than_its_frame():
    geometry = Geometry()
    frame = geometry.frame(Image.new("RGB", (1, 200_000), (9, 8, 7)))  # resized as a whole it would have 13e9 pixels
    assert frame.shape == (224, 224, 3)
    assert (frame == (9, 8, 7)).all()


def test_frame_keeps_channels_and_directions():
    frame = Geometry((24, 48), 40).frame(photo(60, 40))
    assert frame.shape == (24, 48, 3)
    np.testing.assert_array_equal(corners(Geometry((40, 60), 40).frame(photo(60, 40))), CORNERS)
    np.testing.assert_array_equal(frame, np.asarray(photo(60, 40))[8:32, 6:54])  # no scaling: the plain centre crop


def test_box_names_the_pixels_of_the_frame():
    assert Geometry((24, 48), 40).box(60, 40) == (6, 8, 54, 32)
    assert Geometry((112, 112), 128).box(512, 256) == (256 - 112, 16, 256 + 112, 240)
    assert Geometry((40, 80), 40).box(60, 40) == (-10, 0, 70, 40)  # padded left and right
    assert Geometry((8, 8), fit="squash").box(60, 40) == (0, 0, 60, 40)


@pytest.mark.parametrize("geometry", [g for g in GEOMETRIES if g.interpolation != "lanczos"], ids=lambda g: g.key)
@pytest.mark.parametrize("size", [(320, 240), (97, 640), (60, 40), (1000, 13)], ids=str)
def test_mask_lies_where_the_photo_shows_the_object(size, geometry):
    """A photo that is white on the object and black elsewhere: its frame, thresholded, is the mask's frame."""
    width, height = size
    mask = np.zeros((height, width), bool)
    mask[height // 5 : height // 2, width // 3 : width // 3 + max(1, width // 2)] = True
    mask[-1, 0] = True
    painted = Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB")
    framed = geometry.frame_mask(mask)
    assert framed.dtype == bool
    assert framed.any()
    np.testing.assert_array_equal(framed, geometry.frame(painted)[..., 0] >= 128)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_mask_is_framed_as_torchvision_frames_it(data):
    """What stays black is left out on the way: objects of any size at any place, several, and none."""
    width, height = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 60))
    mask = np.zeros((height, width), bool)
    for _ in range(data.draw(st.integers(0, 3))):
        top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        mask[top : top + data.draw(st.integers(1, height)), left : left + data.draw(st.integers(1, width))] ^= True
    filters = st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"])
    sides = st.integers(1, 40)
    geometry = Geometry((data.draw(sides), data.draw(sides)), data.draw(st.integers(1, 50)), data.draw(filters))
    if max(width, height) <= 16 * min(width, height):
        black_and_white = Image.fromarray(mask.astype(np.uint8) * 255)
        np.testing.assert_array_equal(geometry.frame_mask(mask), reference(black_and_white, geometry) >= 128)


def test_padding_is_never_object():
    mask = Geometry((40, 80), 40).frame_mask(np.ones((40, 60), bool))
    assert mask[:, 10:70].all()
    assert not mask[:, :10].any()
    assert not mask[:, 70:].any()


def test_geometry_keys_differ_where_the_frames_do():
    geometries = [*GEOMETRIES, Geometry((225, 224), 256), Geometry((224, 225), 200), Geometry(interpolation="nearest")]
    keys = {geometry.key for geometry in geometries}
    assert len(keys) == len(geometries)
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for key in keys)


def test_normalize_and_call_equal_torchvision():
    image = textured(301, 227)
    to_tensor = [transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    expected = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), *to_tensor])(image)
    torch.testing.assert_close(Preprocess()(image), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("preprocess", [Preprocess(), Preprocess(mean=(0.1307,), std=(0.3081,))], ids=["rgb", "grey"])
@pytest.mark.parametrize("size", [(16, 24), (600, 700), (1, 1)], ids=str)  # the second in several parts
def test_levels_are_looked_up_as_they_would_be_computed(preprocess, size, channels_last):
    frames = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    if channels_last:
        frames = frames.contiguous(memory_format=torch.channels_last)
    grey = [np.asarray(Image.fromarray(frame.permute(1, 2, 0).numpy()).convert("L")) for frame in frames]
    levels = frames if preprocess.channels == 3 else torch.from_numpy(np.stack(grey))[:, None]
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (preprocess.mean, preprocess.std))
    normalized = preprocess.normalize(frames)
    assert torch.equal(normalized, (levels.float() / 255 - mean) / std)
    assert normalized.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def test_config_round_trip():
    preprocess = Preprocess(Geometry((96, 160), 128, "bicubic", "squash"), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert Preprocess.from_config(preprocess.to_config()) == preprocess
    assert Preprocess.from_config({}) == Preprocess()
    assert Preprocess.from_config({"size": 112}).geometry == Geometry((112, 112), 128)
