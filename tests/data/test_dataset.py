"""Data specs: what is listed, in which order, under which names; what is refused, in one line; what is drawn."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from das_explain.data.dataset import Dataset, open_dataset, open_images
from das_explain.data.draw import draw_sample
from das_explain.data.images import ImageError
from das_explain.data.sources import Files
from das_explain.errors import DasExplainError, UsageError
from das_explain.types import Sample
from tests.photos import CORNERS, HEIGHT, WIDTH, corners, object_mask, photo, store, store_mask

SIZE = (WIDTH, HEIGHT)


def names(dataset: Dataset) -> list[str]:
    return [sample.name for sample in dataset.samples]


def labels(dataset: Dataset) -> list[str | None]:
    return [sample.label for sample in dataset.samples]


def csv(folder: Path, text: str, name: str = "list.csv", encoding: str = "utf-8") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


@pytest.fixture
def classes(tmp_path):
    """cats/b.png, cats/a.jpg, cats/deep/c.png, Dogs/d.JPG and things that are no data."""
    root = tmp_path / "photos"
    for name in ("cats/b.png", "cats/a.jpg", "cats/deep/c.png", "Dogs/d.JPG"):
        store(photo(), root / name)
    for name in ("cats/.hidden.png", ".cache/x.png", "cats/notes.txt", "readme.md", "cats/x.jp2", "__MACOSX/x.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"")
    (root / "empty").mkdir()
    return root


# ---- folders


def test_class_folders(classes):
    dataset = open_dataset(str(classes))
    assert names(dataset) == ["Dogs/d.JPG", "cats/a.jpg", "cats/b.png", "cats/deep/c.png"]
    assert labels(dataset) == ["Dogs", "cats", "cats", "cats"]
    assert dataset.labels == ("Dogs", "cats")
    assert [sample.index for sample in dataset.samples] == [0, 1, 2, 3]
    assert not dataset.has_masks
    image = dataset.read(dataset.samples[1])
    assert np.abs(corners(image) - CORNERS).max() <= 8
    assert dataset.read_mask(dataset.samples[0], SIZE).status == "no_mask"


def test_flat_folder_is_unlabelled(tmp_path):
    for name in ("2.png", "10.png", "ä b;c,d.png", "#1 'q'.png"):
        store(photo(), tmp_path / name)
    (tmp_path / "sub").mkdir()
    dataset = open_dataset(tmp_path)
    assert names(dataset) == ["#1 'q'.png", "10.png", "2.png", "ä b;c,d.png"]
    assert dataset.labels is None
    assert set(labels(dataset)) == {None}


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_names_of_odd_bytes_print_and_read(tmp_path):
    for raw in (b"\xff.png", b"a\nb.png"):
        shutil.copy(store(photo(), tmp_path / "apart" / "x.png"), os.path.join(os.fsencode(tmp_path), raw))
    shutil.rmtree(tmp_path / "apart")
    dataset = open_dataset(tmp_path)
    assert names(dataset) == ["\\udcff.png", "a\\nb.png"]
    for sample in dataset.samples:
        sample.name.encode("utf-8")
        assert dataset.read(sample).size == SIZE
    (tmp_path / "a\nb.png").write_bytes(b"")
    with pytest.raises(ImageError) as caught:
        dataset.read(dataset.samples[1])
    assert "\n" not in str(caught.value)


def test_links_are_followed_and_loops_end(classes, tmp_path):
    try:
        (classes / "linked").symlink_to(store(photo(), tmp_path / "elsewhere" / "x.png").parent)
        (classes / "cats" / "loop").symlink_to(classes)
        (classes / "cats" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    except OSError:
        pytest.skip("no symbolic links here")
    dataset = open_dataset(classes)
    assert {"linked/x.png", "cats/gone.png"} <= set(names(dataset))
    assert len(dataset) == 6
    with pytest.raises(ImageError, match="no such file"):
        dataset.read(next(sample for sample in dataset.samples if sample.name == "cats/gone.png"))


def test_folders_that_say_nothing_are_refused(classes, tmp_path):
    store(photo(), classes / "stray.png")
    with pytest.raises(UsageError, match=r"mixes images \(stray\.png\) and sub-folders with images \(Dogs/d\.JPG\)"):
        open_dataset(classes)
    (tmp_path / "void").mkdir()
    with pytest.raises(UsageError, match="holds no images: it is empty"):
        open_dataset(tmp_path / "void")
    for name in ("a.jp2", "b.jp2", "c.txt"):
        (tmp_path / "void" / name).write_bytes(b"")
    with pytest.raises(UsageError, match=r"holds no images \(other files: 2 \.jp2, 1 \.txt"):
        open_dataset(tmp_path / "void")
    store(photo(), tmp_path / "set" / "images" / "x.png")
    store(photo(), tmp_path / "set" / "masks" / "x.png")
    with pytest.raises(UsageError, match="--masks"):
        open_dataset(tmp_path / "set")


def test_unknown_data(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"no such data: .*nowhere"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="did you mean collage"):
        open_dataset("colage:20")
    store(photo(), tmp_path / "x.png")
    with pytest.raises(UsageError, match="--split"):
        open_dataset(tmp_path, split="test")


def test_unreadable_folder_is_a_line(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DasExplainError, match=r"cannot read the folder .*Permission denied"):
        open_dataset(tmp_path)


def test_files_named_one_by_one(tmp_path):
    paths = [store(photo(), tmp_path / name) for name in ("z.png", "one/x.png", "two/x.png", "two/y.png")]
    dataset = open_images([paths[0], paths[1], tmp_path / "two", paths[1]])
    assert names(dataset) == ["z.png", "x.png", "two/x.png", "two/y.png"]
    assert [sample.index for sample in dataset.samples] == [0, 1, 2, 3]
    assert names(open_images(paths[1:3])) == [paths[1].as_posix(), paths[2].as_posix()]  # x.png twice: say which
    assert names(open_dataset(paths[0])) == ["z.png"]
    with pytest.raises(UsageError, match=r"no such image or folder: .*no\.png"):
        open_images([paths[0], tmp_path / "no.png"])


# ---- CSV


def test_csv_in_its_own_order(classes):
    path = csv(classes, "image,label,mask\ncats/b.png,cat,\nDogs/d.JPG,dog,cats/b.png\ncats/a.jpg,cat,\n")
    dataset = open_dataset(path)
    assert names(dataset) == ["cats/b.png", "Dogs/d.JPG", "cats/a.jpg"]
    assert labels(dataset) == ["cat", "dog", "cat"]
    assert dataset.labels == ("cat", "dog")
    assert dataset.has_masks
    assert [sample.mask_path for sample in dataset.samples] == [None, classes / "cats/b.png", None]


@pytest.mark.parametrize(
    "text",
    [
        "Image , LABEL\ncats/a.jpg, cat\n./cats/b.png , dog\n",
        "\ufeffimage;label\r\ncats/a.jpg;cat\r\n\r\ncats/b.png;dog\r\n;\r\n",
        'id\timage\tlabel\n7\tcats/a.jpg\tcat\n8\t"cats/b.png"\tdog',
        "image,label\ncats\\a.jpg,cat\ncats\\b.png,dog\n",
    ],
    ids=["spaces", "excel", "tabs", "windows"],
)
def test_csv_dialects(classes, text):
    dataset = open_dataset(csv(classes, text))
    assert names(dataset) == ["cats/a.jpg", "cats/b.png"]
    assert labels(dataset) == ["cat", "dog"]
    assert [dataset.read(sample).size for sample in dataset.samples] == [SIZE, SIZE]


def test_csv_of_images_only_and_absolute_paths(classes, tmp_path):
    outside = store(photo(), tmp_path / "outside" / "x.png")
    dataset = open_dataset(csv(classes, f"image\n{classes.absolute() / 'cats' / 'a.jpg'}\n{outside}\n"))
    assert names(dataset) == ["cats/a.jpg", outside.as_posix()]
    assert dataset.labels is None
    assert dataset.read(dataset.samples[1]).size == SIZE


def test_csv_missing_files_are_samples(classes):
    dataset = open_dataset(csv(classes, f"image,mask\ncats/no.png,\ncats/b.png,no.png\n{'x' * 5000}.png,\n"))
    assert len(dataset) == 3
    with pytest.raises(ImageError, match="no such file"):
        dataset.read(dataset.samples[0])
    with pytest.raises(ImageError):
        dataset.read(dataset.samples[2])
    region = dataset.read_mask(dataset.samples[1], SIZE)
    assert (region.mask, region.status) == (None, "mask_unreadable")
    assert "no such file" in region.detail["message"]


def test_csv_boxes(classes):
    dataset = open_dataset(
        csv(
            classes,
            "image,label,x0,y0,x1,y1,boxes\n"
            "cats/a.jpg,cat,1,2,11,12.5,\n"
            "cats/b.png,cat,,,,,0 0 5 6;10 11 20 22\n"
            "cats/a.jpg,cat,30,2,40,9,\n"
            "Dogs/d.JPG,dog,,,,,\n",
        )
    )
    assert names(dataset) == ["cats/a.jpg", "cats/b.png", "Dogs/d.JPG"]
    assert [sample.index for sample in dataset.samples] == [0, 1, 2]
    assert [sample.boxes for sample in dataset.samples] == [
        ((1, 2, 11, 12.5), (30, 2, 40, 9)),
        ((0, 0, 5, 6), (10, 11, 20, 22)),
        (),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("image,label\n", "lists no images"),
        ("file,label\ncats/a.jpg,cat\n", r"no column image \(its first line reads: file, label\)"),
        ("image,image\na,b\n", "two columns image"),
        ("image,label\ncats/a.jpg,cat,7\n", r"line 2: 3 cells under 2 columns"),
        ("image,label\ncats/a.jpg,cat\n,dog\n", "line 3: the image cell is empty"),
        ("image,label\ncats/a.jpg,cat\n./cats/a.jpg,cat\n", "line 3: cats/a.jpg is listed before, in line 2"),
        ("image,label,boxes\ncats/a.jpg,cat,1 1 2 2\ncats/a.jpg,dog,1 1 2 2\n", "line 3: .* another label or mask"),
        ("image,x0,y0\ncats/a.jpg,1,2\n", "a rectangle needs x0, y0, x1 and y1"),
        ("image,x0,y0,x1,y1\ncats/a.jpg,1,2,,4\n", "line 2: a box is four numbers .*'1 2 missing 4'"),
        ("image,x0,y0,x1,y1\ncats/a.jpg,1,2,x,4\n", "line 2: a box is four numbers"),
        ("image,x0,y0,x1,y1\ncats/a.jpg,5,2,5,4\n", "line 2: the box '5 2 5 4' is empty"),
        ("image,boxes\ncats/a.jpg,1 2 nan 4\n", "line 2: the box"),
        ("image,boxes\ncats/a.jpg,1 2 3\n", "line 2: a box is four numbers"),
        ("image,label\nno.png,cat\nneither.png,dog\n", r"none of the images in .* is there, .*no\.png"),
        ('image,label\n"cats/a.jpg,cat\n', "not valid CSV"),
    ],
)
def test_malformed_csv_is_one_line(classes, text, says):
    with pytest.raises(UsageError, match=says) as caught:
        open_dataset(csv(classes, text))
    assert "list.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_csv_in_another_encoding(classes):
    for encoding in ("utf-16", "latin-1"):
        with pytest.raises(UsageError, match="is not UTF-8 text"):
            open_dataset(csv(classes, "image,label\ncats/a.jpg,Käse\n", encoding=encoding))
    with pytest.raises(UsageError, match=r"is not UTF-8 text \(NUL at character 1\)"):
        open_dataset(csv(classes, "a\0b\0\n"))


# ---- masks


def test_mask_folder_by_relative_path_then_by_stem(classes, tmp_path):
    masks = tmp_path / "masks"
    for name in ("cats/a.png", "cats/b.png.png", "elsewhere/d.gif", "unused.png"):
        store_mask(object_mask(), masks / name)
    dataset = open_dataset(classes, masks=masks)
    assert {sample.name: sample.mask_path for sample in dataset.samples} == {
        "cats/a.jpg": masks / "cats/a.png",
        "cats/b.png": masks / "cats/b.png.png",
        "cats/deep/c.png": None,
        "Dogs/d.JPG": masks / "elsewhere/d.gif",
    }
    region = dataset.read_mask(dataset.samples[1], SIZE)
    assert region.status == "ok"
    np.testing.assert_array_equal(region.mask, object_mask())


def test_mask_folder_inside_the_data(tmp_path):
    store(photo(), tmp_path / "x.png")
    store_mask(object_mask(), tmp_path / "masks" / "x.png")
    dataset = open_dataset(tmp_path, masks=tmp_path / "masks")
    assert names(dataset) == ["x.png"]
    assert dataset.samples[0].mask_path == tmp_path / "masks" / "x.png"
    with pytest.raises(UsageError, match="put the masks in a folder apart"):
        open_dataset(tmp_path, masks=tmp_path)


def test_mask_folder_takes_the_place_of_the_column(classes, tmp_path):
    store_mask(object_mask(), tmp_path / "masks" / "a.png")
    path = csv(classes, "image,mask\ncats/a.jpg,cats/b.png\ncats/b.png,cats/b.png\n")
    dataset = open_dataset(path, masks=tmp_path / "masks")
    assert [sample.mask_path for sample in dataset.samples] == [tmp_path / "masks" / "a.png", None]


def test_mask_folders_that_do_not_fit_are_refused(classes, tmp_path):
    with pytest.raises(UsageError, match="no such folder of masks"):
        open_dataset(classes, masks=tmp_path / "no")
    store_mask(object_mask(), tmp_path / "none" / "z.png")
    with pytest.raises(UsageError, match=r"has no mask for any of the 4 images, such as Dogs/d\.png"):
        open_dataset(classes, masks=tmp_path / "none")
    for name in ("m/a.png", "n/a.png"):
        store_mask(object_mask(), tmp_path / "two" / name)
    with pytest.raises(UsageError, match=r"two masks fit cats/a\.jpg"):
        open_dataset(classes, masks=tmp_path / "two")
    store(photo(), classes / "Dogs" / "a.jpg")  # now a.png fits two photos
    store_mask(object_mask(), tmp_path / "one" / "a.png")
    with pytest.raises(UsageError, match=r"fits both Dogs/a\.jpg and cats/a\.jpg"):
        open_dataset(classes, masks=tmp_path / "one")
    with pytest.raises(UsageError, match="--masks goes with a folder or a CSV"):
        open_dataset("collage:3", masks=tmp_path / "one")


def test_one_file_in_two_spellings_is_one_image(classes, tmp_path):
    absolute, around = classes / "cats" / "b.png", "../photos/cats/b.png"
    listed = csv(tmp_path / "lists", f"image,boxes\n{around},1 1 2 2\n{absolute},3 3 4 4\n")
    (sample,) = open_dataset(listed).samples
    assert (sample.name, sample.boxes) == (around, ((1, 1, 2, 2), (3, 3, 4, 4)))
    (tmp_path / "linked").symlink_to(classes)
    for other in (absolute, "../photos/cats/deep/../b.png", tmp_path / "linked" / "cats" / "b.png"):
        with pytest.raises(UsageError, match=r"line 3: .*b\.png is listed before, in line 2"):
            open_dataset(csv(tmp_path / "lists", f"image\n{around}\n{other}\n"))


def test_links_to_one_file_are_images_of_their_own(classes):
    (classes / "cats" / "link.png").symlink_to(classes / "cats" / "b.png")
    assert names(open_dataset(csv(classes, "image\ncats/b.png\ncats/link.png\n"))) == ["cats/b.png", "cats/link.png"]


# ---- fingerprint


def test_fingerprint_is_about_content_not_place(classes, tmp_path):
    first = open_dataset(classes)
    moved = tmp_path / "moved"
    shutil.copytree(classes, moved)
    for path in moved.rglob("*"):
        os.utime(path, (1, 1))
    assert open_dataset(moved).fingerprint == first.fingerprint
    assert len(first.fingerprint) == 64
    (moved / "cats" / "b.png").write_bytes(b"other")
    other_size = open_dataset(moved).fingerprint
    (moved / "cats" / "b.png").rename(moved / "Dogs" / "b.png")
    other_label = open_dataset(moved).fingerprint
    assert len({first.fingerprint, other_size, other_label}) == 3


def test_fingerprint_covers_boxes_and_masks(classes):
    texts = [
        "image\ncats/a.jpg\n",
        "image,label\ncats/a.jpg,cat\n",
        "image,mask\ncats/a.jpg,cats/b.png\n",
        "image,boxes\ncats/a.jpg,1 1 2 2\n",
        "image,boxes\ncats/a.jpg,1 1 2 3\n",
    ]
    prints = [open_dataset(csv(classes, text)).fingerprint for text in texts]
    assert len(set(prints)) == len(texts)


@pytest.mark.parametrize("by", ["column", "folder"])
def test_fingerprint_sees_a_corrected_mask_of_the_same_size(classes, tmp_path, by):
    mask = tmp_path / "masks" / "cats" / "a.bmp"
    listed = csv(classes, f"image,mask\ncats/a.jpg,{mask}\n")
    opening = {"spec": listed} if by == "column" else {"spec": classes, "masks": tmp_path / "masks"}
    store_mask(object_mask(), mask)
    size, before = mask.stat().st_size, open_dataset(**opening).fingerprint
    assert open_dataset(**opening).fingerprint == before
    store_mask(~object_mask(), mask)
    assert mask.stat().st_size == size
    assert open_dataset(**opening).fingerprint != before


def test_fingerprint_with_masks_that_are_no_files(classes):
    """Nothing is read that may never end, and what cannot be read is for the run to tell."""
    listed = csv(classes, f"image,mask\ncats/a.jpg,{os.devnull}\ncats/b.png,missing.png\ncats/deep/c.png,/dev/zero\n")
    assert open_dataset(listed).fingerprint == open_dataset(listed).fingerprint


# ---- drawing


def made_of(counts: dict[str | None, int]) -> Dataset:
    flat = [label for label, count in counts.items() for _ in range(count)]
    samples = tuple(Sample(f"{label}/{i}", i, label) for i, label in enumerate(flat))
    known = tuple(sorted(label for label in counts if label is not None)) or None
    return Dataset("made", samples, known, "", Files(), False)


def test_drawing_all_and_nothing():
    dataset = made_of({"a": 3, "b": 2})
    assert draw_sample(dataset, None, 0) == dataset.samples
    assert draw_sample(dataset, 5, 0) == draw_sample(dataset, 99, 0, stratified=True) == dataset.samples
    for count in (0, -1):
        with pytest.raises(UsageError, match="at least 1"):
            draw_sample(dataset, count, 0)
    with pytest.raises(UsageError, match="no labels"):
        draw_sample(made_of({None: 3}), 2, 0, stratified=True)


@given(st.integers(1, 60), st.integers(0, 5), st.booleans())
def test_drawing_is_a_nested_subset_in_order(count, seed, stratified):
    dataset = made_of({"a": 30, "b": 9, "c": 3, "d": 1})
    drawn = draw_sample(dataset, count, seed, stratified)
    assert len(drawn) == len(set(drawn)) == min(count, 43)
    assert [sample.index for sample in drawn] == sorted(sample.index for sample in drawn)
    assert set(drawn) <= set(draw_sample(dataset, count + 1, seed, stratified))
    shuffled = tuple(
        Sample(s.name, i, s.label) for i, s in enumerate(sorted(dataset.samples, key=lambda s: s.name[::-1]))
    )
    again = draw_sample(Dataset("x", shuffled, dataset.labels, "", Files(), False), count, seed, stratified)
    assert {sample.name for sample in again} == {sample.name for sample in drawn}


@pytest.mark.parametrize(
    ("count", "expected"),
    [(8, dict(a=2, b=2, c=2, d=2)), (16, dict(a=5, b=5, c=4, d=2)), (30, dict(a=15, b=9, c=4, d=2))],
)
def test_stratified_draws_are_as_even_as_the_classes_allow(count, expected):
    dataset = made_of({"a": 30, "b": 9, "c": 4, "d": 2})
    for seed in range(5):
        assert Counter(sample.label for sample in draw_sample(dataset, count, seed, stratified=True)) == expected


def test_remainder_goes_to_classes_by_seed():
    dataset = made_of({"a": 9, "b": 9, "c": 9})
    winners = set()
    for seed in range(30):
        counts = Counter(sample.label for sample in draw_sample(dataset, 7, seed, stratified=True))
        assert sorted(counts.values()) == [2, 2, 3]
        winners.add(max(counts, key=counts.get))
    assert winners == {"a", "b", "c"}


def test_every_sample_is_as_likely():
    dataset = made_of({"a": 40})
    times = Counter(sample.name for seed in range(600) for sample in draw_sample(dataset, 10, seed))
    assert len(times) == 40
    assert abs(np.array(list(times.values())) - 150).max() < 5 * np.sqrt(600 * 0.25 * 0.75)  # five standard deviations


def test_a_known_draw():
    """Pinned: a run must draw the same images on every machine and in every later version."""
    drawn = draw_sample(made_of({"a": 6, "b": 6}), 4, 7)
    assert [sample.name for sample in drawn] == ["a/5", "b/6", "b/7", "b/10"]


# ---- collage


class FakeCollage:
    seed, size = 0, 32

    def __init__(self, count, split="test", *, seed=0, size=32):
        self.count, self.split, self.made = count, split, 0

    def __getitem__(self, i):
        self.made += 1
        image = np.asarray(photo()).copy()
        image[0, 0] = i
        return SimpleNamespace(image=image, mask=object_mask(), label=self.label(i), background="sky")

    def label(self, i):
        return ("cup", "cat")[i % 2]

    def name(self, i):
        return f"{self.split}/{i:05d}.png"


@pytest.fixture
def fake_collage(monkeypatch):
    from das_explain.data.sources import collages

    monkeypatch.setitem(sys.modules, "das_explain.data.collage.images", SimpleNamespace(Collage=FakeCollage))
    collages._collage.cache_clear()
    yield collages._collage
    collages._collage.cache_clear()


@pytest.mark.parametrize(
    ("spec", "split", "count", "part"),
    [
        ("collage", None, 100, "test"),
        ("collage:7", None, 7, "test"),
        ("collage:train:7", None, 7, "train"),
        ("collage:7:test", None, 7, "test"),
        ("collage:train", "train", 100, "train"),
        ("collage:3", "train", 3, "train"),
    ],
)
def test_collage_specs(fake_collage, spec, split, count, part):
    dataset = open_dataset(spec, split=split)
    assert len(dataset) == count
    assert dataset.samples[2].name == f"{part}/00002.png"
    assert dataset.labels == ("cat", "cup")
    assert labels(dataset)[:3] == ["cup", "cat", "cup"]
    assert dataset.has_masks


def test_collage_photo_and_mask_come_from_one_rendering(fake_collage):
    dataset = pickle.loads(pickle.dumps(open_dataset("collage:5")))
    for sample in dataset.samples[3:]:
        image = dataset.read(sample)
        assert image.getpixel((0, 0)) == (sample.index,) * 3
        np.testing.assert_array_equal(corners(image)[1:], CORNERS[1:])
        np.testing.assert_array_equal(dataset.read_mask(sample, image.size).mask, object_mask())
    assert fake_collage(5, "test").made == 2


def test_collage_for_real():
    from das_explain.data.collage.images import Collage
    from das_explain.data.collage.scenes import CLASSES

    dataset, made = open_dataset("collage:300"), Collage(300, "test")
    assert dataset.labels == CLASSES
    assert dataset.fingerprint != open_dataset("collage:300", split="train").fingerprint
    sample = dataset.samples[211]
    expected = made[211]
    assert sample.label == expected.label
    image = dataset.read(sample)
    np.testing.assert_array_equal(np.asarray(image), expected.image)
    np.testing.assert_array_equal(dataset.read_mask(sample, image.size).mask, expected.mask)


@pytest.mark.parametrize("spec", ["collage:0", "collage:-3", "collage:many", "collage:train:x", "collage:1.5"])
def test_collage_nonsense(spec):
    with pytest.raises(UsageError, match=r"collage\[:train\|test\]\[:\[SKIP\+\]N\]"):
        open_dataset(spec)


def test_collage_split_nonsense():
    with pytest.raises(UsageError, match="no split 'val'"):
        open_dataset("collage:4", split="val")
    with pytest.raises(UsageError):
        open_dataset("collage:test:4", split="train")


# ---- torchvision


@pytest.fixture
def pets(tmp_path):
    """OxfordIIITPet as it lies on the disk after a download, with three pets."""
    base = tmp_path / "oxford-iiit-pet"
    for name in ("Abyssinian_1", "american_bulldog_7", "Abyssinian_3"):
        store(photo(), base / "images" / f"{name}.jpg")
        trimap = np.full((HEIGHT, WIDTH), 2, np.uint8)
        trimap[object_mask()] = 1
        trimap[HEIGHT - 1, :5] = 3
        (base / "annotations" / "trimaps").mkdir(parents=True, exist_ok=True)
        Image.fromarray(trimap).save(base / "annotations" / "trimaps" / f"{name}.png")
    (base / "annotations" / "test.txt").write_text("american_bulldog_7 2 2 1\nAbyssinian_1 1 1 1\n")
    (base / "annotations" / "trainval.txt").write_text("Abyssinian_3 1 1 1\namerican_bulldog_7 2 2 1\n")
    return tmp_path


def test_pets_with_trimaps(pets, monkeypatch):
    dataset = open_dataset("torchvision:OxfordIIITPet", root=pets)
    assert names(dataset) == ["american_bulldog_7.jpg", "Abyssinian_1.jpg"]
    assert labels(dataset) == ["American Bulldog", "Abyssinian"]
    assert dataset.has_masks
    assert np.abs(corners(dataset.read(dataset.samples[0])) - CORNERS).max() <= 8
    np.testing.assert_array_equal(dataset.read_mask(dataset.samples[0], SIZE).mask, object_mask())
    monkeypatch.setenv("DAS_EXPLAIN_DATA", str(pets))
    assert names(open_dataset("torchvision:OxfordIIITPet", split="train"))[0] == "Abyssinian_3.jpg"
    with pytest.raises(UsageError, match="Unknown value 'best' for argument split"):
        open_dataset("torchvision:OxfordIIITPet", split="best")


def test_generic_torchvision(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.FakeData.__init__, "__defaults__", (30, (3, 40, 60), 10, None, None, 0))
    dataset = open_dataset("torchvision:FakeData", root=tmp_path)
    expected = torchvision.datasets.FakeData()
    assert len(dataset) == len(expected)
    sample = pickle.loads(pickle.dumps(dataset.samples[17]))
    assert (sample.name, sample.label) == ("000017", str(int(expected[17][1])))
    np.testing.assert_array_equal(np.asarray(dataset.read(sample)), np.asarray(expected[17][0]))
    assert not dataset.has_masks
    assert dataset.read_mask(sample, SIZE).status == "no_mask"
    with pytest.raises(ImageError, match="torchvision:FakeData, item 99999"):
        dataset.read(Sample("x", 99999))


def test_torchvision_class_names_and_test_split(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    planes = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    content = {"data": planes, "labels": [1, 0]}
    (folder / "test_batch").write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["airplane", "automobile"]}))

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)  # knows the real files
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *args: True)
    dataset = open_dataset("torchvision:CIFAR10", root=tmp_path)
    assert labels(dataset) == ["automobile", "airplane"]
    assert names(dataset) == ["000000", "000001"]
    image = np.asarray(dataset.read(dataset.samples[1]))
    np.testing.assert_array_equal(image, planes[1].reshape(3, 32, 32).transpose(1, 2, 0))


def test_torchvision_mistakes(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="no data set 'OxfordPets'; for instance OxfordIIITPet"):
        open_dataset("torchvision:OxfordPets", root=tmp_path)

    def offline(self):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(torchvision.datasets.OxfordIIITPet, "_download", offline)
    with pytest.raises(DasExplainError, match=r"Network is unreachable.*--root or DAS_EXPLAIN_DATA") as caught:
        open_dataset("torchvision:OxfordIIITPet", root=tmp_path)
    assert caught.value.exit_code == 1
