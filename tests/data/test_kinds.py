"""Kinds of image files: newer formats, what is passed over in a folder, and names that are spelt in two ways."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from das_explain.data.dataset import open_dataset, open_images
from das_explain.data.images import EXTENSIONS, ImageError, decode_image, how_to_open
from das_explain.data.walk import describe_passed_over
from das_explain.errors import UsageError
from tests.photos import store

NFC, NFD = (unicodedata.normalize(form, "Käfer-Ångström") for form in ("NFC", "NFD"))


def photo(width: int = 12, height: int = 8) -> Image.Image:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = (200, 30, 20)
    return Image.fromarray(pixels)


# ---- passed over


def test_other_files_are_counted_by_their_ending_the_most_frequent_first(tmp_path: Path) -> None:
    store(photo(), tmp_path / "a.png")
    for name in ("x.jp2", "one.HEIC", "two.heic", "b.xyz", ".hidden", "Thumbs.db", "README"):
        (tmp_path / name).write_bytes(b"?")
    heic = 0 if ".heic" in EXTENSIONS else 2
    (note,) = open_dataset(tmp_path).notes
    listed = "2 .heic, 1 .jp2, 1 .xyz, 1 no ending" if heic else "1 .jp2, 1 .xyz, 1 no ending"
    assert note.startswith(f"{heic + 3} files passed over in {tmp_path}: {listed}")
    assert ("das-explain[heic]" in note) == bool(heic)


def test_beyond_four_endings_only_their_number_is_told() -> None:
    others = Counter({".a": 3, ".b": 2, ".c": 2, ".d": 1, ".e": 1, ".f": 1})
    assert describe_passed_over(Path("p"), others) == ("10 files passed over in p: 3 .a, 2 .b, 2 .c, 1 .d, 2 more",)
    assert describe_passed_over(Path("p"), Counter({".txt": 1})) == ("1 file passed over in p: 1 .txt",)


def test_a_folder_of_images_alone_has_no_note_and_masks_keep_the_note(tmp_path: Path) -> None:
    store(photo(), tmp_path / "photos" / "a.png")
    store(photo().convert("L"), tmp_path / "masks" / "a.png")
    assert open_dataset(tmp_path / "photos").notes == ()
    (tmp_path / "photos" / "notes.txt").write_text("x")
    note = f"1 file passed over in {tmp_path / 'photos'}: 1 .txt"
    assert open_dataset(tmp_path / "photos", masks=tmp_path / "masks").notes == (note,)
    assert open_images([tmp_path / "photos"]).notes == (note,)
    assert open_images([tmp_path / "photos" / "a.png"]).notes == ()


def test_files_in_the_folder_of_masks_are_not_passed_over(tmp_path: Path) -> None:
    store(photo(), tmp_path / "a.png")
    store(photo().convert("L"), tmp_path / "masks" / "a.png")
    (tmp_path / "masks" / "about.txt").write_text("x")
    assert open_dataset(tmp_path, masks=tmp_path / "masks").notes == ()


def test_a_note_does_not_enter_the_fingerprint(tmp_path: Path) -> None:
    store(photo(), tmp_path / "a.png")
    before = open_dataset(tmp_path).fingerprint
    (tmp_path / "b.txt").write_text("x")
    assert open_dataset(tmp_path).fingerprint == before


# ---- newer formats


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_photos_are_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    photo(48, 32).save(tmp_path / "a.avif", exif=exif, quality=95)
    (sample,) = open_dataset(tmp_path).samples
    image = decode_image(sample.path)
    assert (image.mode, image.size) == ("RGB", (32, 48))
    pixels = np.asarray(image).astype(int)
    assert abs(pixels[4, 16] - (200, 30, 20)).max() < 12  # what was left is now above
    assert pixels[44, 16].max() < 12


def test_heic_photos_are_read_upright_with_the_extra(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    exif = Image.Exif()
    exif[0x0112] = 6
    heif.from_pillow(photo(64, 48)).save(tmp_path / "a.heic", exif=exif.tobytes(), quality=95)
    (sample,) = open_dataset(tmp_path).samples
    image = decode_image(sample.path)
    assert (image.mode, image.size) == ("RGB", (48, 64))
    pixels = np.asarray(image).astype(int)
    assert abs(pixels[8, 24] - (200, 30, 20)).max() < 12
    assert pixels[56, 24].max() < 12


def test_a_heic_photo_without_the_extra_names_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"  # as messengers rename them
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    if ".heic" in EXTENSIONS:
        with pytest.raises(ImageError, match="cannot be decoded|not an image that can be read"):
            decode_image(path)
    else:
        with pytest.raises(ImageError, match=r"HEIC photos need the package pillow-heif: .*das-explain\[heic\]"):
            decode_image(path)
        with pytest.raises(UsageError, match=r"holds no images .*1 \.heic; HEIC photos need .*das-explain\[heic\]"):
            path.rename(tmp_path / "a.heic")
            open_dataset(tmp_path)


def test_only_what_a_package_would_open_has_advice() -> None:
    assert how_to_open(".jpg") == how_to_open(".jp2") == ""
    assert bool(how_to_open(".heif")) == (".heif" not in EXTENSIONS)


# ---- names in two spellings


@pytest.mark.parametrize(("of_photo", "of_mask"), [(NFC, NFD), (NFD, NFC)])
def test_masks_match_photos_whose_accents_are_spelt_the_other_way(tmp_path: Path, of_photo: str, of_mask: str) -> None:
    store(photo(), tmp_path / "photos" / of_photo / f"{of_photo}.png")
    store(photo().convert("L"), tmp_path / "masks" / of_mask / f"{of_mask}.png")
    (sample,) = open_dataset(tmp_path / "photos", masks=tmp_path / "masks").samples
    assert sample.name == f"{of_photo}/{of_photo}.png"
    assert sample.mask_path == tmp_path / "masks" / of_mask / f"{of_mask}.png"


@pytest.mark.parametrize(("on_disk", "written"), [(NFC, NFD), (NFD, NFC)])
def test_a_table_finds_files_whose_accents_are_spelt_the_other_way(tmp_path: Path, on_disk: str, written: str) -> None:
    store(photo(), tmp_path / f"{on_disk}.png")
    (tmp_path / "list.csv").write_text(f"image,label\n{written}.png,beetle\n", encoding="utf-8")
    (sample,) = open_dataset(tmp_path / "list.csv").samples
    assert sample.path.read_bytes()
    (tmp_path / "boxes.csv").write_text(f"image,x0,y0,x1,y1\n{written}.png,1,1,5,5\n", encoding="utf-8")
    (boxed,) = open_dataset(tmp_path / "list.csv", boxes=tmp_path / "boxes.csv").samples
    assert boxed.boxes == ((1.0, 1.0, 5.0, 5.0),)


def test_two_files_that_differ_in_the_spelling_alone_are_two_masks(tmp_path: Path) -> None:
    store(photo(), tmp_path / "photos" / f"{NFC}.png")
    for name in (NFC, NFD):
        store(photo().convert("L"), tmp_path / "masks" / f"{name}.png")
    if len(list((tmp_path / "masks").iterdir())) == 2:  # a file system that knows them apart
        with pytest.raises(UsageError, match="two masks fit"):
            open_dataset(tmp_path / "photos", masks=tmp_path / "masks")
