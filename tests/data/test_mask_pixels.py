"""Which pixels of a mask file are the object: areas counted by hand, in a mask of 60 x 40 whose object is 20 x 30."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, features

from das_explain.classnames import synsets
from das_explain.data import voc
from das_explain.data.images import ImageError
from das_explain.data.mask_pixels import cut_soft, read_mask_file
from tests.photos import HEIGHT, WIDTH, object_mask

OBJECT = 20 * 30
VOC = [voc.colour(number) for number in range(256)]


def stored(pixels: np.ndarray | Image.Image, path: Path, mode: str | None = None) -> Path:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)
    return path


def indexed(entries: np.ndarray, colours: list[tuple[int, int, int]], path: Path) -> Path:
    image = Image.fromarray(entries.astype(np.uint8), "P")
    image.putpalette([value for colour in colours for value in colour])
    image.save(path)
    return path


def disc() -> np.ndarray:
    """Rows, columns within 60 of the middle of 200 x 200: 11,289 pixels would be exact."""
    rows, columns = np.mgrid[:200, :200] - 100
    return rows**2 + columns**2 < 60**2


def noise(top: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, top + 1, (HEIGHT, WIDTH)).astype(np.uint8)


def matte(alpha: np.ndarray, path: Path) -> Path:
    return stored(np.dstack([np.full((HEIGHT, WIDTH, 3), 90, np.uint8), alpha.astype(np.uint8)]), path)


def grey(values: np.ndarray, path: Path) -> Path:
    return stored(values.astype(np.uint8), path)


def colours(values: np.ndarray, path: Path) -> Path:
    return stored(np.repeat(values.astype(np.uint8)[..., None], 3, axis=2), path)


def red(values: np.ndarray, path: Path) -> Path:
    return stored(np.dstack([values, values // 3, values * 0]).astype(np.uint8), path)


def palette_of_greys(values: np.ndarray, path: Path) -> Path:
    return indexed(values, [(value, value, value) for value in range(256)], path)


EVERY_KIND = pytest.mark.parametrize("kind", [matte, grey, colours, red, palette_of_greys])


@EVERY_KIND
@pytest.mark.parametrize("top", [2, 5])
def test_noise_around_the_object_is_not_the_object(tmp_path, kind, top):
    values = np.where(object_mask(), 255 - noise(top), noise(top))
    found = read_mask_file(kind(values, tmp_path / "m.png"))
    np.testing.assert_array_equal(found.mask, object_mask())
    assert found.notes == ("soft",)


@pytest.mark.parametrize("kind", [matte, grey, colours])
def test_a_dark_background_is_not_the_object(tmp_path, kind):
    found = read_mask_file(kind(np.where(object_mask(), 255, 3), tmp_path / "m.png"))
    np.testing.assert_array_equal(found.mask, object_mask())
    assert found.notes == ("soft",)


@EVERY_KIND
def test_a_blurred_edge_is_cut_where_it_is_half(tmp_path, kind):
    image = Image.fromarray(object_mask().astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(3))
    values = np.asarray(image)
    found = read_mask_file(kind(values, tmp_path / "m.png"))
    assert found.notes == ("soft",)
    np.testing.assert_array_equal(found.mask, values > values.max() / 2)
    assert abs(int(found.mask.sum()) - OBJECT) <= 12  # its one free corner is rounded


@EVERY_KIND
@pytest.mark.parametrize("how", [Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS])
def test_a_resized_mask_is_its_object(tmp_path, kind, how):
    large = Image.fromarray(object_mask(4 * WIDTH, 4 * HEIGHT).astype(np.uint8) * 255)
    moved = large.transform(large.size, Image.Transform.AFFINE, (1, 0, -2, 0, 1, 2))  # by half a pixel of the small one
    values = np.asarray(moved.resize((WIDTH, HEIGHT), how))
    assert 2 < len(np.unique(values)) < 40
    found = read_mask_file(kind(values, tmp_path / "m.png"))
    assert found.notes == ("soft",)
    np.testing.assert_array_equal(found.mask, values > 127)


def test_soft_masks_of_more_bits_and_fractions(tmp_path):
    soft = np.where(object_mask(), 1.0, 0.0) * 0.9 + noise(2) / 255
    np.testing.assert_array_equal(
        read_mask_file(stored(soft.astype(np.float32), tmp_path / "m.tif")).mask, object_mask()
    )
    deep = (soft * 60000).astype(np.uint16)
    np.testing.assert_array_equal(read_mask_file(stored(deep, tmp_path / "m.png")).mask, object_mask())
    assert cut_soft(soft).notes == ("soft",)
    np.testing.assert_array_equal(cut_soft(soft).mask, object_mask())
    np.testing.assert_array_equal(cut_soft(object_mask()).mask, object_mask())
    np.testing.assert_array_equal(cut_soft(np.where(object_mask(), 0.3, 0.0)).mask, object_mask())


def test_the_unknown_band_of_a_matting_trimap(tmp_path):
    values = np.zeros((HEIGHT, WIDTH))
    values[10:, :20], values[8:10, :22], values[8:, 20:22] = 255, 128, 128
    found = read_mask_file(grey(values, tmp_path / "m.png"))
    assert (int(found.mask.sum()), found.notes) == (22 * 32, ("soft",))  # 128 is above half of 255; 255 is no void


@EVERY_KIND
@pytest.mark.parametrize("value", [1, 7, 255])
def test_a_mask_of_two_values_is_as_it_always_was(tmp_path, kind, value):
    found = read_mask_file(kind(object_mask() * value, tmp_path / "m.png"))
    np.testing.assert_array_equal(found.mask, object_mask())
    assert found.notes == ()


@pytest.mark.parametrize("opaque", [255, 254, 200])
def test_a_matte_that_hides_nothing_leaves_it_to_the_colours(tmp_path, opaque):
    pixels = np.dstack([*[object_mask() * 255] * 3, np.full((HEIGHT, WIDTH), opaque)]).astype(np.uint8)
    np.testing.assert_array_equal(read_mask_file(stored(pixels, tmp_path / "m.png")).mask, object_mask())


# ---- soft masks that are dim, and class numbers that climb like a blur


@pytest.mark.parametrize("kind", [matte, grey, colours, palette_of_greys])
@pytest.mark.parametrize("peak", [20, 60, 120, 200])
@pytest.mark.parametrize("top", [1, 5])
def test_noise_around_a_dim_object_is_not_the_object(tmp_path, kind, peak, top):
    if top * 8 > peak:
        return  # a quarter of the maximum is no noise
    values = np.where(object_mask(), peak, noise(top))
    found = read_mask_file(kind(values, tmp_path / "m.png"))
    np.testing.assert_array_equal(found.mask, object_mask())  # was 88 % of the photo
    assert found.notes == ("soft",)


@pytest.mark.parametrize("background", [1, 3, 5])
def test_a_dark_background_under_a_dim_object(tmp_path, background):
    found = read_mask_file(grey(np.where(object_mask(), 100, background), tmp_path / "m.png"))
    np.testing.assert_array_equal(found.mask, object_mask())  # was the whole photo
    assert found.notes == (("soft",) if background < 5 else ("soft", "left out: 5"))


def test_two_bright_values_are_not_cut_in_silence(tmp_path):
    found = read_mask_file(grey(np.where(object_mask(), 200, 150), tmp_path / "m.png"))
    assert (found.mask.all(), found.notes) == (True, ("whole",))  # was the whole photo, as a soft mask
    found = read_mask_file(grey(np.where(object_mask(), 200, 90), tmp_path / "n.png"))
    assert (int(found.mask.sum()), found.notes) == (OBJECT, ("soft", "left out: 90"))


def test_specks_of_classes_beside_void_are_classes(tmp_path):
    values = np.zeros((HEIGHT, WIDTH), int)
    values[8:, :22], values[10:, :20] = 255, 12
    rng = np.random.default_rng(0)
    specks = rng.permutation(np.flatnonzero(values.ravel() == 0))[:40]
    values.ravel()[specks] = np.arange(40) % 10 + 1  # each of ten classes four pixels, none of them an area
    found = read_mask_file(grey(values, tmp_path / "m.png"))
    assert (int(found.mask.sum()), found.notes) == (600 + 40, ("void", "several"))


def blurred(peak: int, radius: float) -> np.ndarray:
    return np.asarray(Image.fromarray(disc().astype(np.uint8) * peak).filter(ImageFilter.GaussianBlur(radius)))


@pytest.mark.parametrize(("peak", "radius"), [(20, 1), (20, 3), (20, 10), (50, 20), (90, 3), (120, 6), (255, 20)])
def test_a_blur_is_cut_at_half_whatever_its_maximum(tmp_path, peak, radius):
    values = blurred(peak, radius)
    found = read_mask_file(grey(values, tmp_path / "m.png"))
    np.testing.assert_array_equal(found.mask, values > int(values.max()) / 2)
    assert found.notes == ("soft",)


def test_a_mask_that_jpeg_went_over_is_soft_in_any_format(tmp_path):
    jpeg = grey(disc() * 255, tmp_path / "m.jpg")
    found = read_mask_file(stored(Image.open(jpeg), tmp_path / "m.png"))
    assert abs(int(found.mask.sum()) - int(disc().sum())) < 0.002 * disc().sum()
    assert found.notes == ("soft",)


def strips(width: int) -> np.ndarray:
    return np.tile(np.arange(200) // width, (200, 1))


@pytest.mark.parametrize(
    "numbers",
    [
        strips(5),
        strips(2),
        strips(5).T,
        strips(5) + strips(5).T,
        np.kron(np.arange(100).reshape(10, 10), np.ones((20, 20))),
    ],
    ids=["40 strips", "100 strips", "rows", "diagonal", "patches"],
)
def test_numbers_that_climb_from_area_to_area_are_classes(tmp_path, numbers):
    found = read_mask_file(grey(numbers, tmp_path / "m.png"))
    np.testing.assert_array_equal(found.mask, numbers > 0)  # was half of it
    assert found.notes == ("several",)


@pytest.mark.parametrize("void", [0, 255])
def test_thin_and_small_classes_are_classes(tmp_path, void):
    values = np.zeros((HEIGHT, WIDTH), int)
    values[10:, :20] = 12  # 600
    values[9, :21] = values[9:, 20] = void
    values[3, :], values[:3, 40], values[20, 30:50] = 5, 7, 1  # lines of 60, 3 and 20
    found = read_mask_file(grey(values, tmp_path / "m.png"))
    assert (int(found.mask.sum()), found.notes[-1]) == (600 + 60 + 3 + 20, "several")


@pytest.mark.parametrize("odd", [254, 253])
def test_all_but_white_beside_white_is_one_object(tmp_path, odd):
    values = object_mask() * 255
    values[20:, :20], values[:5] = odd, 1
    found = read_mask_file(grey(values, tmp_path / "m.png"))
    np.testing.assert_array_equal(found.mask, object_mask())  # was that without the white, as if it were void
    assert found.notes == ("soft",)


def test_vocs_numbers_are_classes(tmp_path):
    values = np.kron(np.arange(1, 21).reshape(4, 5), np.ones((8, 10))).astype(int)  # 20 classes of 80
    values = np.pad(values, ((4, 4), (5, 5)))
    values[4, 5:55] = 255  # 50 of the first five
    found = read_mask_file(grey(values, tmp_path / "m.png"))
    assert (int(found.mask.sum()), found.notes) == (20 * 80 - 50, ("void", "several"))


# ---- objects drawn in even steps of grey


@pytest.mark.parametrize("half", [127, 128])
def test_two_instances_are_no_trimap(tmp_path, half):
    values = np.zeros((HEIGHT, WIDTH), int)
    values[10:, :20], values[:10, 40:50] = 255, half  # apart
    found = read_mask_file(grey(values, tmp_path / "m.png"))
    assert (int(found.mask.sum()), found.notes) == (700, ("spaced", "several"))  # 127 was lost
    values[10:20, 20:30] = half  # side by side
    found = read_mask_file(grey(values, tmp_path / "m.png"))
    assert (int(found.mask.sum()), found.notes) == (800, ("spaced", "several"))
    assert read_mask_file(tmp_path / "m.png", largest=True).mask.sum() == 600


def test_the_band_of_a_trimap_that_is_left_out_is_told(tmp_path):
    values = np.zeros((HEIGHT, WIDTH))
    values[8:, :22] = 127
    values[10:, :20] = 255
    found = read_mask_file(grey(values, tmp_path / "m.png"))
    assert (int(found.mask.sum()), found.notes) == (600, ("soft", "left out: 127"))


def test_objects_in_even_steps_of_grey_are_all_objects(tmp_path):
    values = np.zeros((HEIGHT, WIDTH), int)
    values[10:, :20], values[:10, 40:50], values[30:, 50:] = 255, 85, 170
    found = read_mask_file(grey(values, tmp_path / "m.png"))
    assert (int(found.mask.sum()), found.notes) == (600 + 100 + 100, ("spaced", "several"))  # 255 was void
    uneven = np.where(values == 85, 80, values)
    assert read_mask_file(grey(uneven, tmp_path / "n.png")).notes == ("void", "several")


@pytest.mark.parametrize("number", [127, 128])
def test_a_void_edge_is_void_also_where_the_steps_are_even(tmp_path, number):
    values = np.zeros((HEIGHT, WIDTH), int)
    values[8:, :22] = 255
    values[10:, :20] = number
    found = read_mask_file(grey(values, tmp_path / "m.png"))
    assert (int(found.mask.sum()), found.notes) == (600, ("void",))


# ---- class numbers


def scene() -> np.ndarray:
    """A dog (12) of 600 pixels with a void edge (255) of 80, a person (15) of 10 x 10."""
    values = np.zeros((HEIGHT, WIDTH), int)
    values[8:, :22] = 255
    values[10:, :20] = 12
    values[:10, 40:50] = 15
    return values


DOG, PERSON, EDGE = 600, 100, 22 * 32 - 600


@pytest.mark.parametrize("kind", [grey, palette_of_greys, lambda values, path: indexed(values, VOC, path)])
def test_void_is_no_part_of_the_object(tmp_path, kind):
    found = read_mask_file(kind(scene(), tmp_path / "m.png"))
    assert (int(found.mask.sum()), found.notes) == (DOG + PERSON, ("void", "several"))
    one = np.where(scene() == 15, 0, scene())
    found = read_mask_file(kind(one, tmp_path / "m.png"))
    assert (int(found.mask.sum()), found.notes) == (DOG, ("void",))


def test_void_among_vocs_colours(tmp_path):
    pixels = np.array(VOC, np.uint8)[scene()]
    found = read_mask_file(stored(pixels, tmp_path / "m.png"))
    assert (int(found.mask.sum()), found.notes) == (DOG + PERSON, ("void", "several"))


def test_nothing_but_void_is_an_object_unless_the_palette_is_vocs(tmp_path):
    values = object_mask() * 255
    assert read_mask_file(grey(values, tmp_path / "a.png")).mask.sum() == OBJECT  # 0/255
    assert read_mask_file(indexed(values, VOC, tmp_path / "b.png")).mask.sum() == 0


@pytest.mark.parametrize(("label", "area"), [("dog", DOG), ("Person", PERSON)])
def test_vocs_palette_tells_which_number_is_the_photos_class(tmp_path, label, area):
    path = indexed(scene(), VOC, tmp_path / "m.png")
    found = read_mask_file(path, label=label)
    assert (int(found.mask.sum()), found.notes) == (area, ("voc",))
    assert read_mask_file(path, label="zebra").notes == ("void", "several")  # told, not guessed
    assert read_mask_file(path, label="cat").notes == ("void", "several")  # VOC's, but not in this file
    assert read_mask_file(grey(scene(), tmp_path / "g.png"), label=label).notes == ("void", "several")


@pytest.mark.parametrize(
    ("label", "number"),
    [
        *[
            ("airplane", 1),
            ("Aeroplane", 1),
            ("airliner", 1),
            ("television", 20),
            ("tv/monitor", 20),
            ("TV_Monitor", 20),
        ],
        *[("tabby", 8), ("n02123045", 8), ("n02123045-tabby", 8), ("Persian cat", 8), ("Chihuahua", 12), ("robin", 3)],
        *[
            ("couch", 18),
            ("Motorcycle", 14),
            ("potted-plant", 16),
            ("dining_table", 11),
            ("tiger", None),
            ("bear", None),
        ],
        *[
            ("crane", None),
            ("lynx", None),
            ("timber wolf", None),
            ("sea lion", None),
            ("grey whale", None),
            ("bench", None),
        ],
    ],
)
def test_other_names_and_kinds_of_vocs_classes(tmp_path, label, number):
    assert voc.number_of(label) == number
    values = np.zeros((HEIGHT, WIDTH), int)
    values[10:, :20], values[:10, 40:50] = number or 8, 15
    found = read_mask_file(indexed(values, VOC, tmp_path / "m.png"), label=label)
    if number is None:
        assert (int(found.mask.sum()), found.notes) == (700, ("several",))
        return
    is_its_own = label in ("Aeroplane", "TV_Monitor", "potted-plant", "dining_table")
    told = "voc" if is_its_own else f"voc kind: {voc.CLASSES[number - 1]}"
    assert (int(found.mask.sum()), found.notes) == (600, (told,))


def test_every_kind_of_vocs_classes_is_one_of_imagenets():
    kinds = [place for places in voc._KINDS.values() for place in places]
    assert set(voc._KINDS) | set(voc._ALSO) == set(voc.CLASSES)
    assert len(kinds) == len(set(kinds))
    words = list(synsets().values())
    first = {name: [words[place][0] for place in places] for name, places in voc._KINDS.items()}
    assert (first["dog"][0], first["dog"][-1]) == ("Chihuahua", "Mexican hairless")
    assert first["cat"] == ["tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"]
    assert [first["bird"][at] for at in (0, 17, 18, 38, 39, -1)] == [
        *("cock", "great grey owl", "black grouse", "black swan", "white stork", "albatross")
    ]
    assert first["tv monitor"] == ["monitor", "screen", "television"]
    assert first["train"] == ["bullet train", "electric locomotive", "passenger car", "steam locomotive"]


def test_vocs_palette_is_pascal_vocs():
    assert VOC[:4] == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
    assert [VOC[voc.number_of(name)] for name in ("cat", "person", "tvmonitor")] == [
        (64, 0, 0),
        (192, 128, 128),
        (0, 64, 128),
    ]


@pytest.mark.parametrize(
    ("wanted", "area"),
    [(("12",), DOG), (("15",), PERSON), (("12", "15"), DOG + PERSON), (("255",), EDGE), (("#400080",), DOG)],
)
def test_a_value_says_what_the_object_is(tmp_path, wanted, area):
    path = indexed(scene(), VOC, tmp_path / "m.png")
    assert read_mask_file(path, wanted=wanted, label="person").mask.sum() == area
    pixels = stored(np.array(VOC, np.uint8)[scene()], tmp_path / "c.png")
    if wanted[0].startswith("#"):
        assert read_mask_file(pixels, wanted=wanted).mask.sum() == area
    else:
        assert read_mask_file(grey(scene(), tmp_path / "g.png"), wanted=wanted).mask.sum() == area
        with pytest.raises(ImageError, match=r"c\.png: it holds colours and no numbers: \d+ is to be a colour"):
            read_mask_file(pixels, wanted=wanted)


def test_a_value_that_the_mask_lacks_or_that_is_none(tmp_path):
    path = grey(scene(), tmp_path / "m.png")
    found = read_mask_file(path, wanted=("3",))
    assert not found.mask.any()
    assert found.missing == "the mask has no value 3; it has 0, 12, 15, 255"
    for wrong in ("dog", "#12", "#gggggg"):
        with pytest.raises(ImageError, match=rf"m\.png: '{wrong}' is"):
            read_mask_file(path, wanted=(wrong,))


def test_numbers_are_not_looked_for_in_a_jpeg(tmp_path):
    with pytest.raises(ImageError, match=r"m\.jpg: a JPEG keeps no numbers"):
        read_mask_file(grey(scene(), tmp_path / "m.jpg"), wanted=("12",))


# ---- files that scatter values


def webp(image: Image.Image, path: Path, **options) -> Path:
    image.save(path, "WEBP", **options)
    return path


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("quality", [10, 30, 80])
@pytest.mark.parametrize("extra", [{}, {"exif": Image.Exif(), "xmp": b"<x/>", "icc_profile": b"odd"}])
def test_a_webp_with_loss_is_cut_at_half(tmp_path, mode, quality, extra):
    drawn = Image.fromarray(disc().astype(np.uint8) * 255).convert(mode)
    found = read_mask_file(webp(drawn, tmp_path / "m.webp", quality=quality, **extra))
    assert abs(int(found.mask.sum()) - int(disc().sum())) < 0.005 * disc().sum()  # was 12 % more, and "several"
    assert found.notes == ("lossy",)


def test_a_webp_without_loss_keeps_its_classes(tmp_path):
    path = webp(Image.fromarray(scene().astype(np.uint8)), tmp_path / "m.webp", lossless=True, xmp=b"<x/>")
    found = read_mask_file(path)
    assert (int(found.mask.sum()), found.notes) == (DOG + PERSON, ("void", "several"))
    assert read_mask_file(path, wanted=("15",)).mask.sum() == PERSON
    frames = Image.fromarray(scene().astype(np.uint8)).convert("RGB")
    path = webp(frames, tmp_path / "a.webp", lossless=True, save_all=True, append_images=[frames.rotate(180)])
    assert read_mask_file(path).notes == ("void", "several")


@pytest.mark.skipif(not features.check("avif"), reason="Pillow before 11.3")
@pytest.mark.parametrize("quality", [10, 30, 60, 100])
def test_an_avif_is_its_object_or_its_classes(tmp_path, quality):
    drawn = Image.fromarray(disc().astype(np.uint8) * 255)
    drawn.save(tmp_path / "m.avif", quality=quality)
    found = read_mask_file(tmp_path / "m.avif")
    assert abs(int(found.mask.sum()) - int(disc().sum())) < 0.01 * disc().sum()  # of quality 10, was "void" and 2.6 %
    assert found.notes in ((), ("lossy",), ("soft",))
    if quality == 100:
        Image.fromarray(scene().astype(np.uint8)).save(tmp_path / "c.avif", quality=100)
        found = read_mask_file(tmp_path / "c.avif")
        assert (int(found.mask.sum()), found.notes) == (DOG + PERSON, ("void", "several"))


def test_numbers_are_not_looked_for_in_a_webp_with_loss(tmp_path):
    path = webp(Image.fromarray(scene().astype(np.uint8)), tmp_path / "m.webp", quality=80)
    with pytest.raises(ImageError, match=r"m\.webp: a WebP with loss keeps no numbers"):
        read_mask_file(path, wanted=("12",))


def test_one_instance_or_all(tmp_path):
    instances = np.zeros((HEIGHT, WIDTH))
    instances[:10, :10], instances[20:30, 20:40], instances[35:, 50:] = 1, 2, 3
    for path in (grey(instances, tmp_path / "g.png"), indexed(instances, VOC, tmp_path / "p.png")):
        found = read_mask_file(path)
        assert (int(found.mask.sum()), found.notes) == (100 + 200 + 50, ("several",))
        found = read_mask_file(path, largest=True)
        assert (int(found.mask.sum()), found.notes) == (200, ())
        assert read_mask_file(path, wanted=("1", "3"), largest=True).mask.sum() == 100


def test_numbers_without_a_background_are_the_whole_photo_and_noted(tmp_path):
    trimap = np.where(object_mask(), 1, 2)
    found = read_mask_file(grey(trimap, tmp_path / "m.png"))
    assert found.mask.all()
    assert found.notes == ("whole",)
    assert read_mask_file(tmp_path / "m.png", wanted=("1",)).mask.sum() == OBJECT


def test_many_instances_are_no_soft_mask(tmp_path):
    values = np.kron(np.arange(150).reshape(10, 15) * 7 % 151, np.ones((4, 4), int))
    found = read_mask_file(grey(values, tmp_path / "m.png"))
    assert (int(found.mask.sum()), found.notes) == (149 * 16, ("several",))
