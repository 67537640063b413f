"""Masks made on the way to the networks: one decoding per photo, few photos at a time, in a thread where that helps."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from das_explain.batches.ahead import can_overlap, fill_regions, in_a_thread
from das_explain.batches.load import load_batches
from das_explain.data.dataset import open_dataset
from das_explain.data.geometry import Geometry
from das_explain.errors import DasExplainError
from das_explain.segment.cached import CachedFinder
from das_explain.types import Region
from tests.models import model_directory
from tests.runs import score_dataset
from tests.segment.fake_finder import BrightFinder, bright_photo


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DAS_EXPLAIN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path) -> Path:
    for number in range(7):
        path = tmp_path / "photos" / ("dog" if number % 2 else "cat") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        bright_photo(number).save(path)
    return tmp_path / "photos"


def load(dataset, finder: CachedFinder, **options) -> None:
    options = {"workers": 0, "batch_size": 3, **options}
    assert sum(map(len, load_batches(dataset.source, dataset.samples, [Geometry((8, 8), 8)], finder, **options))) == 7


class Decodings:
    """A source that notes each decoding in a file."""

    def __init__(self, source, log: Path) -> None:
        self.source, self.log = source, log

    def read(self, sample):
        with self.log.open("a") as file:
            file.write(f"{sample.name}\n")
        return self.source.read(sample)


@pytest.mark.parametrize("workers", [0, 2])
def test_each_photo_is_decoded_once_in_a_run(tmp_path, photos, workers):
    """Whether its mask is found or known: found and scored from the same pixels."""
    dataset = open_dataset(photos)
    log = tmp_path / "decodings"
    watched = replace(dataset, source=Decodings(dataset.source, log))
    model = f"m={model_directory(tmp_path / 'm', ['cat', 'dog'])}"
    for number in range(2):
        finder = CachedFinder(BrightFinder(), batch=2)
        run = score_dataset(watched, finder, models=(model,), out=tmp_path / f"run{number}", batch=3, workers=workers)
        assert finder.finder.shown == (0 if number else 7)
        assert run.manifest["counts"].get("ok", 0) + run.manifest["counts"].get("no_background", 0) == 14
        assert sorted(log.read_text().split()) == sorted(sample.name for sample in dataset.samples)
        log.unlink()
    assert (tmp_path / "run0" / "scores.csv").read_bytes() == (tmp_path / "run1" / "scores.csv").read_bytes()


@pytest.mark.parametrize(("every", "calls", "most"), [(1, 100, 2), (2, 50, 3), (300, 1, 8)])
def test_photos_wait_in_small_groups(every, calls, most):
    """However many photos follow that are known, and however many that are not: memory does not grow with the data."""
    read, asked = 0, []

    def items():
        nonlocal read
        for number in range(200):
            read += 1
            region = None if number % every == 0 else Region(None, "no_object", {"number": number})
            yield SimpleNamespace(sample=number, region=region, photo=None if region else f"photo {number}")

    def find(samples, photos):
        assert photos == [f"photo {number}" for number in samples]
        asked.append(samples)
        return [Region(None, "ok", {"number": number}) for number in samples]

    for passed, item in enumerate(fill_regions(items(), SimpleNamespace(batch=2, find=find))):
        assert item.region.detail["number"] == item.sample == passed
        assert item.region.status == ("no_object" if passed % every else "ok")
        assert read - passed <= most
    assert passed + 1 == 200
    assert len(asked) == calls
    assert sum(asked, []) == list(range(0, 200, every))


def test_a_thread_works_ahead_and_not_too_far():
    begun: list[int] = []
    threads = set()

    def work():
        for number in range(20):
            begun.append(number)
            threads.add(threading.current_thread())
            yield number

    items = in_a_thread(work(), 4)
    assert next(items) == 0
    deadline = time.monotonic() + 20
    while len(begun) < 5 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert begun == [0, 1, 2, 3, 4]  # one was taken, four wait
    assert list(items) == list(range(1, 20))
    assert threading.current_thread() not in threads
    assert len(threads) == 1


def test_what_fails_in_the_thread_fails_here_and_nothing_is_left_running():
    def work(last=3):
        yield from range(last)
        raise DasExplainError("no weights")

    items = in_a_thread(work(), 2)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DasExplainError, match="no weights"):
        next(items)
    early = in_a_thread(iter(range(10**9)), 3)
    next(early)
    early.close()  # as when the consumer fails
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("masks")]


@pytest.mark.parametrize("ahead", [False, True])
def test_weights_that_cannot_be_used_stop_at_the_first_photo(photos, ahead):
    class Broken(BrightFinder):
        def find(self, samples, images):
            self.shown += len(samples)
            raise DasExplainError("the weights do not fit")

    dataset = open_dataset(photos)
    finder = CachedFinder(Broken(), batch=2)
    with pytest.raises(DasExplainError, match="the weights do not fit"):
        load(dataset, finder, ahead=ahead)
    assert finder.finder.shown == 2


@pytest.mark.parametrize("ahead", [False, True])
def test_a_killed_worker_is_one_line_here_too(photos, ahead):
    class Deadly:
        def __init__(self, source) -> None:
            self.source, self.parent = source, os.getpid()

        def read(self, sample):
            if sample.index == 4 and os.getpid() != self.parent:
                os.kill(os.getpid(), signal.SIGKILL)
            return self.source.read(sample)

    dataset = open_dataset(photos)
    with pytest.raises(DasExplainError, match="fewer --workers"):
        load(replace(dataset, source=Deadly(dataset.source)), CachedFinder(BrightFinder()), workers=1, ahead=ahead)


def test_weights_that_were_wrong_do_not_hold_the_folder(tmp_path, photos):
    class Broken(BrightFinder):
        def find(self, samples, images):
            raise DasExplainError("the weights do not fit")

    dataset = open_dataset(photos)
    model = f"m={model_directory(tmp_path / 'm', ['cat', 'dog'])}"
    how = {"models": (model,), "out": tmp_path / "run", "batch": 3}
    with pytest.raises(DasExplainError, match="the weights do not fit"):
        score_dataset(dataset, CachedFinder(Broken(threshold=1)), **how)
    gc.collect()  # the lock of the run that failed
    assert len(score_dataset(dataset, CachedFinder(BrightFinder()), **how).table("scores")) == 14


def test_a_thread_of_its_own_unless_all_runs_on_the_processor():
    finder = CachedFinder(BrightFinder())
    for where, device, expected in (
        ("cpu", "cpu", False),
        ("cuda:1", "cpu", True),
        ("cpu", "cuda", True),
        ("cuda", "cuda", True),
    ):
        finder.finder.device = where
        assert can_overlap(finder, torch.device(device)) is expected
    assert not can_overlap(None, torch.device("cuda"))
    assert not can_overlap(SimpleNamespace(name="masks", needs_networks=False), torch.device("cuda"))
