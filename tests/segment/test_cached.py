"""A finder behind the cache: found once, read ever after, whatever becomes of single photos."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from das_explain.data import open_dataset
from das_explain.errors import UsageError
from das_explain.evaluate import Options
from das_explain.loader import load_batches
from das_explain.pipeline import Plan, score_dataset
from das_explain.preprocess import Geometry
from das_explain.segment import FINDERS, create_segmenter, prepare
from das_explain.segment.cache import MaskCache
from das_explain.segment.cached import CachedFinder
from das_explain.types import Region
from tests.models import model_directory
from tests.photos import store
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


@pytest.mark.parametrize("workers", [0, 1])
def test_found_once_then_read(tmp_path, photos, workers):
    log = tmp_path / "log"
    dataset = open_dataset(photos)
    finder = CachedFinder(BrightFinder(log=log), batch=3)
    seen = []
    assert finder.prepare(dataset, dataset.samples, lambda done, of: seen.append((done, of)), workers=workers) == 7
    assert calls(log) == 7
    assert seen[0] == (0, 7)
    assert seen[-1] == (7, 7)
    assert seen == sorted(seen)
    for sample in dataset.samples:
        region = pickle.loads(pickle.dumps(finder)).region(sample, dataset.read(sample))
        np.testing.assert_array_equal(region.mask, expected(int(Path(sample.name).stem)))
        assert region.detail["prompt"] == f"{sample.label}."
    again = CachedFinder(BrightFinder(log=log))
    assert again.prepare(dataset, dataset.samples, workers=workers) == 0
    assert again.finder.network is None
    assert calls(log) == 7


def test_known_again_under_another_name_and_when_turned(tmp_path, photos):
    log = tmp_path / "log"
    dataset = open_dataset(photos)
    CachedFinder(BrightFinder(log=log)).prepare(dataset, dataset.samples, workers=0)
    other = tmp_path / "copy" / "cat"
    store(bright_photo(0), other / "renamed.png")
    store(bright_photo(2), other / "turned.png", 6)  # the same photo stored on its side
    copied = open_dataset(tmp_path / "copy")
    finder = CachedFinder(BrightFinder(log=log))
    assert finder.prepare(copied, copied.samples, workers=0) == 0
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
    assert finder.prepare(dataset, cats, workers=0) == 0
    assert finder.finder.network is None
    region = finder.region(cats[0], dataset.read(cats[0]))
    assert (region.mask, region.status) == (None, "no_mask")
    assert finder.prepare(dataset, dataset.samples, workers=0) == len(dataset) - len(cats)


@pytest.mark.parametrize("change", [{"threshold": 151}, {"template": "a photo of {label}"}, {"name": "boxes+sam"}])
def test_other_settings_find_again(tmp_path, photos, change):
    log = tmp_path / "log"
    dataset = open_dataset(photos)
    CachedFinder(BrightFinder(log=log)).prepare(dataset, dataset.samples, workers=0)
    assert CachedFinder(BrightFinder(log=log, **change)).prepare(dataset, dataset.samples, workers=0) == 7


def test_the_same_photo_twice_is_found_once(tmp_path):
    for name in ("a", "b", "c"):
        store(bright_photo(4), tmp_path / "twins" / "cat" / f"{name}.png")
    dataset = open_dataset(tmp_path / "twins")
    assert CachedFinder(BrightFinder()).prepare(dataset, dataset.samples, workers=0) == 1


def test_trouble_with_single_photos(tmp_path, photos):
    (photos / "cat" / "broken.png").write_bytes(b"no photo")
    Image.new("RGB", (5, 4)).save(photos / "cat" / "dark.png")
    dataset = open_dataset(photos)
    finder = CachedFinder(BrightFinder(fail="3.png", log=tmp_path / "log"), batch=2)
    assert finder.prepare(dataset, dataset.samples, workers=0) == 8
    batches = load_batches(dataset, dataset.samples, [Geometry((16, 16), 16)], finder, workers=0, batch_size=20)
    (batch,) = batches
    status = dict(zip((sample.name for sample in batch.samples), batch.statuses))
    assert status["cat/broken.png"] == "unreadable"
    assert status["cat/dark.png"] == "no_object"
    assert status["dog/3.png"] == "mask_unreadable"
    assert batch.messages[batch.statuses.index("mask_unreadable")] == "out of memory"
    assert list(status.values()).count("ok") == 6
    # What may pass (no memory) is tried again; that there is no object is known.
    again = CachedFinder(BrightFinder(log=tmp_path / "log2"), batch=2)
    assert again.prepare(dataset, dataset.samples, workers=0) == 1


def test_a_mask_that_vanished_is_a_status(photos):
    dataset = open_dataset(photos)
    finder = CachedFinder(BrightFinder())
    region = finder.region(dataset.samples[0], dataset.read(dataset.samples[0]))
    assert (region.mask, region.status) == (None, "mask_unreadable")
    assert "run the same command again" in region.detail["message"]


def test_a_finder_that_swaps_height_and_width_is_caught(photos):
    class Swapping(BrightFinder):
        def find(self, samples, images):
            return [Region(region.mask.T, detail=region.detail) for region in super().find(samples, images)]

    dataset = open_dataset(photos)
    with pytest.raises(ValueError, match="shape"):
        CachedFinder(Swapping()).prepare(dataset, dataset.samples, workers=0)


def test_registry_checks_options_and_makes_a_cached_finder(photos, monkeypatch):
    monkeypatch.setitem(FINDERS, "grounded-sam", "tests.segment.fake_finder:create")
    dataset = open_dataset(photos)
    segmenter = create_segmenter("grounded-sam", dataset, template="one {label}", threshold=9)
    assert segmenter.identity()["threshold"] == 9
    assert segmenter.finder.prompt(dataset.samples[0]) == "one cat."
    with pytest.raises(UsageError, match="has no option colour; it has device, template, threshold"):
        create_segmenter("grounded-sam", dataset, colour=1)


# ---- in a run


def scored(dataset, model: str, out: Path, finder: BrightFinder):
    plan = Plan(models=(model,), out=out, options=Options(), batch=3, workers=0)
    seen = []
    run = score_dataset(dataset, CachedFinder(finder), plan, finding=lambda done, of: seen.append((done, of)))
    return run, seen


def test_a_second_run_over_the_same_photos_finds_nothing_again(tmp_path, photos):
    Image.new("RGB", (40, 40)).save(photos / "cat" / "dark.png")
    dataset = open_dataset(photos)
    model = f"m={model_directory(tmp_path / 'm', ['cat', 'dog'])}"
    log = tmp_path / "log"
    first, seen = scored(dataset, model, tmp_path / "run1", BrightFinder(log=log))
    assert seen[-1] == (8, 8)
    assert calls(log) == 8
    finder = BrightFinder(log=log)
    second, _ = scored(dataset, model, tmp_path / "run2", finder)
    assert calls(log) == 8
    assert finder.network is None
    for name in ("scores.csv", "nulls.csv", "summary.csv"):
        assert (tmp_path / "run1" / name).read_bytes() == (tmp_path / "run2" / name).read_bytes()
    assert first.journal.read_bytes() == second.journal.read_bytes()
    assert second.manifest["segmenter"] == {"name": "grounded-sam", **finder.identity()}
    assert second.manifest["counts"]["no_object"] == 2  # counted, on both blocks
    records = {record["image"]: record for record in second.records()}
    assert records["cat/dark.png"]["status"] == "no_object"
    region = records["dog/1.png"]["region"]
    assert (region["prompt"], region["scores"], region["used"]) == ("dog.", [0.41, 0.875], [1])
    assert region["area"] == pytest.approx(9 * 15 / (32 * 48), abs=1e-5)


def test_a_run_that_goes_on_asks_for_what_is_left_only(tmp_path, photos):
    dataset = open_dataset(photos)
    model = f"m={model_directory(tmp_path / 'm', ['cat', 'dog'])}"
    run, _ = scored(dataset, model, tmp_path / "run", BrightFinder())
    whole = run.journal.read_bytes()
    run._lock.release()
    run.journal.write_bytes(b"".join(whole.splitlines(keepends=True)[:3]))
    run, seen = scored(dataset, model, tmp_path / "run", BrightFinder())
    assert seen[-1] == (4, 4)
    assert run.journal.read_bytes() == whole


def test_weights_are_part_of_a_run(tmp_path, photos):
    dataset = open_dataset(photos)
    model = f"m={model_directory(tmp_path / 'm', ['cat', 'dog'])}"
    run, _ = scored(dataset, model, tmp_path / "run", BrightFinder())
    run._lock.release()
    with pytest.raises(Exception, match="another run \\(other segmenter\\)"):
        scored(dataset, model, tmp_path / "run", BrightFinder(threshold=151))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["segmenter"]["weights"] == "sha256:0123"


def test_prepare_leaves_other_segmenters_alone(tmp_path):
    prepare(None, None, ())
    store(bright_photo(0), tmp_path / "p" / "x.png")
    (tmp_path / "p.csv").write_text("image,boxes\np/x.png,1 2 5 9\n")
    dataset = open_dataset(tmp_path / "p.csv")
    prepare(create_segmenter("boxes", dataset), dataset, dataset.samples, lambda done, of: pytest.fail("no work"))


def test_the_cache_of_a_finder_is_its_own(photos):
    assert (
        CachedFinder(BrightFinder()).cache.folder
        == MaskCache({"name": "grounded-sam", **BrightFinder().identity()}).folder
    )


def test_true_networks_are_not_even_built_for_photos_that_are_known(nets, photos, monkeypatch):
    from das_explain.segment import detect, sam

    dataset = open_dataset(photos)
    options = {"detector": str(nets.detector), "sam": str(nets.sam), "side": 64, "box_threshold": 0.05}
    first = create_segmenter("grounded-sam", dataset, **options)
    assert first.prepare(dataset, dataset.samples[:3], workers=0) == 3
    carried = pickle.dumps(first)
    assert len(carried) < 10_000  # the networks stay behind

    def refuse(*arguments, **named):
        raise AssertionError("a network was built")

    monkeypatch.setattr(detect, "HubDetector", refuse)
    monkeypatch.setattr(sam, "HubSam", refuse)
    second = create_segmenter("grounded-sam", dataset, **options)
    assert second.prepare(dataset, dataset.samples[:3], workers=1) == 0
    for sample in dataset.samples[:3]:
        one, other = (each.region(sample, dataset.read(sample)) for each in (pickle.loads(carried), second))
        assert one.status == other.status
        assert one.detail == other.detail
        assert one.detail["prompt"] == f"{sample.label}."
    with pytest.raises(AssertionError, match="a network was built"):
        create_segmenter("grounded-sam", dataset, **{**options, "side": 96}).prepare(
            dataset, dataset.samples[:1], workers=0
        )
