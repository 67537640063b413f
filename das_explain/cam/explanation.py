"""What a model sees in photos: maps laid over the frames that the network saw, with logits and classes."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from das_explain.cam.colours import overlay
from das_explain.cam.engine import explain
from das_explain.cam.maps import Cam, join_cams
from das_explain.data.geometry import Preprocess
from das_explain.data.images import as_rgb, decode_image
from das_explain.errors import UsageError
from das_explain.nn.answers import confidences
from das_explain.nn.stages import Layout
from das_explain.text import plural

Photo = str | os.PathLike[str] | Image.Image | np.ndarray
"""A photo: a path, a Pillow image, or an array uint8 (H, W), (H, W, 3) or (H, W, 4)."""
BATCH = 16  # images at a time
SHOWN = 12  # images that a notebook shows


@dataclass(frozen=True, repr=False, eq=False)
class Explanation:
    """Grad-CAM maps of N images; a notebook shows it.

    ``frames`` uint8 (N, H, W, 3): what the network saw, after resizing and cropping. ``logits`` float32 (N, K);
    ``target`` int64 (N,): the class whose maps these are. ``cams``: a ``Cam`` per block, of the frames' size. All tensors
    are on the CPU. ``labels``: the class names in logit order, if the model has any. ``model``: its name. ``activation``:
    what makes probabilities of logits, ``softmax``, ``sigmoid`` or ``none``.

    >>> from das_explain import load_model
    >>> grey = np.full((200, 300, 3), 128, dtype=np.uint8)
    >>> explanation = load_model("collage-das-resnet18", device="cpu").explain([grey, grey], target="coin")
    >>> len(explanation), explanation.frames.shape, explanation.target_names
    (2, (2, 160, 160, 3), ['coin', 'coin'])
    >>> explanation.overlay("layer4", image=1).size
    (160, 160)
    """

    frames: np.ndarray
    logits: Tensor
    target: Tensor
    cams: dict[str, Cam]
    labels: Sequence[str] | None = None
    model: str = ""
    activation: str = "softmax"

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, image: int) -> Explanation:
        """The same of one image."""
        at = slice(self._position(image), self._position(image) + 1)
        cams = {block: Cam(cam.native[at], cam.raw_max[at], cam.size) for block, cam in self.cams.items()}
        return replace(self, frames=self.frames[at], logits=self.logits[at], target=self.target[at], cams=cams)

    @property
    def predicted(self) -> Tensor:
        """int64 (N,): the highest logit."""
        return self.logits.argmax(1)

    @property
    def confidence(self) -> Tensor:
        """float32 (N,) in [0, 1]: the probability (``activation``) of the class predicted; NaN where a logit is none."""
        return confidences(self.logits, self.activation).gather(1, self.predicted[:, None])[:, 0]

    @property
    def target_names(self) -> list[str]:
        """The names of ``target``; its numbers where the classes have no names."""
        return [self._class_name(int(index)) for index in self.target]

    @property
    def predicted_names(self) -> list[str]:
        """The names of ``predicted``; its numbers where the classes have no names."""
        return [self._class_name(int(index)) for index in self.predicted]

    def overlay(self, block: str | None = None, image: int = 0, opacity: float = 0.5) -> Image.Image:
        """The map of ``block`` (default: the last one) over the frame that the network saw, blue (0) to red (1).

        Raises:
            UsageError: no such block or image.
            DasExplainError: the map is not finite.
        """
        block = list(self.cams)[-1] if block is None else block
        if block not in self.cams:
            raise UsageError(f"there is no map of {block!r}; there are those of {', '.join(self.cams)}")
        position = self._position(image)
        return Image.fromarray(overlay(self.frames[position], self.cams[block].native[position].numpy(), opacity))

    def sheet(self) -> Image.Image:
        """A picture of the first images, a row each: the frame, then the map of each block over it."""
        rows = range(min(len(self), SHOWN))
        height, width = self.frames.shape[1:3]
        sheet = Image.new("RGB", ((1 + len(self.cams)) * (width + 4), len(rows) * (height + 4)), "white")
        for row in rows:
            for column, (_, tile) in enumerate(self._tiles(row)):
                sheet.paste(tile, (column * (width + 4), row * (height + 4)))
        return sheet

    def __repr__(self) -> str:
        first = f", first: {self._title(0)}" if len(self) else ""
        return f"Explanation of {plural(len(self), 'image')}, {', '.join(self.cams)}{first}"

    def _repr_png_(self) -> bytes | None:
        return _encoded(self.sheet(), "PNG") if len(self) else None

    def _repr_html_(self) -> str:
        rows = [self._row_html(row) for row in range(min(len(self), SHOWN))]
        if len(self) > SHOWN:
            rows.append(f"<p>and {len(self) - SHOWN} more: explanation[{SHOWN}] and on</p>")
        return "<div>" + "".join(rows) + "</div>"

    def _row_html(self, image: int) -> str:
        tiles = "".join(
            '<figure style="margin:0"><img alt="" style="width:224px;display:block" src="data:image/jpeg;base64,'
            f'{base64.b64encode(_encoded(tile, "JPEG")).decode()}"><figcaption>{html.escape(name)}</figcaption></figure>'
            for name, tile in self._tiles(image)
        )
        title = html.escape(self._title(image))
        return f'<p>{title}</p><div style="display:flex;flex-wrap:wrap;gap:8px">{tiles}</div>'

    def _tiles(self, image: int) -> list[tuple[str, Image.Image]]:
        """The frame and each block's map over it; the bare frame in place of a map that is not finite."""
        frame = Image.fromarray(self.frames[image])
        tiles = [(self.model or "frame", frame)]
        for block, cam in self.cams.items():
            finite = bool(torch.isfinite(cam.native[image]).all())
            tiles.append((block, self.overlay(block, image)) if finite else (f"{block}: not finite", frame))
        return tiles

    def _title(self, image: int) -> str:
        confidence, target = float(self.confidence[image]), self.target_names[image]
        predicted = self.predicted_names[image]
        explained = "" if target == predicted else f", map of {target}"
        return f"{predicted} ({confidence:.0%}){explained}" if confidence == confidence else f"map of {target}"

    def _class_name(self, index: int) -> str:
        return self.labels[index] if self.labels else str(index)

    def _position(self, image: int) -> int:
        if not -len(self) <= image < len(self):
            raise IndexError(f"there is no image {image}; there are {len(self)}")
        return image % len(self)


def explain_images(
    runs: tuple[nn.Module, Mapping[str, nn.Module]],
    images: Sequence[Photo],
    preprocess: Preprocess,
    targets: Callable[[int], Sequence[int]],
    *,
    labels: Sequence[str] | None,
    model: str,
    device: torch.device,
    layouts: Mapping[str, Layout] | None = None,
    alone: bool = False,
    activation: str = "softmax",
) -> Explanation:
    """Reads, prepares and explains photos, some at a time.

    Args:
        runs: the network to run, on ``device``, and its blocks.
        targets: number of images -> the logit to explain of each, -1 for the highest.
        labels, model, activation: for the result.
        layouts: how blocks are read (``engine.grad_cam``). ``alone``: the network is shown one image at a time.

    Raises:
        UsageError: no image, or an array that is none.
        DasExplainError: an image cannot be read.
    """
    if not images:
        raise UsageError("there is no image to explain")
    network, blocks = runs
    wanted = torch.tensor(targets(len(images)))
    frames, parts = [], []
    batch = 1 if alone else BATCH
    for start in range(0, len(images), batch):
        seen = np.stack([preprocess.geometry.frame(as_photo(image)) for image in images[start : start + batch]])
        tensors = torch.from_numpy(seen).to(device).permute(0, 3, 1, 2)
        prepared = preprocess.normalize(tensors).contiguous(memory_format=torch.channels_last)
        frames.append(seen)
        parts.append(explain(network, prepared, wanted[start : start + batch].to(device), blocks, layouts=layouts))
    cams = {block: join_cams([part.cams[block] for part in parts]).cpu() for block in blocks}
    logits = torch.cat([part.logits.cpu() for part in parts])
    target = torch.cat([part.target.cpu() for part in parts])
    return Explanation(np.concatenate(frames), logits, target, cams, labels, model, activation)


def as_photo(image: Photo) -> Image.Image:
    """An upright RGB photo. Raises UsageError for an array that is none, ``ImageError`` for a file."""
    if isinstance(image, Image.Image):
        return as_rgb(image)
    if isinstance(image, np.ndarray):
        colours = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))
        if image.dtype != np.uint8 or not colours or not image.size:
            raise UsageError(
                f"an image must be an array uint8 (H, W, 3), not {image.dtype} {image.shape}; "
                "of values in [0, 1] make (255 * image).round().astype('uint8')"
            )
        return as_rgb(Image.fromarray(np.ascontiguousarray(image)))
    if isinstance(image, (str, os.PathLike)):
        return decode_image(image)
    raise UsageError(f"an image must be a path, a Pillow image or a numpy array, not a {type(image).__name__}")


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=90)
    return buffer.getvalue()
