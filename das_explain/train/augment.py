"""Training-time views of a photo. All randomness is in the generator given, so a view can be drawn again."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from das_explain.data.geometry import FILTERS
from das_explain.train.schema import Augment

_LUMA = np.array([0.299, 0.587, 0.114])


def random_view(
    image: Image.Image, size: int, augment: Augment, interpolation: str, rng: np.random.Generator, resize: int = 0
) -> np.ndarray:
    """A random crop of ``image``, resized, perhaps mirrored, with its light changed: uint8 (size, size, 3).

    ``resize``: the shorter side before a crop of fixed size.
    """
    if augment.crop == "resized":
        box = random_box(image.width, image.height, augment.scale, augment.ratio, rng)
        frame = np.asarray(image.resize((size, size), FILTERS[interpolation], box=box))
    else:
        frame = fixed_crop(image, size, resize, augment.padding, interpolation, rng)
    if rng.random() < augment.flip:
        frame = frame[:, ::-1]
    return np.require(jitter(frame, augment, rng), requirements=("C", "W"))  # Pillow's own pixels are read-only


def fixed_crop(
    image: Image.Image, size: int, resize: int, padding: int, interpolation: str, rng: np.random.Generator
) -> np.ndarray:
    """The shorter side becomes ``resize``, ``padding`` black pixels go around, and any place is cropped: uint8.

    As torchvision's ``Resize(resize)`` and ``RandomCrop(size, padding)``; needs ``size <= resize + 2 * padding``.
    """
    short = min(image.size)
    width, height = (resize if side == short else int(resize * side / short) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), FILTERS[interpolation])
    x = int(rng.integers(-padding, width + padding - size + 1))
    y = int(rng.integers(-padding, height + padding - size + 1))
    return np.asarray(image.crop((x, y, x + size, y + size)))  # Pillow paints black beyond the edges


def random_box(
    width: int, height: int, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """A box of random area (fraction) and aspect ratio (width / height, log-uniform), (x0, y0, x1, y1) in pixels.

    As torchvision's ``RandomResizedCrop``: ten tries, then the largest central box whose ratio is allowed.
    """
    for _ in range(10):
        area = width * height * rng.uniform(*scale)
        aspect = np.exp(rng.uniform(np.log(ratio[0]), np.log(ratio[1])))
        w, h = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            return x, y, x + w, y + h
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = min(width, max(1, round(height * aspect))), min(height, max(1, round(width / aspect)))
    x, y = (width - w) // 2, (height - h) // 2
    return x, y, x + w, y + h


def jitter(frame: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast and saturation, each times 1 +- its fraction: one colour matrix, uint8 (H, W, 3) -> same."""
    brightness, contrast, saturation = (
        1 + strength * rng.uniform(-1, 1) for strength in (augment.brightness, augment.contrast, augment.saturation)
    )
    if brightness == contrast == saturation == 1:
        return frame
    # x -> b x; y -> c y + (1 - c) mean grey(y); z -> s z + (1 - s) grey(z)
    matrix = brightness * contrast * (saturation * np.eye(3) + (1 - saturation) * _LUMA)
    grey = brightness * (1 - contrast) * float(np.asarray(cv2.mean(frame)[:3]) @ _LUMA)
    return cv2.transform(frame, np.column_stack([matrix, np.full(3, grey)]))  # rounds and saturates
