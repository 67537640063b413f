"""From an upright photo to the network's input frame: resize, crop, normalise, for an image and its mask alike.

Equal to torchvision's ``Resize(resize)``, ``CenterCrop(size)``, ``Normalize(mean, std)`` on Pillow images, bit by bit;
only of a photo over 16 times as long as wide the crop is resampled straight from the photo, so that a panorama of
1 x 10,000 pixels costs no more than any other (a few pixels in ten thousand then differ, by 1 to 3 levels of 255).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_ALONE = 2**18 - 1  # pixels that OpenCV looks up in the thread that asks, without others
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601-2, as Pillow's mode L
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Geometry:
    """Which pixels of a photo the network sees: models that share one share the decoded frame and the mask.

    ``size`` is (height, width) of the frame. ``fit="crop"``: the shorter side becomes ``resize``, then the centre is
    cropped; ``fit="squash"``: the whole photo becomes the frame and the aspect ratio is lost.
    """

    size: tuple[int, int] = (224, 224)
    resize: int = 256
    interpolation: str = "bilinear"
    fit: Literal["crop", "squash"] = "crop"

    @property
    def key(self) -> str:
        """A short name, unique among geometries, fit for a file name."""
        tail = f"-r{self.resize}" if self.fit == "crop" else "-squash"
        return f"{self.size[0]}x{self.size[1]}{tail}-{self.interpolation}"

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The part of a ``width`` x ``height`` photo that becomes the frame, (x0, y0, x1, y1) in photo pixels.

        It exceeds the photo where the resized photo is smaller than the crop (the frame is padded with black there).
        """
        if self.fit == "squash":
            return 0.0, 0.0, float(width), float(height)
        scaled_w, scaled_h, left, top = self._placing(width, height)
        fx, fy = width / scaled_w, height / scaled_h
        return left * fx, top * fy, (left + self.size[1]) * fx, (top + self.size[0]) * fy

    def _placing(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Width and height of the resized photo, and the crop's left and top in it, as torchvision has them."""
        short = min(width, height)
        scaled_w = self.resize if width == short else int(self.resize * width / height)
        scaled_h = self.resize if height == short else int(self.resize * height / width)
        # torchvision's center_crop rounds; where it has to pad first, it pads (n // 2) on the left or top.
        left = round((scaled_w - self.size[1]) / 2) if scaled_w >= self.size[1] else -((self.size[1] - scaled_w) // 2)
        top = round((scaled_h - self.size[0]) / 2) if scaled_h >= self.size[0] else -((self.size[0] - scaled_h) // 2)
        return scaled_w, scaled_h, left, top

    def _resample(self, image: Image.Image, *, is_mask: bool = False) -> Image.Image:
        height, width = self.size
        resample = FILTERS[self.interpolation]
        if self.fit == "squash":
            return image.resize((width, height), resample)
        scaled_w, scaled_h, left, top = self._placing(*image.size)
        if scaled_w * scaled_h <= 16 * max(width * height, self.resize**2):
            crop = left, top, left + width, top + height
            if image.width < image.height or width > scaled_w or height > scaled_h:
                return image.resize((scaled_w, scaled_h), resample).crop(crop)
            return _cut(image, (scaled_w, scaled_h), crop, resample, is_mask)
        x0, y0, x1, y1 = self.box(*image.size)
        inner = (max(x0, 0.0), max(y0, 0.0), min(x1, float(image.width)), min(y1, float(image.height)))
        part = image.resize((min(width, scaled_w), min(height, scaled_h)), resample, box=inner)
        return part.crop((min(left, 0), min(top, 0), min(left, 0) + width, min(top, 0) + height))

    def frame(self, image: Image.Image) -> np.ndarray:
        """The network's view of an upright RGB photo: uint8 (H, W, 3)."""
        return np.asarray(self._resample(image), dtype=np.uint8)

    def frame_mask(self, mask: np.ndarray) -> np.ndarray:
        """The same view of a mask, bool (h, w) -> bool (H, W): same filter, then at least half covered."""
        grey = (mask.view(np.uint8) != 0).view(np.uint8) * np.uint8(255)  # True may be any byte, and np.where is slow
        return np.asarray(self._resample(Image.fromarray(grey), is_mask=True), dtype=np.uint8) >= 128


@dataclass(frozen=True)
class Preprocess:
    """What a model expects of its input: a frame (``geometry``) with values ``(x / 255 - mean) / std``.

    ``mean`` and ``std`` hold three numbers, for RGB, or one: the network takes grey images (Pillow's mode L).
    """

    geometry: Geometry = Geometry()
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    @property
    def channels(self) -> int:
        """Of the network's input: 3, or 1."""
        return len(self.mean)

    def normalize(self, frames: torch.Tensor) -> torch.Tensor:
        """uint8 (N, 3, H, W) in 0..255 -> float32 (N, C, H, W), on the same device and in the same layout."""
        frames = _grey(frames) if self.channels == 1 else frames
        if frames.device.type == "cpu":
            return _looked_up(frames, _levels(self))
        return self.standardize(frames.float().div_(255))

    def standardize(self, photos: torch.Tensor) -> torch.Tensor:
        """float (N, 3, H, W) or (N, C, H, W) in [0, 1], overwritten where it has C channels -> (N, C, H, W), normalised."""
        import torch

        mean, std = (torch.tensor(each, device=photos.device).view(1, -1, 1, 1) for each in (self.mean, self.std))
        if self.channels == 1 and photos.shape[1] == 3:
            photos = (photos * torch.tensor(LUMA, device=photos.device).view(1, 3, 1, 1)).sum(1, keepdim=True)
        return photos.sub_(mean).div_(std)

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """One photo (any PIL mode) -> float32 (C, H, W)."""
        import torch

        frame = torch.from_numpy(self.geometry.frame(image.convert("RGB")).copy()).permute(2, 0, 1)
        return self.normalize(frame[None])[0]

    def resized(self, size: tuple[int, int]) -> Preprocess:
        """The same for frames of another size (height, width); as much of a photo is cropped as usual, 224 of 256."""
        return Preprocess.from_config({**self.to_config(), "size": list(size), "resize": round(min(size) * 256 / 224)})

    def to_config(self) -> dict[str, Any]:
        """JSON-serialisable; ``from_config`` reads it back."""
        return {**asdict(self.geometry), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Preprocess:
        """The inverse of ``to_config``; missing entries take ImageNet's values."""
        known: dict[str, Any] = {name: config[name] for name in ("resize", "interpolation", "fit") if name in config}
        if "size" in config:
            size = config["size"]
            known["size"] = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
            known.setdefault("resize", round(min(known["size"]) * 256 / 224))
        return cls(
            Geometry(**known),
            tuple(config.get("mean", IMAGENET_MEAN)),
            tuple(config.get("std", IMAGENET_STD)),
        )


def _cut(
    image: Image.Image,
    scaled: tuple[int, int],
    box: tuple[int, int, int, int],
    resample: Image.Resampling,
    is_mask: bool,
) -> Image.Image:
    """``image.resize(scaled, resample).crop(box)``, bit by bit, of a photo that is no taller than wide, without most of
    what is cropped away; of a mask, black but for the object, without what stays black.

    Pillow resamples along rows, then along columns, each in 8 bits (from 13 on the other way round if much taller than
    wide): columns may go in between. Rows may be left out from the start where a step from row to row is a number that
    Pillow's box, in float32, holds without rounding.
    """
    left, top, right, bottom = box
    exact, upper, lower, first, last = _rows_needed(image.height, scaled[1], top, bottom)
    begin, end = first, last
    if is_mask:
        frame = Image.new(image.mode, (right - left, bottom - top))
        _, y0, _, y1 = image.getbbox() or (0, 0, 0, 0)
        begin, end = max(first, y0), min(last, y1)
        if begin >= end:
            return frame
    strip = image.crop((0, begin, image.width, end)).resize((scaled[0], end - begin), resample)

    def along_columns(x0: int, x1: int) -> Image.Image:
        part = strip.crop((x0, first - begin, x1, last - begin))
        if exact:
            return part.resize((x1 - x0, bottom - top), resample, (0, upper - first, x1 - x0, lower - first))
        return part.resize((x1 - x0, scaled[1]), resample).crop((0, top, x1 - x0, bottom))

    if not is_mask:
        return along_columns(left, right)
    x0, _, x1, _ = strip.getbbox() or (0, 0, 0, 0)
    x0, x1 = max(left, x0), min(right, x1)
    if x0 < x1:
        frame.paste(along_columns(x0, x1), (x0 - left, 0))
    return frame


@lru_cache(256)  # photos are of a few sizes
def _rows_needed(height: int, scaled: int, top: int, bottom: int) -> tuple[bool, float, float, int, int]:
    """Whether rows of a photo of that height, which is scaled and then cropped, may be left out; where the crop begins and
    ends among them, and which are needed."""
    step = Fraction(height, scaled)
    upper, lower = float(top * step), float(bottom * step)
    if step.denominator & (step.denominator - 1) or any(np.float32(y) != y for y in (upper, lower)):
        return False, upper, lower, 0, height
    reach = int(3 * max(float(step), 1.0)) + 2  # Lanczos', the widest
    return True, upper, lower, max(0, int(upper) - reach), min(height, int(lower) + reach)


@cache
def _levels(preprocess: Preprocess) -> np.ndarray:
    """What ``standardize`` makes of each of the 256 levels: float32 (1, 256, C)."""
    import torch

    levels = torch.arange(256).float().div_(255).repeat(1, preprocess.channels, 1, 1)
    return preprocess.standardize(levels)[0, :, 0].T.contiguous().numpy()[None]


def _looked_up(frames: torch.Tensor, levels: np.ndarray) -> torch.Tensor:
    """uint8 (N, C, H, W) -> float32 (N, C, H, W), in the same layout: the same bits as by computing them, in less time."""
    import cv2
    import torch

    pixels = frames.permute(0, 2, 3, 1).contiguous().numpy()
    values = np.empty(pixels.shape, np.float32)
    width, channels = pixels.shape[2:]
    lines, found = (each.reshape(-1, width, channels) for each in (pixels, values))
    together = max(1, _ALONE // width)
    for start in range(0, len(lines), together):
        cv2.LUT(lines[start : start + together], levels, dst=found[start : start + together])
    normalized = torch.from_numpy(values).permute(0, 3, 1, 2)
    return normalized if frames.is_contiguous(memory_format=torch.channels_last) else normalized.contiguous()


def _grey(frames: torch.Tensor) -> torch.Tensor:
    """uint8 (N, 3, H, W) -> uint8 (N, 1, H, W), to the level as Pillow makes RGB grey: by whole numbers."""
    import torch

    red, green, blue = frames.int().split(1, 1)
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).to(torch.uint8)
