"""Data in a store: the same samples, photos and masks as on the disk, each file fetched once, into the cache alone."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from das_explain.data.dataset import Dataset, open_any, open_dataset
from das_explain.data.images import ImageError
from das_explain.data.remote import fetched, place, url_of
from das_explain.errors import DasExplainError, UsageError

URL = "memory://bucket/data"


@pytest.fixture
def store(tmp_path: Path, monkeypatch) -> fsspec.AbstractFileSystem:
    """A store in memory, empty, and a cache of this test's own."""
    monkeypatch.setenv("DAS_EXPLAIN_CACHE", str(tmp_path / "cache"))
    files = fsspec.filesystem("memory")
    files.store.clear()
    return files


def write_photos(folder: Path) -> Path:
    """Two classes of a photo each, a mask, a CSV of them, and what is no photo."""
    rng = np.random.default_rng(0)
    for name in ("cat/one.png", "dog/two.png"):
        (folder / name).parent.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).save(folder / name)
    (folder / "dog/.hidden.png").write_bytes(b"")
    (folder / "dog/notes.txt").write_bytes(b"no photo")
    return folder


def write_table(folder: Path) -> Path:
    write_photos(folder)
    (folder / "masks").mkdir()
    mask = np.zeros((6, 8), np.uint8)
    mask[2:4, 3:6] = 255
    Image.fromarray(mask).save(folder / "masks/one.png")
    (folder / "photos.csv").write_text("image,label,mask\ncat/one.png,cat,masks/one.png\ndog/two.png,dog,\n")
    return folder / "photos.csv"


def same_photos(mine: Dataset, other: Dataset) -> None:
    assert [(each.name, each.index, each.label) for each in mine.samples] == [
        (each.name, each.index, each.label) for each in other.samples
    ]
    assert mine.labels == other.labels
    for one, two in zip(mine.samples, other.samples):
        np.testing.assert_array_equal(mine.read(one), other.read(two))


def test_a_folder_in_a_store_is_what_it_is_on_the_disk(store, tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos")
    store.put(f"{folder}/", "/bucket/data/", recursive=True)
    data = open_dataset(URL)
    same_photos(data, open_dataset(folder))
    same_photos(open_any([URL]), data)
    assert data.notes == (f"1 file passed over in {URL}: 1 .txt",)
    assert sorted(path.name for path in (tmp_path / "cache").rglob("*.*")) == ["one.png", "two.png"]


def test_a_csv_in_a_store_and_its_masks_are_what_they_are_on_the_disk(store, tmp_path: Path) -> None:
    table = write_table(tmp_path / "photos")
    store.put(f"{table.parent}/", "/bucket/data/", recursive=True)
    mine, other = open_dataset(f"{URL}/photos.csv"), open_dataset(table)
    same_photos(mine, other)
    regions = [data.read_mask(data.samples[0], (8, 6)) for data in (mine, other)]
    assert regions[0].mask.sum() == 6
    np.testing.assert_array_equal(regions[0].mask, regions[1].mask)
    assert mine.read_mask(mine.samples[1], (8, 6)).status == "no_mask"


def test_a_csv_on_the_disk_may_name_photos_in_a_store(store, tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos")
    store.put(f"{folder}/", "/bucket/data/", recursive=True)
    (tmp_path / "few.csv").write_text(f"image,label\n{URL}/cat/one.png,cat\n")
    data = open_dataset(tmp_path / "few.csv")
    assert [sample.name for sample in data.samples] == [f"{URL}/cat/one.png"]
    np.testing.assert_array_equal(data.read(data.samples[0]), Image.open(folder / "cat/one.png"))


def test_a_photo_is_fetched_when_it_is_read_and_only_then(store, tmp_path: Path) -> None:
    store.put(f"{write_photos(tmp_path / 'photos')}/", "/bucket/data/", recursive=True)
    data = open_dataset(URL)
    assert not (tmp_path / "cache").exists()
    photo = data.read(data.samples[0])
    store.rm("/bucket/data/cat/one.png")
    np.testing.assert_array_equal(data.read(data.samples[0]), photo)
    store.rm("/bucket/data/dog/two.png")
    with pytest.raises(ImageError, match=r"^memory://bucket/data/dog/two.png: no such file$"):
        data.read(data.samples[1])
    assert not list((tmp_path / "cache").rglob(".das-explain-*"))


def test_a_photo_that_has_another_size_by_now_is_fetched_again(store, tmp_path: Path) -> None:
    store.put(f"{write_photos(tmp_path / 'photos')}/", "/bucket/data/", recursive=True)
    data = open_dataset(URL)
    data.read(data.samples[0])
    Image.new("RGB", (30, 20), "red").save(tmp_path / "red.png")
    store.put(str(tmp_path / "red.png"), "/bucket/data/cat/one.png")
    again = open_dataset(URL)
    assert again.read(again.samples[0]).size == (30, 20)
    assert again.fingerprint != data.fingerprint


def test_a_fingerprint_does_not_depend_on_what_is_in_the_cache(store, tmp_path: Path) -> None:
    table = write_table(tmp_path / "photos")
    store.put(f"{table.parent}/", "/bucket/data/", recursive=True)
    for spec in (URL + "/cat", f"{URL}/photos.csv"):
        before = open_dataset(spec)
        for sample in before.samples:
            before.read(sample)
        assert open_dataset(spec).fingerprint == before.fingerprint


def test_another_machine_has_a_cache_of_its_own(store, tmp_path: Path, monkeypatch) -> None:
    store.put(f"{write_photos(tmp_path / 'photos')}/", "/bucket/data/", recursive=True)
    data = open_dataset(URL)
    monkeypatch.setenv("DAS_EXPLAIN_CACHE", str(tmp_path / "elsewhere"))
    data.read(data.samples[0])
    assert (tmp_path / "elsewhere/remote-files/memory/bucket/data/cat/one.png").is_file()
    assert not (tmp_path / "cache").exists()


def test_nothing_is_written_outside_of_the_cache(store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such data: memory://bucket/\.\./up.png"):
        place("memory://bucket/../up.png")
    (tmp_path / "bad.csv").write_text("image\nmemory://a/../../../up.png\n")
    with pytest.raises(UsageError, match="no such data"):
        open_dataset(tmp_path / "bad.csv")
    path = place("memory://bucket/a.png")
    climbing = path.parent / ".." / ".." / ".." / ".." / "up.png"
    assert url_of(climbing) is None
    assert fetched(climbing) == climbing
    assert url_of(path.parent / ".." / "other" / "a.png") == "memory://other/a.png"


def test_what_is_wrong_with_a_store_is_one_line(store, monkeypatch) -> None:
    with pytest.raises(UsageError, match=r"^no such data: memory://bucket/nowhere \(n"):
        open_dataset("memory://bucket/nowhere")
    with pytest.raises(DasExplainError, match=r"^memory://bucket/nowhere.csv: no such file$"):
        open_dataset("memory://bucket/nowhere.csv")
    with pytest.raises(UsageError, match="^no such data: ftp://host/photos"):
        open_dataset("ftp://host/photos")

    def lacking(scheme: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", lacking)
    with pytest.raises(DasExplainError, match=r"^s3:// needs the package s3fs: pip install 'das-explain\[remote\]'$"):
        open_dataset("s3://bucket/photos")
