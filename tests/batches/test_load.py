"""Batches: in order, decoded once, every geometry and mask in place, and no image that stops a run."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from das_explain.batches import workers
from das_explain.batches.load import Batch, load_batches
from das_explain.batches.workers import default_workers
from das_explain.data.dataset import open_dataset
from das_explain.data.geometry import Geometry
from das_explain.errors import DasExplainError
from das_explain.segment import create_segmenter
from das_explain.types import Region, Sample
from tests.photos import CORNERS, HEIGHT, WIDTH, corners, object_mask, photo, store, store_mask

PLAIN = Geometry((HEIGHT, WIDTH), HEIGHT)  # the photo as it is
SMALL = Geometry((16, 24), 20)


@pytest.fixture
def data(tmp_path):
    """Ten rows: seven good photos of three sizes, a broken file, a missing one, and a mask of a wrong size."""
    rows = ["image,label,mask"]
    for i in range(10):
        name = f"{i}.png"
        size = [(WIDTH, HEIGHT), (HEIGHT, WIDTH), (90, 60)][i % 3]
        if i == 4:
            (tmp_path / name).write_bytes(b"<html>")
        elif i != 7:
            store(photo(*size), tmp_path / name)
        store_mask(object_mask(*size) if i != 2 else object_mask(5, 5), tmp_path / "masks" / name)
        rows.append(f"{name},cat,{'' if i == 6 else f'masks/{name}'}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    return open_dataset(tmp_path / "list.csv")


def together(batches: list[Batch]) -> Batch:
    """All batches as one."""
    return Batch(
        [sample for batch in batches for sample in batch.samples],
        {key: torch.cat([batch.frames[key] for batch in batches]) for key in batches[0].frames},
        {key: torch.cat([batch.masks[key] for batch in batches]) for key in batches[0].masks},
        [region for batch in batches for region in batch.regions],
        [status for batch in batches for status in batch.statuses],
        [message for batch in batches for message in batch.messages],
        [size for batch in batches for size in batch.sizes],
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_of_every_kind(data, workers):
    segmenter = create_segmenter("masks", data)
    batches = list(
        load_batches(data.source, data.samples, [PLAIN, SMALL, PLAIN], segmenter, batch_size=4, workers=workers)
    )
    assert [len(batch) for batch in batches] == [4, 4, 2]
    rows = together(batches)
    assert rows.samples == list(data.samples)
    expected = {2: "mask_mismatch", 4: "unreadable", 6: "no_mask", 7: "unreadable"}
    assert rows.statuses == [expected.get(i, "ok") for i in range(10)]
    assert set(rows.frames) == set(rows.masks) == {PLAIN.key, SMALL.key}
    for geometry in (PLAIN, SMALL):
        frames, masks = rows.frames[geometry.key], rows.masks[geometry.key]
        assert (frames.dtype, frames.shape) == (torch.uint8, (10, 3, *geometry.size))
        assert (masks.dtype, masks.shape) == (torch.bool, (10, *geometry.size))
        assert frames.is_contiguous(memory_format=torch.channels_last)
        for i, sample in enumerate(data.samples):
            if rows.statuses[i] == "unreadable":
                assert not frames[i].any()
            else:
                image = data.read(sample)
                assert rows.sizes[i] == image.size
                np.testing.assert_array_equal(frames[i].permute(1, 2, 0).numpy(), geometry.frame(image))
            if rows.statuses[i] == "ok":
                np.testing.assert_array_equal(masks[i].numpy(), geometry.frame_mask(object_mask(*rows.sizes[i])))
                assert masks[i].any()
            else:
                assert not masks[i].any()
    assert [i for i, message in enumerate(rows.messages) if message] == [2, 4, 7]
    assert "a web page" in rows.messages[4]
    assert "no such file" in rows.messages[7]
    assert rows.sizes[4] == rows.sizes[7] == (0, 0)
    assert all(region.mask is None for region in rows.regions)
    assert [region.status for region in rows.regions[:3]] == ["ok", "ok", "mask_mismatch"]
    assert rows.regions[0].detail["area"] == pytest.approx(20 * 30 / (60 * 40))


def test_frames_are_channels_first_rgb(data):
    batch = next(load_batches(data.source, data.samples, [PLAIN], workers=0))
    assert batch.frames[PLAIN.key].shape == (8, 3, HEIGHT, WIDTH)
    np.testing.assert_array_equal(corners(batch.frames[PLAIN.key][0].permute(1, 2, 0).numpy()), CORNERS)


def test_without_segmenter(data):
    batch = next(load_batches(data.source, data.samples, [PLAIN], workers=0))
    assert batch.masks == {}
    assert batch.statuses[:5] == ["ok", "ok", "ok", "ok", "unreadable"]
    assert {region.status for region in batch.regions} == {"no_mask"}


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_given_are_kept(data, workers):
    s = data.samples
    given = [[s[5]], [s[9], s[0], s[3]], [s[8], s[1]]]
    batches = list(load_batches(data.source, given, [SMALL], workers=workers, batch_size=1000))
    assert [[sample.index for sample in batch.samples] for batch in batches] == [[5], [9, 0, 3], [8, 1]]
    alone = next(load_batches(data.source, [s[3]], [SMALL], workers=0)).frames[SMALL.key][0]
    assert torch.equal(batches[1].frames[SMALL.key][2], alone)


def test_nothing_to_load(data):
    assert list(load_batches(data.source, [], [PLAIN], workers=2)) == []


@dataclass
class Counting:
    """A source that notes each decoding in a file (workers share no memory) and fails as told."""

    log: Path
    broken: dict[int, Exception] = field(default_factory=dict)

    def read(self, sample: Sample) -> Image.Image:
        with open(self.log, "a") as log:
            log.write(f"{sample.index}\n")
        if sample.index in self.broken:
            raise self.broken[sample.index]
        return photo()

    def read_mask(self, sample: Sample, size: tuple[int, int]) -> Region:
        return Region(object_mask())


@dataclass
class Given:
    """A segmenter that returns or raises what it was given per index."""

    results: dict[int, object]
    name: str = "given"
    needs_networks: bool = False

    def identity(self) -> dict:
        return {"name": self.name}

    def region(self, sample: Sample, image: Image.Image) -> Region:
        result = self.results.get(sample.index, Region(object_mask()))
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture
def made(data, tmp_path):
    """``made(broken)`` -> a data set of six samples that fail as told."""

    def make(broken=None):
        samples = tuple(Sample(str(i), i) for i in range(6))
        return replace(data, samples=samples, source=Counting(tmp_path / "log", broken or {}))

    return make


@pytest.mark.parametrize("workers", [0, 2])
def test_one_decode_per_image_however_many_geometries(made, tmp_path, workers):
    dataset = made()
    list(load_batches(dataset.source, dataset.samples, [PLAIN, SMALL], Given({}), batch_size=2, workers=workers))
    assert sorted((tmp_path / "log").read_text().split()) == list("012345")


@pytest.mark.parametrize("workers", [0, 1])
def test_exceptions_become_statuses(made, workers):
    dataset = made({1: ZeroDivisionError("by\n  zero"), 3: MemoryError(), 4: DasExplainError("a clear line")})
    not_found = Region(None, "no_object", {"prompt": "a cat."})
    segmenter = Given({0: RuntimeError("no weights"), 2: Region(np.ones((3, 3), bool)), 5: not_found})
    batch = together(
        list(load_batches(dataset.source, dataset.samples, [PLAIN], segmenter, batch_size=4, workers=workers))
    )
    no_region, no_photo = "mask_unreadable", "unreadable"
    assert batch.statuses == [no_region, no_photo, no_region, no_photo, no_photo, "no_object"]
    assert batch.messages == [
        "RuntimeError: no weights",
        "ZeroDivisionError: by zero",
        "ValueError: a mask of shape (3, 3) for a photo of 60 x 40",
        "MemoryError",
        "a clear line",
        "",
    ]
    assert batch.regions[5] == not_found
    np.testing.assert_array_equal(corners(batch.frames[PLAIN.key][0].permute(1, 2, 0).numpy()), CORNERS)


def test_object_outside_the_crop_is_an_empty_mask(made):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:, :3] = True
    dataset = made()
    middle, segmenter = Geometry((20, 20), 40), Given({0: Region(mask)})
    batch = next(load_batches(dataset.source, dataset.samples[:1], [middle], segmenter, workers=0))
    assert batch.statuses == ["ok"]
    assert not batch.masks[middle.key].any()
    assert batch.regions[0].detail["area"] == pytest.approx(3 / 60)


@dataclass
class Deadly(Counting):
    """Its third image kills the process that decodes it."""

    parent: int = field(default_factory=os.getpid)

    def read(self, sample: Sample) -> Image.Image:
        if sample.index == 2 and os.getpid() != self.parent:
            os.kill(os.getpid(), signal.SIGTERM)
        return photo()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_killed_worker_is_one_line(made, tmp_path):
    dataset = replace(made(), source=Deadly(tmp_path / "log"))
    with pytest.raises(DasExplainError, match="fewer --workers") as caught:
        list(load_batches(dataset.source, dataset.samples, [SMALL], batch_size=1, workers=1))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_a_killed_parent(how):
    """Regression: with more to send than its pipe holds, a worker waited for ever for someone to read it."""
    code = (
        "import os, time, numpy\n"
        "from das_explain.batches.workers import read_ahead\n"
        "class Reader:\n"
        "    def __getitem__(self, item):\n"
        "        return os.getpid(), numpy.zeros(1 << 20)\n"  # a pipe holds 64 KB
        "if __name__ == '__main__':\n"
        "    items = read_ahead(Reader(), range(100), 1)\n"
        "    print(next(items)[0], flush=True)\n"
        "    time.sleep(100)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root) as parent:
        worker = int(parent.stdout.readline())
        time.sleep(0.5)  # the next items fill the pipe
        parent.send_signal(how)
        parent.stdout.close()  # else: the worker holds the other end
    assert gone(worker, 20)


def gone(process: int, seconds: float) -> bool:
    """Whether the process ends in time; it is ended otherwise."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{process}/stat").exists() and ") Z " in Path(f"/proc/{process}/stat").read_text():
            return True  # it has ended; in a container nobody may ever ask for its exit code
        time.sleep(0.1)
    os.kill(process, signal.SIGKILL)
    return False


@dataclass
class Threads(Counting):
    """Tells through the frame how many threads the process would use."""

    def read(self, sample: Sample) -> Image.Image:
        import cv2

        return Image.new("RGB", (WIDTH, HEIGHT), (torch.get_num_threads(), cv2.getNumThreads(), os.getpid() % 251))


def test_workers_use_one_thread_each(made, tmp_path):
    dataset = replace(made(), source=Threads(tmp_path / "log"))
    batches = list(load_batches(dataset.source, dataset.samples, [PLAIN], batch_size=1, workers=2))
    seen = torch.stack([batch.frames[PLAIN.key][0, :, 5, 5] for batch in batches])
    assert (seen[:, :2] == 1).all()
    assert len(set(seen[:, 2].tolist())) == 2


def test_workers_start_after_opencv_has_used_threads():
    """Regression: OpenCV's thread pool does not survive a fork, and telling it so in the worker never returned."""
    code = (
        "import cv2\nfrom das_explain.data.dataset import open_dataset\nfrom das_explain.batches.load import load_batches\n"
        "from das_explain.data.geometry import Geometry\n"
        "if __name__ == '__main__':\n"
        "    cv2.setNumThreads(4)\n"
        "    data = open_dataset('collage:20')\n"
        "    for workers in (0, 2):\n"
        "        for batch in load_batches(data.source, data.samples, [Geometry((8, 8), 8)], batch_size=5, workers=workers):\n"
        "            print(*batch.statuses)\n"
        "    print(cv2.getNumThreads())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.split() == ["ok"] * 40 + ["4"]
    assert done.stderr == ""


def test_workers_get_no_list_of_samples(data):
    """What is sent to a worker when it starts does not grow with the data set."""
    from das_explain.batches.load import _Decoder

    def weight(dataset):
        return len(pickle.dumps(_Decoder(dataset.source, [PLAIN], create_segmenter("masks", dataset))))

    many = replace(data, samples=data.samples * 1000)
    assert weight(many) == weight(data)


def test_what_workers_send_is_by_value(data):
    """No tensors, which torch would put into shared memory; no photo and no mask of the photo's size."""
    from das_explain.batches.load import _Decoder

    shown = _Decoder(data.source, [SMALL], create_segmenter("masks", data))[data.samples[0]]
    assert {type(each) for each in (*shown.frames.values(), *shown.masks.values())} == {np.ndarray}
    sent = pickle.dumps(shown)
    assert len(sent) < 16 * 24 * 4 + 1500
    again = pickle.loads(sent)
    np.testing.assert_array_equal(again.frames[SMALL.key], shown.frames[SMALL.key])
    assert (again.sample, again.status, again.region) == (shown.sample, "ok", shown.region)


def test_no_process_is_started_for_a_handful_of_photos(data, monkeypatch):
    started = []
    monkeypatch.setattr(workers, "DataLoader", lambda *_, num_workers, **__: started.append(num_workers) or [])
    monkeypatch.setattr(workers, "default_workers", lambda: 3)
    for count, given in ((4, None), (5, None), (4, 2)):
        workers.read_ahead(None, data.samples[:count], given)
    assert started == [3, 2]


def test_default_workers(monkeypatch):
    for usable, expected in ((1, 0), (2, 1), (3, 1), (8, 4), (64, 8)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=usable: set(range(n)), raising=False)
        assert default_workers() == expected
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert default_workers() == 0
