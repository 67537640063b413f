"""A finder behind the cache: found once, read ever after, whatever becomes of single photos."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from das_explain.batches.load import load_batches
from das_explain.data.dataset import open_dataset
from das_explain.data.geometry import Geometry
from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence import shards
from das_explain.evidence.run import Run
from das_explain.evidence.values import Photo
from das_explain.segment import FINDERS, create_segmenter
from das_explain.segment.cache import MaskCache, clear, shelves
from das_explain.segment.cached import CachedFinder
from das_explain.types import Region
from tests.models import model_directory
from tests.photos import store
from tests.runs import score_dataset
from tests.segment.fake_finder import BrightFinder, bright_photo


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DAS_EXPLAIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path) -> Path:
    for number in range(7):
        path = tmp_path / "photos" / ("dog" if number % 2 else "cat") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        bright_photo(number).save(path)
    return tmp_path / "photos"


def expected(seed: int) -> np.ndarray:
    mask = np.zeros((32, 48), bool)
    mask[2 + seed % 9 : 11 + seed % 9, 3 + seed % 20 : 18 + seed % 20] = True
    return mask


def calls(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


WHOLE = Geometry((32, 48), 32)  # the photos as they are


def shown(dataset, finder: CachedFinder, samples=None, **options) -> int:
    """Sends the samples through the loader; how many of their photos the finder saw, in this process."""
    before, samples = finder.finder.shown, dataset.samples if samples is None else samples
    options = {"workers": 0, "batch_size": 3, **options}
    batches = list(load_batches(dataset.source, samples, [WHOLE], finder, **options))
    assert [sample for batch in batches for sample in batch.samples] == list(samples)
    return finder.finder.shown - before


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("workers", [0, 1])
def test_found_once_then_read(tmp_path, photos, workers, ahead):
    log = tmp_path / "log"
    dataset = open_dataset(photos)
    finder = CachedFinder(BrightFinder(log=log), batch=3)
    seen, masks = [], {}
    options = {"workers": workers, "ahead": ahead, "batch_size": 4}
    told = {"finding": lambda done, of: seen.append((done, of))}
    for batch in load_batches(dataset.source, dataset.samples, [WHOLE], finder, **options, **told):
        assert batch.statuses == ["ok"] * len(batch)
        for sample, mask, region in zip(batch.samples, batch.masks[WHOLE.key], batch.regions):
            masks[sample.name] = mask.numpy()
            assert region.detail["prompt"] == f"{sample.label}."
            assert region.detail["area"] == pytest.approx(9 * 15 / (32 * 48), abs=1e-6)
    assert list(masks) == [sample.name for sample in dataset.samples]
    assert calls(log) == finder.finder.shown == 7
    assert seen == [(0, 7), (3, 7), (6, 7), (7, 7)]
    for sample in dataset.samples:
        region = pickle.loads(pickle.dumps(finder)).region(sample, dataset.read(sample))
        np.testing.assert_array_equal(region.mask, expected(int(Path(sample.name).stem)))
        np.testing.assert_array_equal(masks[sample.name], region.mask)
    again = CachedFinder(BrightFinder(log=log))
    assert shown(dataset, again, finding=lambda done, of: pytest.fail("nothing to find"), **options) == 0
    assert again.finder.network is None
    assert calls(log) == 7


def test_numbers_that_json_lacks_do_not_stop_a_run(tmp_path, photos):
    class Wild(BrightFinder):
        def find(self, samples, images):
            wild = {"iou": [float("nan")], "alternatives": [[{"iou": float("inf")}]]}
            return [Region(each.mask, each.status, {**each.detail, **wild}) for each in super().find(samples, images)]

    dataset = open_dataset(photos)
    model = f"m={model_directory(tmp_path / 'm', ['cat', 'dog'])}"
    records = []
    for number in range(2):
        run = score_dataset(dataset, CachedFinder(Wild()), models=(model,), out=tmp_path / f"run{number}", batch=3)
        records.append([photo.region for photo in photos_of(run)])
        assert records[-1][0]["iou"] == [None]
    assert records[0] == records[1]


def test_known_again_under_another_name_and_when_turned(tmp_path, photos):
    log = tmp_path / "log"
    dataset = open_dataset(photos)
    shown(dataset, CachedFinder(BrightFinder(log=log)))
    other = tmp_path / "copy" / "cat"
    store(bright_photo(0), other / "renamed.png")
    store(bright_photo(2), other / "turned.png", 6)  # the same photo stored on its side
    copied = open_dataset(tmp_path / "copy")
    finder = CachedFinder(BrightFinder(log=log))
    assert shown(copied, finder) == 0
    by_name = {sample.name: sample for sample in copied.samples}
    turned = by_name["cat/turned.png"]
    np.testing.assert_array_equal(finder.region(turned, copied.read(turned)).mask, expected(2))


def test_a_sample_with_nothing_to_ask_for_starts_nothing(tmp_path, photos):
    class Asking(BrightFinder):
        def prompt(self, sample):
            return "" if sample.label == "cat" else "dog."

    dataset = open_dataset(photos)
    finder = CachedFinder(Asking(log=tmp_path / "log"))
    cats = [sample for sample in dataset.samples if sample.label == "cat"]
    assert shown(dataset, finder, cats) == 0
    assert finder.finder.network is None
    region = finder.region(cats[0], dataset.read(cats[0]))
    assert (region.mask, region.status) == (None, "no_mask")
    assert shown(dataset, finder) == len(dataset) - len(cats)


@pytest.mark.parametrize("change", [{"threshold": 151}, {"template": "a photo of {label}"}, {"name": "boxes+sam"}])
def test_other_settings_find_again(tmp_path, photos, change):
    dataset = open_dataset(photos)
    shown(dataset, CachedFinder(BrightFinder()))
    assert shown(dataset, CachedFinder(BrightFinder())) == 0
    assert shown(dataset, CachedFinder(BrightFinder(**change))) == 7


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_the_same_photo_twice_is_found_once(tmp_path, batch):
    for name in ("a", "b", "c"):
        store(bright_photo(4), tmp_path / "twins" / "cat" / f"{name}.png")
    dataset = open_dataset(tmp_path / "twins")
    assert shown(dataset, CachedFinder(BrightFinder(), batch=batch)) == 1


def test_trouble_with_single_photos(tmp_path, photos):
    (photos / "cat" / "broken.png").write_bytes(b"no photo")
    Image.new("RGB", (5, 4)).save(photos / "cat" / "dark.png")
    dataset = open_dataset(photos)
    finder = CachedFinder(BrightFinder(fail="3.png"), batch=2)
    batches = load_batches(dataset.source, dataset.samples, [Geometry((16, 16), 16)], finder, workers=0, batch_size=20)
    (batch,) = batches
    status = dict(zip((sample.name for sample in batch.samples), batch.statuses))
    assert status["cat/broken.png"] == "unreadable"
    assert status["cat/dark.png"] == "no_object"
    assert status["dog/3.png"] == "mask_unreadable"
    assert batch.messages[batch.statuses.index("mask_unreadable")] == "out of memory"
    assert list(status.values()).count("ok") == 6
    # What may pass (no memory) is tried again; that there is no object is known.
    assert finder.finder.shown == 8
    assert shown(dataset, CachedFinder(BrightFinder(), batch=2)) == 1


def test_a_mask_that_does_not_fit_its_photo_is_found_again(photos):
    dataset = open_dataset(photos)
    finder = CachedFinder(BrightFinder())
    sample = dataset.samples[0]
    key = finder.cache.key(dataset.read(sample), "cat.")
    finder.cache.store(key, Region(np.ones((5, 4), bool)))
    assert finder.region(sample, dataset.read(sample)) is None
    assert shown(dataset, finder, [sample]) == 1
    assert finder.cache.load(key).mask.shape == (32, 48)


def test_a_cache_that_cannot_be_written_is_told_before_networks_are_loaded(tmp_path, photos, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DAS_EXPLAIN_CACHE", str(tmp_path / "file"))
    finder = CachedFinder(BrightFinder())
    with pytest.raises(DasExplainError, match="cannot write to"):
        shown(open_dataset(photos), finder)
    assert finder.finder.shown == 0


def test_photos_per_call():
    for own, called in ((1, 1), (2, 8), (4, 16)):
        finder = BrightFinder()
        finder.batch = own
        assert CachedFinder(finder).batch == called
        assert CachedFinder(finder, batch=3).batch == 3


def test_a_finder_that_swaps_height_and_width_is_caught(photos):
    class Swapping(BrightFinder):
        def find(self, samples, images):
            return [Region(region.mask.T, detail=region.detail) for region in super().find(samples, images)]

    dataset = open_dataset(photos)
    with pytest.raises(ValueError, match="shape"):
        shown(dataset, CachedFinder(Swapping()))


def test_registry_checks_options_and_makes_a_cached_finder(photos, monkeypatch):
    monkeypatch.setitem(FINDERS, "grounded-sam", "tests.segment.fake_finder:BrightOptions")
    dataset = open_dataset(photos)
    segmenter = create_segmenter("grounded-sam", dataset, template="one {label}", threshold=9)
    assert segmenter.identity()["threshold"] == 9
    assert segmenter.finder.prompt(dataset.samples[0]) == "one cat."
    with pytest.raises(UsageError, match="has no option colour; it has device, template, threshold"):
        create_segmenter("grounded-sam", dataset, colour=1)


# ---- in a run


def photos_of(run: Run) -> list[Photo]:
    """What the evidence knows of each image before any model."""
    return [photo for evidence in run.evidence() for photo in evidence.photos]


def scored(dataset, model: str, out: Path, finder: BrightFinder):
    seen = []
    run = score_dataset(
        dataset,
        CachedFinder(finder),
        models=(model,),
        out=out,
        batch=3,
        finding=lambda done, of: seen.append((done, of)),
    )
    return run, seen


def test_a_second_run_over_the_same_photos_finds_nothing_again(tmp_path, photos):
    Image.new("RGB", (40, 40)).save(photos / "cat" / "dark.png")
    dataset = open_dataset(photos)
    model = f"m={model_directory(tmp_path / 'm', ['cat', 'dog'])}"
    log = tmp_path / "log"
    first, seen = scored(dataset, model, tmp_path / "run1", BrightFinder(log=log))
    assert (seen[0], seen[-1]) == ((0, 8), (8, 8))
    assert calls(log) == 8
    finder = BrightFinder(log=log)
    second, seen = scored(dataset, model, tmp_path / "run2", finder)
    assert seen == []
    assert calls(log) == 8
    assert finder.network is None
    for name in ("scores.csv", "nulls.csv", "summary.csv"):
        assert (tmp_path / "run1" / name).read_bytes() == (tmp_path / "run2" / name).read_bytes()
    assert first.shards.path(0).read_bytes() == second.shards.path(0).read_bytes()
    assert second.manifest["segmenter"] == {"name": "grounded-sam", **finder.identity()}
    assert second.manifest["counts"]["no_object"] == 2  # counted, on both blocks
    known = {photo.image: photo for photo in photos_of(second)}
    assert known["cat/dark.png"].status == "no_object"
    region = known["dog/1.png"].region
    assert (region["prompt"], region["scores"], region["used"]) == ("dog.", [0.41, 0.875], [1])
    assert region["area"] == pytest.approx(9 * 15 / (32 * 48), abs=1e-5)


def test_a_run_that_goes_on_asks_for_what_is_left_only(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(shards, "SIZE", 3)
    dataset = open_dataset(photos)
    model = f"m={model_directory(tmp_path / 'm', ['cat', 'dog'])}"
    run, _ = scored(dataset, model, tmp_path / "run", BrightFinder())
    parts = [run.shards.path(number) for number in range(3)]
    whole = [part.read_bytes() for part in parts]
    run._lock.lock.release()
    parts[1].unlink()
    parts[2].unlink()
    clear()
    log = tmp_path / "log"
    run, seen = scored(dataset, model, tmp_path / "run", BrightFinder(log=log))
    assert (seen[0], seen[-1], calls(log)) == ((0, 4), (4, 4), 4)
    assert [part.read_bytes() for part in parts] == whole


def test_weights_are_part_of_a_run(tmp_path, photos):
    dataset = open_dataset(photos)
    model = f"m={model_directory(tmp_path / 'm', ['cat', 'dog'])}"
    run, _ = scored(dataset, model, tmp_path / "run", BrightFinder())
    run._lock.lock.release()
    with pytest.raises(Exception, match="another run \\(other segmenter\\)"):
        scored(dataset, model, tmp_path / "run", BrightFinder(threshold=151))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["segmenter"]["weights"] == "sha256:0123"


def test_the_cache_of_a_finder_is_its_own(photos):
    assert (
        CachedFinder(BrightFinder()).cache.folder
        == MaskCache({"name": "grounded-sam", **BrightFinder().identity()}).folder
    )


def test_true_networks_are_not_even_built_for_photos_that_are_known(nets, photos, monkeypatch):
    from das_explain.segment.finders import detect, sam

    dataset = open_dataset(photos)
    options = {"detector": str(nets.detector), "sam": str(nets.sam), "side": 64, "box_threshold": 0.05}
    three = dataset.samples[:3]
    first = create_segmenter("grounded-sam", dataset, **options)
    found_now = [each.regions for each in load_batches(dataset.source, three, [WHOLE], first, workers=0)]
    assert len(list(shelves()[0].entries())) == 3
    carried = pickle.dumps(first)
    assert len(carried) < 10_000  # the networks stay behind

    def refuse(*arguments, **named):
        raise AssertionError("a network was built")

    monkeypatch.setattr(detect, "HubDetector", refuse)
    monkeypatch.setattr(sam, "HubSam", refuse)
    second = create_segmenter("grounded-sam", dataset, **options)
    assert [each.regions for each in load_batches(dataset.source, three, [WHOLE], second, workers=1)] == found_now
    for sample in three:
        one, other = (each.region(sample, dataset.read(sample)) for each in (pickle.loads(carried), second))
        assert one.status == other.status
        assert one.detail == other.detail
        assert one.detail["prompt"] == f"{sample.label}."
    with pytest.raises(AssertionError, match="a network was built"):
        list(
            load_batches(
                dataset.source, three, [WHOLE], create_segmenter("grounded-sam", dataset, **{**options, "side": 96})
            )
        )
