"""Image files in, upright 8-bit RGB out; whatever cannot be read becomes one clear line.

Only raster formats that Pillow decodes by itself are opened (``FORMATS``): a PostScript file in a folder of photos must
not start Ghostscript. The pixel limit is ours and per format, and no warning reaches the terminal.
"""

from __future__ import annotations

import ctypes
import logging
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO
from unicodedata import category

import numpy as np
from PIL import (  # noqa: F401
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from das_explain.data.remote import fetched
from das_explain.errors import DasExplainError

with suppress(ImportError):  # Pillow before 11.3
    from PIL import AvifImagePlugin  # noqa: F401

_HEIC = frozenset([".heic", ".heif", ".hif"])
_AVIF = frozenset([".avif"])
_ALWAYS = frozenset(
    [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm"]
)
EXTENSIONS = (  # lower case, what is picked up in folders
    _ALWAYS | (_AVIF if find_spec("PIL._avif") else frozenset()) | (_HEIC if find_spec("pillow_heif") else frozenset())
)
FORMATS = ("PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "HEIF")  # JPEG is opened apart, see _open_format
MAX_PIXELS = 89_478_485  # Pillow's own threshold; 256 MiB as RGB. A larger JPEG is decoded at 1/2, 1/4 or 1/8 size
MAX_MASK_PIXELS = 2 * MAX_PIXELS  # one channel in place of three; Pillow refuses more by itself

_TURNS = {  # EXIF orientations that swap width and height -> what makes the stored pixels upright
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXIF_ORIENTATION = 0x0112

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its complaints about odd files go to stderr
with suppress(AttributeError, OSError):  # and libtiff's, which writes there by itself; on Windows it cannot be reached
    for _handler in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        _set = getattr(ctypes.CDLL(Image.core.__file__), _handler)
        _set.argtypes, _set.restype = [ctypes.c_void_p], ctypes.c_void_p
        _set(None)


class ImageError(DasExplainError):
    """An image or mask file that cannot be used: missing, broken, too large, or not an image."""


def printable(path: str | os.PathLike[str]) -> str:
    """A path as valid one-line Unicode, with bytes that are no UTF-8 and control characters escaped."""
    text = os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c.encode("unicode_escape").decode() if category(c) in ("Cc", "Zl", "Zp") else c for c in text)


def decode_image(path: str | os.PathLike[str]) -> Image.Image:
    """Reads a photo of any supported kind: upright (EXIF), mode RGB, 8 bits, transparency over white, first frame.

    A JPEG of more than ``MAX_PIXELS`` comes at a half, a quarter or an eighth of its size; ``full_size`` still tells
    the photo's own. Raises ``ImageError``.
    """
    with _open_image(path) as image:
        width, height = image.size
        reduced = width * height > MAX_PIXELS
        if reduced:
            _reduce(image, path)
        unseen = _is_turned_unseen(image, width == height)
        image.load()  # Pillow 10 turns a TIFF here
        turned = _make_upright(image)
        rgb = as_rgb(image)
        whole = (height, width) if turned else (width, height)
        rgb.info = {"full_size": whole if reduced else rgb.size, "turned_unseen": unseen}
        return rgb


def full_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) of the upright photo that ``decode_image`` read, also where it was decoded smaller."""
    return image.info.get("full_size", image.size)


def was_turned_unseen(image: Image.Image) -> bool:
    """Whether EXIF turned the photo that ``decode_image`` read but left its size: by its size, a mask of it may be of either
    way up."""
    return image.info.get("turned_unseen", False)


def load_mask(path: str | os.PathLike[str]) -> Image.Image:
    """A mask file, decoded and turned upright (EXIF), its values as stored. Raises ``ImageError``."""
    with _open_image(path) as image:
        if image.width * image.height > MAX_MASK_PIXELS:
            raise ImageError(f"{printable(path)}: {_too_large(image)}; make the mask smaller together with its photo")
        image.load()
        _make_upright(image)
        return image


def stored_turn(path: str | os.PathLike[str]) -> Image.Transpose | None:
    """What turns a photo's stored pixels upright if that swaps width and height (EXIF 5 to 8), else ``None``."""
    with _open_image(path) as image:
        return _TURNS.get(image.getexif().get(_EXIF_ORIENTATION, 1))


def turned_unseen(path: str | os.PathLike[str]) -> bool:
    """``was_turned_unseen`` of a photo that is not decoded for it."""
    with _open_image(path) as image:
        return _is_turned_unseen(image, image.width == image.height)


def _is_turned_unseen(image: Image.Image, is_square: bool) -> bool:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION)
    except Exception:  # a damaged EXIF block says nothing about which way is up
        return False
    return orientation in (2, 3, 4) or (orientation in _TURNS and is_square)


def has_turn(path: str | os.PathLike[str]) -> bool:
    """Whether a file has an EXIF orientation other than upright."""
    with _open_image(path) as image:
        return image.getexif().get(_EXIF_ORIENTATION) in (2, 3, 4, *_TURNS)


def is_lossy(path: str | os.PathLike[str], image: Image.Image) -> bool:
    """Whether a file's format scatters values: any JPEG, and a WebP whose pixels are a ``VP8`` and no ``VP8L`` chunk."""
    if image.format != "WEBP":
        return image.format in ("JPEG", "MPO")
    with open(fetched(path), "rb") as stream:
        stream.seek(12)
        while len(head := stream.read(8)) == 8:
            name, size = head[:4], int.from_bytes(head[4:], "little")
            if name in (b"VP8 ", b"VP8L"):
                return name == b"VP8 "
            stream.seek(16 if name == b"ANMF" else size + size % 2, os.SEEK_CUR)  # an animation's frames hold chunks
    return False


def as_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode -> RGB: deep grey scaled to 8 bits, not clipped; transparency composited on white."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_deep_to_8bit(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _deep_to_8bit(values: np.ndarray) -> np.ndarray:
    """16-bit grey by its full range, floats by the first of 1, 255, 65535 that holds them; else by their own range."""
    ranges = (1.0, 255.0, 65535.0) if values.dtype.kind == "f" else (65535.0,)
    values = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    fitting = [top for top in ranges if low >= 0 and high <= top]
    if fitting:
        low, high = 0.0, fitting[0]
    scale = 255.0 / (high - low) if high > low else 0.0
    return np.rint((values - low) * scale).astype(np.uint8)


def _make_upright(image: Image.Image) -> bool:
    """Turns a loaded image by its EXIF orientation, in place; whether that swapped width and height."""
    before = image.size
    try:
        swapped = image.getexif().get(_EXIF_ORIENTATION) in _TURNS
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # a damaged EXIF block: the pixels are fine, and say nothing about which way is up
        return image.size != before
    return swapped


def _reduce(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Lets the JPEG decoder skip resolution, so that a gigantic photo never stands in memory as a whole."""
    width, height = image.size
    # The decoder holds all coefficients of a progressive file at once, whatever the scale.
    limit = 2 * MAX_PIXELS if image.info.get("progressive") else 64 * MAX_PIXELS
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or width * height > limit:
        raise ImageError(f"{printable(path)}: {_too_large(image)}; make it smaller or save it as a baseline JPEG")
    for scale in (2, 4, 8):
        if width * height <= MAX_PIXELS * scale * scale:
            break
    image.draft(None, (width // scale, height // scale))


def _too_large(image: Image.Image) -> str:
    return f"{image.width} x {image.height} pixels are too many to decode"


@contextmanager
def _open_image(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """The file as a lazy Pillow image; every error on the way and in the body becomes an ``ImageError``."""
    head = b""
    try:
        path = fetched(path)
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ImageError(f"{printable(path)}: {'a folder' if Path(path).is_dir() else 'a device'}, not an image")
        with open(path, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            head = stream.read(256)
            stream.seek(0)
            with _open_format(stream, head) as image:
                yield image
    except ImageError:
        raise
    except DasExplainError as error:  # a remote file that cannot be had
        raise ImageError(str(error)) from None
    except Exception as error:  # decoders meet hostile bytes with every exception there is
        raise ImageError(f"{printable(path)}: {_what_was_wrong(error, head)}") from None


def how_to_open(ending: str) -> str:
    """What to install for photos with this ending (lower case, with its dot); empty if nothing would help."""
    if ending in EXTENSIONS:
        return ""
    if ending in _HEIC:
        return "HEIC photos need the package pillow-heif: pip install 'das-explain[heic]'"
    return "AVIF photos need Pillow 11.3 or newer: pip install -U pillow" if ending in _AVIF else ""


def _open_format(stream: BinaryIO, head: bytes) -> Image.Image:
    """Image.open, but a JPEG of any size passes (``Image.open`` refuses large ones before they can be reduced)."""
    if head.startswith(b"\xff\xd8\xff"):
        try:
            return JpegImagePlugin.jpeg_factory(stream)
        except SyntaxError as error:
            raise UnidentifiedImageError(str(error)) from None
    if head[4:8] == b"ftyp" and "HEIF" not in Image.OPEN and find_spec("pillow_heif"):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return Image.open(stream, formats=[name for name in FORMATS if name in Image.OPEN])


def _what_was_wrong(error: Exception, head: bytes) -> str:
    """What kept a file, of which ``head`` are the first bytes, from being decoded, and what to do about it."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, Image.DecompressionBombError):
        return f"too large to decode ({_one_line(error)}); make it smaller or save it as a baseline JPEG"
    if not isinstance(error, UnidentifiedImageError):
        return f"cannot be decoded ({_one_line(error)}); the file is damaged or of an unusual kind"
    return _what_else(head)


def _what_else(head: bytes) -> str:
    """Names what a file that is no image seems to be, by its first bytes."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "the file is empty"
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page, not an image (a download that failed?)"
    if text.startswith((b"<svg", b"<?xml")):
        return "SVG or XML, not a raster image; export it as PNG"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the image itself; run git lfs pull"
    if head[4:8] == b"ftyp":
        kind = ".avif" if head[8:12] in (b"avif", b"avis") else ".heic"
        return how_to_open(kind) or "not an image that can be read, though it begins like one of AVIF or HEIC"
    return "not an image that can be read; convert it to JPEG or PNG"


def _one_line(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
