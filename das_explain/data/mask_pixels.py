"""Which pixels of a mask file are the object: hard masks, soft masks, class numbers and colours.

What a file is, only its values tell. Two readings are possible of many grey values (the soft edge of one object, or the
numbers of many classes), so whatever was taken for granted is noted with the mask, for ``assumptions`` to say.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from das_explain.data import voc
from das_explain.data.images import ImageError, is_lossy, load_mask, printable
from das_explain.data.mask_levels import (
    are_spaced,
    flat_levels,
    is_hard,
    is_scattered,
    is_soft,
    levels_of,
    lies_between,
)

VOID = 255
"""The number of pixels that belong to no class in maps of class numbers."""
LEFT_OUT = "left out"
"""A note that is followed by the values (``left out: 85, 127``) of areas that are no part of a soft mask's object."""
TOLD = 5  # values that a note names
_OFTEN_LOSSY = ("AVIF", "HEIF")  # which of them are, no part of the file tells
_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")


@dataclass(frozen=True)
class MaskPixels:
    """``mask``: bool (H, W). ``notes``: words of ``assumptions.OF_FILES``, what had to be taken for granted.

    ``missing``: why the mask is empty, where the file has no pixel of what was asked for.
    """

    mask: np.ndarray
    notes: tuple[str, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class _Numbers:
    """A file's pixels as one number each (H, W): grey values, entries of a palette, or colours as 0xrrggbb."""

    values: np.ndarray
    palette: list[tuple[int, int, int]] | None = None
    are_colours: bool = False

    def spell(self, number: int) -> str:
        return f"#{number:06x}" if self.are_colours else str(number)

    def find(self, wanted: str) -> np.ndarray:
        """Where the number or the colour ``wanted`` stands, bool (H, W)."""
        if not wanted.startswith("#"):
            if self.are_colours:
                raise ValueError(f"it holds colours and no numbers: {wanted} is to be a colour, as in #c08080")
            if not re.fullmatch(r"-?[0-9]{1,9}", wanted):
                raise ValueError(f"{wanted!r} is neither a number nor a colour (#c08080)")
            return np.asarray(self.values == int(wanted))
        if not re.fullmatch(r"#[0-9a-f]{6}", wanted):
            raise ValueError(f"{wanted!r} is no colour, such as #c08080")
        colour = int(wanted[1:], 16)
        if self.are_colours:
            return np.asarray(self.values == colour)
        if self.palette is None:
            return np.asarray(self.values.astype(np.int64) * 0x010101 == colour)  # a grey one
        return np.isin(self.values, [i for i, each in enumerate(self.palette) if _pack(each) == colour])


def decode_mask(path: str | os.PathLike[str], *, background: int = 0) -> np.ndarray:
    """``read_mask_file`` without its notes: bool (H, W)."""
    return read_mask_file(path, background=background).mask


def read_mask_file(
    path: str | os.PathLike[str],
    *,
    background: int = 0,
    wanted: Sequence[str] = (),
    label: str | None = None,
    largest: bool = False,
) -> MaskPixels:
    """Reads a mask file. Raises ``ImageError``.

    Object is every non-zero pixel of a file of 0 and one other value (8-bit 0/255, 0/1, 1-bit, 16-bit, a colour), and

    - of a soft mask (a matte's transparency, soft edges, many grey values; all of JPEG and of WebP with loss, whose
      compression scatters values) every pixel above half its maximum;
    - of class numbers or colours the ``wanted`` ones (``12``, ``#c08080``), else of PASCAL VOC's palette the class that
      ``label`` is (``voc.number_of``), else all but the background (0; in a palette or among colours black, or entry 0 where black
      is not used) and, in 8 bits, void (255). With ``largest`` the one of these that has the most pixels.

    ``background`` is the value that is not object in files that number things otherwise.
    """
    image = load_mask(path)
    lossy = is_lossy(path, image)
    if wanted:
        if lossy:
            kind = "WebP with loss" if image.format == "WEBP" else "JPEG"
            raise ImageError(f"{printable(path)}: a {kind} keeps no numbers or colours: save the mask as PNG")
        try:
            return _pick(_numbers(image), wanted, largest)
        except ValueError as error:
            raise ImageError(f"{printable(path)}: {error}") from None
    if background:
        return MaskPixels(np.asarray(np.asarray(image) != background))
    if image.mode in _ALPHA or "transparency" in image.info:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        found = np.asarray(alpha > int(alpha.max()) / 2)
        if alpha.max() > 0 and not found.all():  # else it hides nothing, and what it shows decides
            return MaskPixels(found, ("soft",) if levels_of(alpha).size > 2 or alpha.min() > 0 else ())
    if lossy:
        grey = np.asarray(image.convert("L"))
        told = image.format == "WEBP" and not is_hard(grey)  # of JPEG the file's ending tells, without decoding it
        return MaskPixels(np.asarray(grey > int(grey.max()) / 2), ("lossy",) * told)
    numbers = _numbers(image)
    if numbers.palette is None and not numbers.are_colours and is_hard(numbers.values):
        return MaskPixels(_not_zero(numbers.values))
    shades = _brightness(image, numbers)
    if shades is not None and image.format in _OFTEN_LOSSY and is_scattered(levels_of(shades)):
        return MaskPixels(np.asarray(shades > int(shades.max()) / 2), ("lossy",))
    if shades is not None and is_soft(shades):
        return _cut(shades)
    return _read_classes(numbers, label, largest)


def cut_soft(values: np.ndarray) -> MaskPixels:
    """Numbers (H, W): cut at half their maximum if they are a soft mask, else all above zero."""
    if is_soft(values):
        return _cut(values)
    return MaskPixels(np.asarray(values > 0))


def _cut(values: np.ndarray) -> MaskPixels:
    """A soft mask at half its maximum, and what may have been an object of its own below that."""
    half = float(np.nanmax(values)) / 2
    found = np.asarray(values > half)
    if values.dtype.kind == "f" and (np.isnan(values).any() or (values != np.rint(values)).any()):
        return MaskPixels(found, ("soft",))
    below = [level for level in flat_levels(np.where(found, 0, values)) if level > half / 16]  # darker is a background
    told = f"{LEFT_OUT}: {', '.join(map(str, below[:TOLD]))}{' ...' if len(below) > TOLD else ''}"
    return MaskPixels(found, ("soft", told) if below else ("soft",))


def _read_classes(numbers: _Numbers, label: str | None, largest: bool) -> MaskPixels:
    """Object and void by number; one number beside the background is the object whatever it is."""
    values = numbers.values
    of_voc = numbers.palette is not None and voc.is_palette(numbers.palette)
    if of_voc and label is not None and (number := voc.number_of(label)) and (values == number).any():
        told = "voc" if voc.is_name(label, number) else f"voc kind: {voc.CLASSES[number - 1]}"
        return MaskPixels(np.asarray(values == number), (told,))
    found = _not_zero(values)
    if numbers.palette is not None:
        black = [i for i, each in enumerate(numbers.palette) if not any(each)]
        found = ~np.isin(values, black) if np.isin(values, black).any() else found
    void, notes = np.zeros_like(found), []
    if numbers.are_colours:
        void = found & (values == _pack(voc.colour(VOID)))
    elif values.dtype == np.uint8:
        void = found & (values == VOID)
        spaced = numbers.palette is None and void.any() and are_spaced(levels_of(values))
        if spaced and not lies_between(values, void, found & ~void):
            void = np.zeros_like(found)
            notes.append("spaced")
    classes = np.unique(values[found & ~void])
    if void.any() and (classes.size or of_voc):
        found = found & ~void
        notes.append("void")
    if classes.size > 1 and largest:
        return MaskPixels(_largest([values == number for number in classes]), tuple(notes))
    if classes.size > 1:
        notes.append("whole" if found.all() else "several")
    return MaskPixels(found, tuple(notes))


def _pick(numbers: _Numbers, wanted: Sequence[str], largest: bool) -> MaskPixels:
    parts = [numbers.find(each) for each in wanted]
    found = _largest(parts) if largest else np.logical_or.reduce(parts)
    if found.any():
        return MaskPixels(found)
    held = [numbers.spell(int(each)) for each in levels_of(numbers.values)[:8]]
    return MaskPixels(found, missing=f"the mask has no value {' or '.join(wanted)}; it has {', '.join(held)}")


def _largest(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[int(np.argmax([np.count_nonzero(part) for part in parts]))]


def _numbers(image: Image.Image) -> _Numbers:
    if image.mode == "P":
        flat = image.getpalette("RGB") or []
        return _Numbers(np.asarray(image), list(zip(flat[::3], flat[1::3], flat[2::3])))
    if image.mode in ("1", "L", "F") or image.mode.startswith("I"):
        return _Numbers(np.asarray(image))
    rgb = np.asarray(image.convert("RGB"))
    if (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 0] == rgb[..., 2]).all():
        return _Numbers(rgb[..., 0])
    red, green, blue = (rgb[..., channel].astype(np.int32) for channel in range(3))
    return _Numbers(red << 16 | green << 8 | blue, are_colours=True)


def _brightness(image: Image.Image, numbers: _Numbers) -> np.ndarray | None:
    """What may be the levels of a soft mask (H, W); a palette's only where all its colours are grey, and more than two."""
    if numbers.are_colours:
        return np.asarray(np.asarray(image.convert("RGB")).max(axis=-1))
    if numbers.palette is None:
        return numbers.values
    used = [numbers.palette[number] for number in np.unique(numbers.values) if number < len(numbers.palette)]
    is_grey = len(set(used)) > 2 and all(red == green == blue for red, green, blue in used)
    return np.asarray(image.convert("L")) if is_grey else None


def _not_zero(values: np.ndarray) -> np.ndarray:
    found = values != 0
    return np.asarray(found & ~np.isnan(values) if values.dtype.kind == "f" else found)


def _pack(colour: Sequence[int]) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]
