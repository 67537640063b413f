"""The rule of ``auto``: what makes the regions of a data set."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from PIL import Image

from das_explain.data.dataset import open_any, open_dataset
from das_explain.errors import UsageError
from das_explain.segment import FINDERS
from das_explain.segment.choose import FINDER_OPTIONS, RegionOptions, choose_segmenter


@pytest.fixture(autouse=True)
def fake_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAS_EXPLAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(FINDERS, "grounded-sam", "tests.segment.fake_finder:BrightOptions")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("cat/a", "dog/b"):
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (8, 6)).save(path)
    Image.new("1", (8, 6), 1).save(tmp_path / "mask.png")
    (tmp_path / "list.csv").write_text("image,mask,x0,y0,x1,y1\nphotos/cat/a.png,mask.png,1,1,4,4\n")
    return tmp_path / "photos"


def test_masks_that_are_there_come_first_then_networks(photos: Path) -> None:
    with_masks, without = open_dataset(photos.parent / "list.csv"), open_dataset(photos)
    assert choose_segmenter(with_masks).name == "masks"
    assert choose_segmenter(with_masks, RegionOptions(box_masks=True)).name == "boxes"
    assert choose_segmenter(with_masks, RegionOptions(segmenter="grounded-sam")).name == "grounded-sam"
    assert choose_segmenter(without).name == "grounded-sam"
    assert choose_segmenter(without, optional=True) is None
    assert choose_segmenter(with_masks, optional=True).name == "masks"


def test_what_was_said_of_a_finder_asks_for_it(photos: Path) -> None:
    options = RegionOptions(finder={"template": "a {label}"})
    assert choose_segmenter(open_dataset(photos), options, optional=True).name == "grounded-sam"
    assert pickle.loads(pickle.dumps(options)) == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (RegionOptions(segmenter="masks", box_masks=True), "--box-masks and --segmenter masks contradict each other"),
        (
            RegionOptions(finder={"side": 64}),
            "--detector-side goes with --segmenter grounded-sam .* R comes from masks",
        ),
        (RegionOptions(segmenter="magic"), "no segmenter is called 'magic'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(photos: Path, options: RegionOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_segmenter(open_dataset(photos.parent / "list.csv"), options)


def test_without_labels_somebody_must_say_what_to_look_for(photos: Path) -> None:
    flat = open_dataset(photos / "cat")
    with pytest.raises(UsageError, match='give --masks, or what is on the photos, --prompt "a dog"'):
        choose_segmenter(flat)
    assert choose_segmenter(flat, RegionOptions(finder={"template": "a dog"})).name == "grounded-sam"


def test_every_flag_of_a_finder_is_one_of_its_options() -> None:
    from das_explain.commands.regions import Regions

    values = {flag: number for number, flag in enumerate(FINDER_OPTIONS)}
    options = Regions(**values).options("cuda")
    assert options.finder == {FINDER_OPTIONS[flag]: number for flag, number in values.items()}
    assert options.device == "cuda"
    assert Regions(segmenter_device="cpu").options("cuda") == RegionOptions(device="cpu")


def test_one_data_spec_or_images_named_one_by_one(photos: Path) -> None:
    a, b = photos / "cat" / "a.png", photos / "dog" / "b.png"
    assert open_any([str(photos)]).labels == ("cat", "dog")
    assert open_any([str(photos.parent / "list.csv")]).has_masks
    assert [sample.path.name for sample in open_any([str(b), str(a)]).samples] == ["b.png", "a.png"]
    assert open_any([str(b), str(a)]).labels is None
    for flag in ("boxes", "split", "root"):
        with pytest.raises(UsageError, match=f"--{flag} goes with data, not with images named one by one"):
            open_any([str(b), str(a)], **{flag: Path("x")})
