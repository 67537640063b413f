"""The mask cache: what it keeps, what it knows again, and that neither two processes nor a kill can break it."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from das_explain.errors import DasExplainError, UsageError
from das_explain.segment.cache import MaskCache, cache_folder, clear, export, shelves
from das_explain.types import Region
from tests.segment.fake_finder import bright_photo

ROOT = Path(__file__).parents[2]
DETAIL = {
    "prompt": "ein Hündchen.",
    "boxes": [[1.5, 2, 3, 4]],
    "scores": [0.5],
    "retried": False,
    "seconds": {"detect": 0.1},
}


def cache_in(folder: Path, **identity) -> MaskCache:
    return MaskCache({"name": "grounded-sam", "weights": "a", **identity}, folder)


def some_mask(seed: int = 0, height: int = 13, width: int = 21) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width)) < 0.4


@pytest.mark.parametrize("region", [Region(some_mask(), "ok", DETAIL), Region(None, "no_object", DETAIL)])
def test_gives_back_what_was_stored(tmp_path, region):
    cache = cache_in(tmp_path)
    key = cache.key(bright_photo(0), "a dog.")
    assert cache.load(key) is None
    cache.store(key, region)
    loaded = pickle.loads(pickle.dumps(cache)).load(key)
    assert (loaded.status, loaded.detail) == (region.status, region.detail)
    if region.mask is None:
        assert loaded.mask is None
    else:
        assert loaded.mask.dtype == bool
        np.testing.assert_array_equal(loaded.mask, region.mask)


def test_alternatives_are_kept_beside_the_mask_in_one_small_file(tmp_path):
    cache = cache_in(tmp_path)
    masks = {name: some_mask(seed) for seed, name in enumerate(("sam 1", "sam 2", "first box"), 1)}
    cache.store("0" * 64, Region(some_mask(), "ok", DETAIL, masks))
    loaded = cache.load("0" * 64)
    np.testing.assert_array_equal(loaded.mask, some_mask())
    assert list(loaded.alternatives) == list(masks)
    for name, mask in masks.items():
        assert loaded.alternatives[name].dtype == bool
        np.testing.assert_array_equal(loaded.alternatives[name], mask)
    (file,) = shelves(tmp_path)[0].entries()
    assert file.suffix == ".png"


def test_the_key_is_the_photo_and_the_prompt():
    cache = cache_in(Path("nowhere"))
    photo = bright_photo(1)
    changed = np.array(photo)
    changed[5, 5, 0] ^= 1
    wide = Image.fromarray(np.asarray(photo).reshape(24, 64, 3))  # the same bytes in another shape
    keys = {
        cache.key(each, prompt)
        for each, prompt in [
            (photo, "a dog."),
            (photo, "a cat."),
            (Image.fromarray(changed), "a dog."),
            (wide, "a dog."),
            (photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "a dog."),
            (photo.transpose(Image.Transpose.TRANSPOSE), "a dog."),
        ]
    }
    assert len(keys) == 6
    assert cache.key(photo.copy(), "a dog.") == cache.key(photo, "a dog.")


def test_other_weights_or_settings_have_other_masks(tmp_path):
    first, other = cache_in(tmp_path), cache_in(tmp_path, threshold=0.3)
    assert cache_in(tmp_path, weights="a").folder == first.folder
    first.store("0" * 64, Region(some_mask()))
    assert other.load("0" * 64) is None
    other.store("0" * 64, Region(None, "no_object"))
    assert first.load("0" * 64).status == "ok"
    assert {json.dumps(shelf.identity, sort_keys=True) for shelf in shelves(tmp_path)} == {
        json.dumps(each.identity, sort_keys=True) for each in (first, other)
    }


def test_the_same_weights_in_another_place_have_the_same_masks(tmp_path):
    def folder(place: str, sha256: str) -> Path:
        return cache_in(tmp_path, sam={"weights": place, "sha256": sha256}).folder

    assert folder("/mnt/sam.pth", "1f") == folder("../sam.pth", "1f") != folder("/mnt/sam.pth", "2e")


def test_is_compact(tmp_path):
    cache = cache_in(tmp_path)
    y, x = np.mgrid[:1200, :1600]
    cache.store("0" * 64, Region((x - 700) ** 2 + (y - 500) ** 2 < 300**2, "ok", DETAIL))
    (file,) = shelves(tmp_path)[0].entries()
    assert file.stat().st_size < 4000  # 1.9 million pixels


@pytest.mark.parametrize("damage", ["empty", "cut", "bit in the mask", "bit in the text", "text"])
def test_a_damaged_file_counts_as_missing_and_is_replaced(tmp_path, damage):
    cache = cache_in(tmp_path)
    cache.store("0" * 64, Region(some_mask(), "ok", DETAIL))
    (file,) = shelves(tmp_path)[0].entries()
    content = bytearray(file.read_bytes())
    place = {"bit in the mask": content.index(b"IDAT") + 12, "bit in the text": content.index(b"boxes")}.get(damage)
    if place is not None:
        content[place] ^= 4
    file.write_bytes(
        {"empty": b"", "cut": content[: len(content) * 2 // 3], "text": b"no picture"}.get(damage, content)
    )
    assert cache.load("0" * 64) is None
    cache.store("0" * 64, Region(some_mask(), "ok", DETAIL))
    assert cache.load("0" * 64).detail == DETAIL


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("1", "[]"),
        ("1", '"ok"'),
        ("1", "{}"),
        ("1", '{"mask": true, "detail": {}, "alternatives": []}'),
        ("1", '{"mask": true, "status": "ok", "detail": [], "alternatives": []}'),
        ("1", '{"mask": true, "status": 1, "detail": {}, "alternatives": []}'),
        ("1", '{"mask": true, "status": "ok", "detail": {}}'),
        ("1", '{"mask": true, "status": "ok", "detail": {}, "alternatives": [1]}'),
        ("1", '{"mask": true, "status": "ok", "detail": {}, "alternatives": ["sam 1"]}'),
        ("L", '{"mask": true, "status": "ok", "detail": {}, "alternatives": []}'),
    ],
)
def test_a_file_that_this_version_does_not_write_counts_as_missing(tmp_path, mode, text):
    cache = cache_in(tmp_path)
    cache.store("0" * 64, Region(some_mask()))
    (file,) = shelves(tmp_path)[0].entries()
    told = PngImagePlugin.PngInfo()
    told.add_text("das-explain", text)
    Image.new(mode, (21, 13)).save(file, pnginfo=told)
    assert cache.load("0" * 64) is None
    told = PngImagePlugin.PngInfo()
    told.add_text("das-explain", '{"mask": true, "status": "ok", "detail": {}, "alternatives": []}')
    Image.new("1", (21, 13)).save(file, pnginfo=told)
    assert cache.load("0" * 64).status == "ok"  # so it was the text, or the mode


def test_other_versions_have_masks_of_their_own(tmp_path, monkeypatch):
    cache_in(tmp_path).store("0" * 64, Region(some_mask()))
    monkeypatch.setattr("das_explain.segment.cache.FORMAT", 99)
    assert cache_in(tmp_path).load("0" * 64) is None
    cache_in(tmp_path).store("0" * 64, Region(None, "no_object"))
    monkeypatch.undo()
    assert cache_in(tmp_path).load("0" * 64).status == "ok"
    assert [shelf.name for shelf in shelves(tmp_path)] == ["grounded-sam"] * 2


def test_a_description_that_was_lost_or_damaged_is_written_again(tmp_path):
    cache = cache_in(tmp_path)
    cache.prepare()
    (cache.folder / "finder.json").write_text("")
    assert shelves(tmp_path)[0].identity == {}
    cache_in(tmp_path).prepare()
    assert shelves(tmp_path)[0].identity == cache.identity
    (cache.folder / "finder.json").unlink()
    cache.store("0" * 64, Region(some_mask()))
    assert shelves(tmp_path)[0].identity == cache.identity


@pytest.mark.parametrize("what", ["a pipe", "a device", "a folder", "brackets", "bytes", "another list", "large"])
def test_a_description_that_is_none_does_not_stop_the_cache(tmp_path, what):
    cache = cache_in(tmp_path / "cache")
    cache.store("0" * 64, Region(some_mask()))
    path = cache.folder / "finder.json"
    path.unlink()
    contents = {
        "brackets": b"[" * 100_000,
        "bytes": bytes(range(256)),
        "another list": b"[1]",
        "large": b" " * (2 << 20),
    }
    if what in contents:
        path.write_bytes(contents[what])
    else:
        {"a pipe": os.mkfifo, "a device": lambda at: at.symlink_to("/dev/zero"), "a folder": Path.mkdir}[what](path)
    assert [shelf.identity for shelf in shelves(tmp_path / "cache")] == [{}]
    assert export(tmp_path / "out", root=tmp_path / "cache") == 1
    assert clear(root=tmp_path / "cache")[0] == 1


@pytest.mark.parametrize("what", ["a pipe", "a device", "a folder"])
def test_a_mask_that_is_no_file_counts_as_missing(tmp_path, what):
    cache = cache_in(tmp_path)
    cache.store("0" * 64, Region(some_mask()))
    path = next(cache.folder.glob("*/*.png"))
    path.unlink()
    {"a pipe": os.mkfifo, "a device": lambda at: at.symlink_to("/dev/zero"), "a folder": Path.mkdir}[what](path)
    assert cache.load("0" * 64) is None


def test_a_full_disk_is_one_line_and_leaves_nothing_half(tmp_path, monkeypatch):
    cache = cache_in(tmp_path)
    cache.store("0" * 64, Region(some_mask()))
    opened = Path.open

    def full(path, mode="r", *arguments, **named):
        file = opened(path, mode, *arguments, **named)
        if "x" in mode:
            file.write(b"\x89PNG")  # something fits
            file.close()
            raise OSError(errno.ENOSPC, "No space left on device")
        return file

    monkeypatch.setattr(Path, "open", full)
    for key in ("0" * 64, "1" * 64):
        with pytest.raises(DasExplainError, match=r"No space left on device\): set DAS_EXPLAIN_CACHE") as caught:
            cache.store(key, Region(None, "no_object"))
        assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert not list(tmp_path.rglob("*.partial"))
    np.testing.assert_array_equal(cache.load("0" * 64).mask, some_mask())
    assert cache.load("1" * 64) is None


@pytest.mark.parametrize("moment", ["open", "replace"])
def test_another_process_that_clears_does_not_stop_this_one(tmp_path, monkeypatch, moment):
    """``clear`` takes folders away between making and using them, and half-written files."""
    cache = cache_in(tmp_path)
    cache.prepare()
    opened, replace = Path.open, os.replace
    cleared = []

    def clear_once():
        if not cleared:
            cleared.append(clear(root=tmp_path))

    def opening(path, mode="r", *arguments, **named):
        if "x" in mode and moment == "open":
            clear_once()
        return opened(path, mode, *arguments, **named)

    def replacing(source, target):
        if moment == "replace":
            clear_once()
        replace(source, target)

    monkeypatch.setattr(Path, "open", opening)
    monkeypatch.setattr(os, "replace", replacing)
    cache.store("0" * 64, Region(some_mask(), "ok", DETAIL))
    assert cleared == [(0, 0)]
    assert cache.load("0" * 64).detail == DETAIL
    assert shelves(tmp_path)[0].identity == cache.identity


def test_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("DAS_EXPLAIN_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here" / "masks"
    assert not (tmp_path / "here").exists()
    monkeypatch.delenv("DAS_EXPLAIN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if sys.platform == "linux":
        assert cache_folder() == tmp_path / "xdg" / "das-explain" / "masks"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DasExplainError, match=r"cannot write to .*DAS_EXPLAIN_CACHE"):
        cache_in(tmp_path / "file").store("0" * 64, Region(some_mask()))


def filled(folder: Path) -> None:
    for number, name in enumerate(("grounded-sam", "grounded-sam", "boxes+sam")):
        MaskCache({"name": name}, folder).store(f"{number}" * 64, Region(some_mask(number)))


def test_clear_deletes_its_own_files_only(tmp_path):
    filled(tmp_path)
    mine = tmp_path / "holiday.png"
    Image.new("L", (3, 3)).save(mine)
    shelf = next(shelf for shelf in shelves(tmp_path) if shelf.name == "grounded-sam")
    note = shelf.folder / "note.txt"
    note.write_text("mine")
    (shelf.folder / ".0000.12.abcd.partial").write_text("half")
    assert clear("nothing", root=tmp_path) == (0, 0)
    assert clear(older_than=1, root=tmp_path) == (0, 0)
    files, size = clear("grounded-sam", root=tmp_path)
    assert files == 2
    assert size > 100
    assert not list(shelf.entries())
    assert note.exists()
    assert not (shelf.folder / ".0000.12.abcd.partial").exists()
    assert clear(root=tmp_path)[0] == 1
    assert mine.exists()


def test_clear_follows_no_link(tmp_path):
    filled(tmp_path / "real")
    (tmp_path / "cache").mkdir()
    (shelf, *_) = shelves(tmp_path / "real")
    (tmp_path / "cache" / shelf.folder.name).symlink_to(shelf.folder)
    assert clear(root=tmp_path / "cache") == (0, 0)


def test_old_masks_are_cleared_by_age(tmp_path):
    filled(tmp_path)
    files = [path for shelf in shelves(tmp_path) for path in shelf.entries()]
    os.utime(files[0], (time.time() - 10 * 86400,) * 2)
    assert clear(older_than=5, root=tmp_path)[0] == 1
    assert [path.exists() for path in files] == [False, True, True]


def test_an_export_is_a_cache(tmp_path, monkeypatch):
    filled(tmp_path / "a")
    assert export(tmp_path / "b", root=tmp_path / "a") == 3
    assert export(tmp_path / "b", root=tmp_path / "a") == 3  # again over itself
    monkeypatch.setenv("DAS_EXPLAIN_CACHE", str(tmp_path / "b"))
    np.testing.assert_array_equal(MaskCache({"name": "boxes+sam"}).load("2" * 64).mask, some_mask(2))
    assert export(tmp_path / "c", "boxes+sam", root=tmp_path / "a") == 1
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "photo.jpg").write_text("")
    with pytest.raises(UsageError, match="holds something else"):
        export(tmp_path / "d", root=tmp_path / "a")
    with pytest.raises(UsageError, match="holds no such masks"):
        export(tmp_path / "e", "sam9", root=tmp_path / "a")


# ---- several processes, and death


PROGRAM = """
import sys
from pathlib import Path
from das_explain.data.dataset import open_dataset
from das_explain.batches.load import load_batches
from das_explain.data.geometry import Geometry
from das_explain.segment.cache import MaskCache
from das_explain.segment.cached import CachedFinder
from tests.segment.fake_finder import BrightFinder
photos, log, seconds, reverse = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == "r"
dataset = open_dataset(photos)
finder = CachedFinder(BrightFinder(log=log, seconds=seconds), batch=2)
print("ready", flush=True)
sys.stdin.readline()
samples = dataset.samples[::-1] if reverse else dataset.samples
told = lambda done, of: print(done, flush=True)
list(load_batches(dataset.source, samples, [Geometry((8, 8), 8)], finder, batch_size=2, workers=0, finding=told))
for sample in dataset.samples:
    region = finder.region(sample, dataset.read(sample))
    assert region.status == "ok" and region.mask.sum() == 9 * 15, region
print("all there", flush=True)
"""


def start(tmp_path: Path, seconds: float, order: str = "f") -> subprocess.Popen:
    environment = {
        **os.environ,
        "DAS_EXPLAIN_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "photos"), str(tmp_path / "log"), str(seconds), order],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.fixture
def photos(tmp_path) -> Path:
    (tmp_path / "photos").mkdir()
    for number in range(24):
        bright_photo(number).save(tmp_path / "photos" / f"{number:02d}.png")
    return tmp_path / "photos"


def test_two_processes_share_the_work_and_break_nothing(tmp_path, photos):
    both = [start(tmp_path, 0.02, "f"), start(tmp_path, 0.02, "r")]
    for process in both:
        go(process)
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert all(output.endswith("all there\n") for output in outputs)
    found = [line.split()[1] for line in (tmp_path / "log").read_text().splitlines()]
    assert set(found) == {f"{number:02d}.png" for number in range(24)}
    assert len(found) <= 30  # a batch or two where they meet is found by both
    (shelf,) = shelves(tmp_path / "cache" / "masks")
    assert len(list(shelf.entries())) == 24
    assert not list(shelf.folder.rglob("*.partial"))


def test_a_kill_loses_nothing_that_was_found(tmp_path, photos):
    process = start(tmp_path, 0.05)
    go(process)
    while int(process.stdout.readline()) < 8:
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    (shelf,) = shelves(tmp_path / "cache" / "masks")
    kept = len(list(shelf.entries()))
    assert 8 <= kept < 24
    log = tmp_path / "log"
    log.unlink()
    process = start(tmp_path, 0.0)
    go(process)
    assert process.communicate(timeout=60)[0].endswith("all there\n")
    assert len(log.read_text().splitlines()) == 24 - kept


def test_a_half_written_file_is_never_read_and_swept_after_a_day(tmp_path):
    cache = cache_in(tmp_path)
    cache.store("0" * 64, Region(some_mask()))
    half = cache.folder / "00" / ".0000000000000000.123.00ff00ff.partial"
    half.write_bytes(b"\x89PNG half")
    assert len(list(shelves(tmp_path)[0].entries())) == 1
    cache_in(tmp_path).prepare()
    assert half.exists()
    os.utime(half, (time.time() - 2 * 86400,) * 2)
    cache_in(tmp_path).prepare()
    assert not half.exists()
