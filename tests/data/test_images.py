"""Decoding: every kind of file is upright 8-bit RGB (or a boolean mask), or one clear line."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from das_explain.data import images as imageio
from das_explain.data.images import ImageError, decode_image, full_size
from das_explain.data.mask_pixels import decode_mask
from tests.photos import CORNERS, HEIGHT, STORED, WIDTH, corners, object_mask, photo, store


def rgb_is(image: Image.Image, expected, tolerance: int = 0) -> None:
    assert image.mode == "RGB"
    assert np.abs(corners(image) - np.asarray(expected)).max() <= tolerance


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("x.png", 0), ("x.bmp", 0), ("x.ppm", 0), ("x.tif", 0), ("x.gif", 0), ("x.webp", 12), ("x.jpg", 8), ("X.JPEG", 8)],
)
def test_formats_keep_colours_and_place(tmp_path, name, tolerance):
    path = tmp_path / name
    photo().save(path)
    image = decode_image(path)
    assert image.size == full_size(image) == (WIDTH, HEIGHT)
    rgb_is(image, CORNERS, tolerance)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.tif", "x.webp"])
def test_exif_orientation_is_undone(tmp_path, name, orientation):
    image = decode_image(store(photo(), tmp_path / name, orientation))
    assert image.size == full_size(image) == (WIDTH, HEIGHT)
    rgb_is(image, CORNERS, 12 if name == "x.webp" else 5)


def test_damaged_exif_leaves_the_pixels(tmp_path):
    photo().save(tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage", quality=95, subsampling=0)
    rgb_is(decode_image(tmp_path / "x.jpg"), CORNERS, 4)


def test_grey_and_one_bit(tmp_path):
    ramp = np.array([[0, 80], [160, 255]], np.uint8)
    Image.fromarray(ramp).save(tmp_path / "l.png")
    rgb_is(decode_image(tmp_path / "l.png"), [[v] * 3 for v in (0, 80, 160, 255)])
    Image.fromarray(ramp > 100).save(tmp_path / "1.png")
    rgb_is(decode_image(tmp_path / "1.png"), [[v] * 3 for v in (0, 0, 255, 255)])


def test_cmyk(tmp_path):
    inks = np.zeros((2, 2, 4), np.uint8)
    inks[0, 0, 0] = inks[0, 1, 1] = inks[1, 0, 2] = inks[1, 1, 3] = 255  # cyan, magenta, yellow, black
    Image.fromarray(inks.repeat(16, 0).repeat(16, 1), "CMYK").save(tmp_path / "x.jpg", quality=95)
    expected = [(0, 255, 255), (255, 0, 255), (255, 255, 0), (0, 0, 0)]
    rgb_is(decode_image(tmp_path / "x.jpg"), expected, 6)


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.pgm"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path, name):
    grey = np.array([[0, 257 * 40], [257 * 128, 65535]], np.uint16)
    if name == "x.pgm":  # which Pillow 10 does not write
        (tmp_path / name).write_bytes(b"P5 2 2 65535\n" + grey.astype(">u2").tobytes())
    else:
        Image.fromarray(grey).save(tmp_path / name)
    rgb_is(decode_image(tmp_path / name), [[v] * 3 for v in (0, 40, 128, 255)])


def test_float_tiff(tmp_path):
    for top in (1.0, 255.0):
        Image.fromarray(np.array([[0, 0.2 * top], [0.4 * top, top]], np.float32)).save(tmp_path / "x.tif")
        rgb_is(decode_image(tmp_path / "x.tif"), [[v] * 3 for v in (0, 51, 102, 255)])
    Image.fromarray(np.array([[-1, 0], [np.nan, 1]], np.float32)).save(tmp_path / "x.tif")
    rgb_is(decode_image(tmp_path / "x.tif"), [[v] * 3 for v in (0, 128, 128, 255)])


def test_transparency_is_composited_on_white(tmp_path):
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[..., 3] = [[255, 0], [102, 255]]  # 102 / 255 = 0.4: 0.4 * 200 + 0.6 * 255 = 233, 0.6 * 255 = 153
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    rgb_is(decode_image(tmp_path / "rgba.png"), [(200, 0, 0), (255, 255, 255), (233, 153, 153), (200, 0, 0)], 1)
    Image.fromarray(rgba[..., [0, 3]], "LA").save(tmp_path / "la.png")
    rgb_is(decode_image(tmp_path / "la.png"), [[v] * 3 for v in (200, 255, 233, 200)], 1)
    palette = photo().quantize(4)
    hidden = palette.getpixel((0, 0))
    palette.save(tmp_path / "p.png", transparency=hidden)
    rgb_is(decode_image(tmp_path / "p.png"), [(255, 255, 255), *CORNERS[1:]], 1)
    photo().save(tmp_path / "trns.png", transparency=CORNERS[3])
    rgb_is(decode_image(tmp_path / "trns.png"), [*CORNERS[:3], (255, 255, 255)])


def test_animation_gives_its_first_frame(tmp_path):
    photo().save(tmp_path / "x.gif", save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT), "white")] * 2)
    rgb_is(decode_image(tmp_path / "x.gif"), CORNERS)


def test_one_pixel(tmp_path):
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "x.png")
    image = decode_image(tmp_path / "x.png")
    assert (image.size, image.getpixel((0, 0))) == ((1, 1), (1, 2, 3))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be of any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(b"\0" * 100)), _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "a web page, not an image"),
        (b"\n <html>", "a web page, not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "AVIF"),
        (b"just text", "not an image that can be read"),
        (b"\xff\xd8\xff\xe0 no JPEG after all", "damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image that can be read"),
        (png_bomb(20_000, 20_000), "too large to decode"),  # beyond Pillow's own limit
        (png_bomb(12_000, 12_000), "12000 x 12000 pixels are too many"),  # Pillow would only warn
    ],
)
def test_what_is_no_usable_image_is_one_clear_line(tmp_path, content, says, recwarn):
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=re.escape(says)) as caught:
        decode_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not recwarn.list


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.tif", "x.bmp", "x.gif", "x.webp"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.7])
def test_truncated(tmp_path, name, share, recwarn):
    noise = np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ImageError):
        decode_image(tmp_path / name)
    assert not recwarn.list


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.tif", "x.gif", "x.webp", "x.bmp", "x.ppm"])
def test_flipped_bytes_never_raise_anything_else(tmp_path, name, recwarn):
    photo().save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(1)
    outcomes = set()
    for _ in range(60):
        broken = bytearray(content)
        for place in rng.integers(0, len(broken), 6):
            broken[place] = rng.integers(0, 256)
        (tmp_path / name).write_bytes(broken)
        try:
            outcomes.add(decode_image(tmp_path / name).mode)
        except ImageError as error:
            outcomes.add("refused" if "\n" not in str(error) else "refused in two lines")
    assert outcomes <= {"RGB", "refused"}
    assert not recwarn.list


def test_missing_folder_and_device(tmp_path):
    for path, says in ((tmp_path / "no.jpg", "no such file"), (tmp_path, "a folder"), (Path(os.devnull), "a device")):
        with pytest.raises(ImageError, match=says):
            decode_image(path)
    with pytest.raises(ImageError, match="null"):
        decode_image("a\0b.jpg")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = store(photo(), tmp_path / "x.jpg")
    path.chmod(0)
    with pytest.raises(ImageError, match="no permission"):
        decode_image(path)


def test_permission_error_is_named(tmp_path, monkeypatch):
    path = store(photo(), tmp_path / "x.jpg")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ImageError, match="no permission to read it"):
        decode_image(path)


@pytest.mark.parametrize("orientation", [1, 6])
def test_gigantic_jpeg_is_decoded_smaller(tmp_path, monkeypatch, orientation):
    monkeypatch.setattr(imageio, "MAX_PIXELS", 100 * 80 * 2)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Image.open would refuse it
    image = decode_image(store(photo(400, 320), tmp_path / "x.jpg", orientation))
    assert image.size == (100, 80)  # 1/4: half of it would still be too large
    assert full_size(image) == (400, 320)
    rgb_is(image, CORNERS, 6)


def test_gigantic_others_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(imageio, "MAX_PIXELS", 1000)
    photo().save(tmp_path / "x.png")
    with monkeypatch.context() as undecoded, pytest.raises(ImageError, match="60 x 40 pixels are too many"):
        undecoded.setattr(PngImagePlugin.PngImageFile, "load", lambda _: pytest.fail("its pixels were decoded"))
        decode_image(tmp_path / "x.png")
    photo().save(tmp_path / "x.jpg", progressive=True)  # the decoder would hold all of its coefficients
    with pytest.raises(ImageError, match="baseline JPEG"):
        decode_image(tmp_path / "x.jpg")


def test_nothing_is_printed(tmp_path):
    """Pillow warns and logs about odd files; in a fresh interpreter nothing of it may reach the terminal."""
    tiff = tmp_path / "x.tif"
    photo().save(tiff)
    content = bytearray(tiff.read_bytes())
    at = content.find(struct.pack("<HHI", 277, 3, 1))  # SamplesPerPixel
    content[at + 8 : at + 10] = struct.pack("<H", 900)
    tiff.write_bytes(content)
    (tmp_path / "bomb.png").write_bytes(png_bomb(12_000, 12_000))
    code = (
        "import sys\nfrom das_explain.data.images import *\n"
        "for path in sys.argv[1:]:\n    try: decode_image(path)\n    except ImageError: print('refused')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code, tiff, tmp_path / "bomb.png"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.split() == ["refused", "refused"]
    assert done.stderr == ""


# ---- masks


@pytest.mark.parametrize("kind", ["0/255", "0/1", "1-bit", "16-bit", "colour", "jpeg", "alpha", "la", "float"])
def test_mask_encodings(tmp_path, kind):
    mask = object_mask()
    path = tmp_path / ("x.jpg" if kind == "jpeg" else "x.tif" if kind == "float" else "x.png")
    grey = mask.astype(np.uint8)
    if kind == "0/255":
        image = Image.fromarray(grey * 255)
    elif kind == "0/1":
        image = Image.fromarray(grey)
    elif kind == "1-bit":
        image = Image.fromarray(mask)
    elif kind == "16-bit":
        image = Image.fromarray(grey.astype(np.uint16) * 256)  # the low byte is zero
    elif kind == "colour":
        image = Image.fromarray(np.stack([grey * 0, grey * 0, grey * 128], -1))  # blue on black
    elif kind == "jpeg":
        image = Image.fromarray(grey * 255)
    elif kind == "alpha":
        image = Image.fromarray(np.dstack([grey[..., None].repeat(3, 2) * 0, grey * 255]), "RGBA")  # black cut-out
    elif kind == "la":
        image = Image.fromarray(np.stack([grey * 255, grey * 0 + 255], -1), "LA")  # opaque: the grey decides
    else:
        image = Image.fromarray(np.where(mask, 0.5, 0).astype(np.float32))
    image.save(path, **({"quality": 60} if kind == "jpeg" else {}))
    decoded = decode_mask(path)
    assert decoded.dtype == bool
    np.testing.assert_array_equal(decoded, mask)


def palette_mask(entries: np.ndarray, colours: list[tuple[int, int, int]], path: Path) -> Path:
    image = Image.fromarray(entries.astype(np.uint8), "P")
    image.putpalette([value for colour in colours for value in colour])
    image.save(path)
    return path


def test_palette_masks(tmp_path):
    mask = object_mask()
    voc = palette_mask(mask * 3, [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)], tmp_path / "a.png")
    np.testing.assert_array_equal(decode_mask(voc), mask)
    reordered = palette_mask(1 - mask, [(255, 255, 255), (0, 0, 0)], tmp_path / "b.png")  # black is entry 1
    np.testing.assert_array_equal(decode_mask(reordered), mask)
    without_black = palette_mask(mask * 2, [(255, 255, 255), (9, 9, 9), (255, 0, 0)], tmp_path / "c.png")
    np.testing.assert_array_equal(decode_mask(without_black), mask)


def test_mask_with_another_background_number(tmp_path):
    trimap = np.array([[1, 2, 2], [3, 1, 2]], np.uint8)
    Image.fromarray(trimap).save(tmp_path / "x.png")
    np.testing.assert_array_equal(decode_mask(tmp_path / "x.png", background=2), [[1, 0, 0], [1, 1, 0]])


def test_empty_and_broken_masks(tmp_path):
    Image.new("L", (5, 3)).save(tmp_path / "x.png")
    assert decode_mask(tmp_path / "x.png").shape == (3, 5)
    assert not decode_mask(tmp_path / "x.png").any()
    (tmp_path / "y.png").write_bytes(b"no")
    with pytest.raises(ImageError, match=r"y\.png"):
        decode_mask(tmp_path / "y.png")
