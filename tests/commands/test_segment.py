"""``segment``, ``cache`` and the flags of ``sfd`` as a user meets them, with a finder that needs no weights."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from das_explain.commands import app
from das_explain.data.dataset import open_dataset
from das_explain.errors import DasExplainError
from das_explain.folders import inside
from das_explain.segment import FINDERS, create_segmenter
from das_explain.segment.names import FileNames
from tests.models import model_directory
from tests.photos import store, store_mask
from tests.segment.fake_finder import BrightFinder, bright_photo

coco_mask = pytest.importorskip("pycocotools.mask")


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DAS_EXPLAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BRIGHT_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setitem(FINDERS, "grounded-sam", "tests.segment.fake_finder:BrightOptions")


def run(*arguments: object, code: int = 0) -> str:
    """The command's output; with ``code`` its one-line error."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if code:
        assert isinstance(result.exception, DasExplainError), result.output
        assert result.exception.exit_code == code
        return str(result.exception)
    assert result.exception is None, result.exception
    return result.output


def calls(tmp_path: Path) -> int:
    return len((tmp_path / "log").read_text().splitlines()) if (tmp_path / "log").exists() else 0


def expected(seed: int) -> np.ndarray:
    mask = np.zeros((32, 48), bool)
    mask[2 + seed % 9 : 11 + seed % 9, 3 + seed % 20 : 18 + seed % 20] = True
    return mask


@pytest.fixture
def photos(tmp_path) -> Path:
    """Two classes whose photos have the same names; one turned by EXIF, one dark, one broken."""
    for number in range(4):
        store(bright_photo(number), tmp_path / "photos" / ("dog" if number % 2 else "cat") / f"{number // 2}.png")
    store(bright_photo(4), tmp_path / "photos" / "cat" / "turned.png", 6)
    Image.new("RGB", (20, 30)).save(tmp_path / "photos" / "dog" / "dark.png")
    (tmp_path / "photos" / "dog" / "broken.png").write_bytes(b"x")
    return tmp_path / "photos"


TRUTH = {"cat/0.png": 0, "dog/0.png": 1, "cat/1.png": 2, "dog/1.png": 3, "cat/turned.png": 4}


def masks_of(dataset) -> dict:
    segmenter = create_segmenter("masks", dataset)
    return {
        sample.name: segmenter.region(sample, dataset.read(sample))
        for sample in dataset.samples
        if "broken" not in sample.name
    }


def check(found: dict) -> None:
    """Whatever the names are relative to, the masks are the right ones."""
    for name, seed in TRUTH.items():
        (region,) = (region for given, region in found.items() if given.endswith(name))
        np.testing.assert_array_equal(region.mask, expected(seed))
    (dark,) = (region for name, region in found.items() if name.endswith("dark.png"))
    assert dark.status == "no_object"


def test_everything_that_segment_writes_comes_back(photos, tmp_path):
    out = tmp_path / "out"
    printed = run("segment", photos, "--out", out, "--workers", 0)
    assert "1 no_object, 5 ok, 1 unreadable" in printed
    table = pd.read_csv(out / "masks.csv", keep_default_na=False).set_index("name")
    assert list(table.columns[:3]) == ["image", "label", "mask"]
    assert table.loc["dog/0.png", ["label", "status", "prompt", "score", "iou", "boxes"]].tolist() == [
        "dog",
        "ok",
        "dog.",
        "0.875",
        "0.93",
        "4 3 19 12",
    ]
    assert table.loc["dog/broken.png", "status"] == "unreadable"
    assert (table.loc["dog/dark.png", "status"], table.loc["dog/dark.png", "boxes"]) == ("no_object", "")

    check(masks_of(open_dataset(out / "masks.csv")))
    for again in ("masks.csv", "masks", "coco.json"):
        check(masks_of(open_dataset(photos, masks=out / again)))
    check(masks_of(open_dataset(out / "masks.csv", masks=out / "coco.json")))
    boxed = create_segmenter("boxes", open_dataset(out / "masks.csv"))
    assert boxed is not None
    story = json.loads((out / "segment.json").read_text())
    assert story["segmenter"]["weights"] == "sha256:0123"
    assert story["counts"] == {"no_object": 1, "ok": 5, "unreadable": 1}


def test_coco_json_as_pycocotools_reads_it(photos, tmp_path):
    run("segment", photos, "--out", tmp_path / "out", "--workers", 0, "--no-overlays")
    assert not (tmp_path / "out" / "overlays").exists()
    from pycocotools.coco import COCO

    coco = COCO(str(tmp_path / "out" / "coco.json"))
    images = {image["file_name"]: image for image in coco.dataset["images"]}
    assert set(images) == {*TRUTH, "dog/dark.png"}
    assert {category["name"] for category in coco.dataset["categories"]} == {"cat", "dog"}
    for name, seed in TRUTH.items():
        (annotation,) = coco.loadAnns(coco.getAnnIds(imgIds=[images[name]["id"]]))
        np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), expected(seed))
        assert annotation["bbox"] == [3 + seed % 20, 2 + seed % 9, 15, 9]
        assert annotation["area"] == 135
        assert coco.cats[annotation["category_id"]]["name"] == name.split("/")[0]
    assert coco.getAnnIds(imgIds=[images["dog/dark.png"]["id"]]) == []


def test_overlays_show_mask_boxes_and_prompt(photos, tmp_path):
    run("segment", photos, "--out", tmp_path / "out", "--workers", 0)
    drawn = np.asarray(Image.open(tmp_path / "out" / "overlays" / "cat" / "0.jpg")).astype(int)
    assert drawn.shape[1] == 48 * 21  # enlarged by a whole number, to at most 1024
    assert drawn.shape[0] > 32 * 21  # the caption below
    assert drawn.shape[0] < 32 * 21 + 40
    photo = np.asarray(bright_photo(0)).astype(int)
    centre = drawn[9 * 21 + 10, 10 * 21 + 10]  # inside of the mask: tinted
    np.testing.assert_allclose(centre, 0.7 * photo[9, 10] + 0.3 * np.array([255, 64, 32]), atol=40)
    outside = drawn[25 * 21 + 10, 40 * 21 + 10]
    np.testing.assert_allclose(outside, photo[25, 40], atol=40)
    edge = drawn[6 * 21 : 7 * 21, 3 * 21 + 1 : 3 * 21 + 3].mean((0, 1))  # the outline and the box, on the left edge
    assert edge[0] > 200 > edge[2] + 100
    assert (tmp_path / "out" / "overlays" / "dog" / "dark.jpg").exists()


def test_a_second_segment_and_a_run_find_nothing_again(photos, tmp_path):
    run("segment", photos, "--out", tmp_path / "out", "--workers", 0)
    assert calls(tmp_path) == 6
    run("segment", photos, "--out", tmp_path / "again", "--workers", 1)
    assert calls(tmp_path) == 6
    for name in ("coco.json", "masks.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    model = model_directory(tmp_path / "m", ["cat", "dog"])
    run("sfd", photos, "--model", f"m={model}", "--out", tmp_path / "run", "--workers", 0, "--no-report")
    assert calls(tmp_path) == 6
    # The same scores from the masks as files.
    run(
        "sfd",
        tmp_path / "out" / "masks.csv",
        "--model",
        f"m={model}",
        "--out",
        tmp_path / "run2",
        "--workers",
        0,
        "--no-report",
    )
    columns = ["block", "r_area", "w_r", "sfd", "status"]
    tables = [pd.read_csv(tmp_path / name / "scores.csv") for name in ("run", "run2")]
    pd.testing.assert_frame_equal(*(table[columns] for table in tables))
    assert set(tables[0]["status"]) >= {"ok", "no_object", "unreadable"}


@pytest.mark.parametrize("workers", [0, 1])
def test_masks_found_in_a_thread_are_written_the_same(photos, tmp_path, monkeypatch, workers):
    """As where the networks are on a GPU."""
    run("segment", photos, "--out", tmp_path / "out", "--workers", 0)
    assert run("cache", "clear", code=2).endswith("nobody can answer here: give --yes")
    run("cache", "clear", "--yes")
    threads = set()
    find = BrightFinder.find

    def note(self, samples, images):
        threads.add(threading.current_thread())
        return find(self, samples, images)

    monkeypatch.setattr(BrightFinder, "find", note)
    monkeypatch.setattr("das_explain.batches.export.can_overlap", lambda *_: True)
    run("segment", photos, "--out", tmp_path / "beside", "--workers", workers)
    assert len(threads) == 1
    assert threading.current_thread() not in threads
    assert calls(tmp_path) == 12
    files = [path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) == 4 + 6 + 6
    for name in files:
        if name.name != "segment.json":  # which tells the command
            assert (tmp_path / "beside" / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), name


def test_masks_corrected_by_hand_are_not_lost(photos, tmp_path):
    out = tmp_path / "out"
    run("segment", photos, "--out", out, "--workers", 0)
    corrected = store_mask(~expected(0), out / "masks" / "cat" / "0.png")
    before = corrected.read_bytes()
    assert "perhaps corrected by hand" in run("segment", photos, "--out", out, code=2)
    assert corrected.read_bytes() == before
    run("segment", photos, "--out", out, "--workers", 0, "--overwrite")
    np.testing.assert_array_equal(np.asarray(Image.open(corrected)) > 0, expected(0))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    assert "is not empty" in run("segment", photos, "--out", tmp_path / "mine", "--overwrite", code=2)


def test_a_stopped_segment_goes_on(photos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".das-explain-999-segment.json").write_text("half")
    run("segment", photos, "--out", out, "--workers", 0)
    story = json.loads((out / "segment.json").read_text())
    (out / "segment.json").write_text(json.dumps({**story, "complete": False}))
    (out / ".das-explain-999-coco.json").write_text("half")
    (out / "masks" / "cat" / ".das-explain-999-0.png").write_text("half")
    (out / "masks" / "cat" / "drawn by hand.png").write_text("mine")
    run("segment", photos, "--out", out, "--workers", 0)
    assert not list(out.rglob(".das-explain*"))
    assert (out / "masks" / "cat" / "drawn by hand.png").read_text() == "mine"


@pytest.mark.parametrize("story", ['{"complete": false}', '{"complete": true, "stems": []}', "[]", "{"])
def test_a_folder_of_somebody_else_is_refused_and_stays(photos, tmp_path, story):
    out = tmp_path / "out"
    store_mask(expected(1), out / "masks" / "cat" / "0.png")
    (out / "segment.json").write_text(story)
    before = (out / "masks" / "cat" / "0.png").read_bytes()
    refused = CliRunner().invoke(app, ["segment", str(photos), "--out", str(out), "--overwrite"])
    assert "is not empty and holds no masks" in str(refused.exception)
    assert (out / "masks" / "cat" / "0.png").read_bytes() == before


def test_against_human_masks(photos, tmp_path):
    human = tmp_path / "human"
    for name, seed in TRUTH.items():
        store_mask(expected(seed), (human / name).with_suffix(".png"))
    store_mask(np.roll(expected(1), 5, axis=1), human / "dog" / "0.png")
    (human / "cat" / "1.png").unlink()
    (human / "dog").joinpath("dark.png").unlink(missing_ok=True)
    mask = np.zeros((30, 20), bool)
    mask[3:9, 2:5] = True
    store_mask(mask, human / "dog" / "dark.png")
    printed = run("segment", photos, "--out", tmp_path / "out", "--workers", 0, "--against", human)
    rows = pd.read_csv(tmp_path / "out" / "against.csv").set_index(["image"])
    rows.index = [name.split("photos/")[1] for name in rows.index]
    assert rows.loc["dog/0.png", "iou"] == pytest.approx(10 / 20)
    assert rows.loc["cat/0.png", ["iou", "boundary_f"]].tolist() == [1, 1]
    assert rows.loc["dog/dark.png", ["status", "compared", "iou"]].tolist() == [
        "no_object",
        "ok",
        0,
    ]  # missed, not dropped
    assert rows.loc["cat/1.png", "compared"] == "human_no_mask"
    assert rows.loc["dog/broken.png", "compared"] == "unreadable"
    summary = json.loads((tmp_path / "out" / "against.json").read_text())
    assert (summary["images"], summary["compared"]) == (7, 5)
    assert summary["mean_iou"] == pytest.approx((3 + 0.5 + 0) / 5)
    lines = printed.splitlines()
    assert "mean IoU 0.700" in printed
    table = [line for line in lines if ".png" in line and "│" in line]
    assert "dark.png" in table[0]
    assert "dog/0.png" in table[1]
    assert "1 human_no_mask" in printed


def test_what_is_assumed_of_masks_is_told_and_a_value_settles_it(tmp_path):
    values = np.zeros((8, 10), np.uint8)
    values[:2], values[4:, 5:] = 1, 2
    for folder, pixels in (("photos/cat", np.full((8, 10, 3), 90, np.uint8)), ("masks/cat", values)):
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / folder / "x.png")
    masks, out = ("segment", tmp_path / "photos", "--masks", tmp_path / "masks", "--workers", 0), tmp_path / "out"
    printed = run(*masks, "--out", out)
    assert "assumed     1 mask, first that of cat/x.png, with several class numbers or colours" in printed
    assert "--mask-value says" in json.loads((out / "segment.json").read_text())["assumptions"][0]
    assert "assumed  " not in run(*masks, "--out", tmp_path / "cat", "--mask-value", 2)
    assert np.asarray(Image.open(tmp_path / "cat" / "masks" / "cat" / "x.png")).astype(bool).sum() == 20
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\ncat/x.png,5,4,10,8\n")  # the same 20 pixels
    boxes = ("segment", tmp_path / "photos", "--boxes", tmp_path / "boxes.csv", "--box-masks", "--workers", 0)
    run(*boxes, "--out", tmp_path / "b", "--against", tmp_path / "masks", "--mask-value", 2)
    assert pd.read_csv(tmp_path / "b" / "against.csv")["iou"].tolist() == [1.0]


def test_against_the_data_itself_and_photos_without_files(tmp_path):
    out = tmp_path / "out"
    printed = run("segment", "collage:3", "--out", out, "--workers", 0, "--segmenter", "grounded-sam", "--against-data")
    assert "mean IoU" in printed
    table = pd.read_csv(out / "masks.csv")
    assert table["image"].str.startswith("photos/").all()
    dataset = open_dataset(out / "masks.csv")
    source = open_dataset("collage:3")
    for one, other in zip(dataset.samples, source.samples):
        np.testing.assert_array_equal(np.asarray(dataset.read(one)), np.asarray(source.read(other)))
    assert "give --segmenter" in run("segment", "collage:3", "--out", tmp_path / "o2", "--against-data", code=2)
    names = {image["file_name"] for image in json.loads((out / "coco.json").read_text())["images"]}
    assert names == {Path(name).name for name in table["image"]}


# ---- names


HOSTILE = [
    "../../../etc/passwd",
    "..\\..\\boot.ini",
    "/etc/shadow",
    "C:\\x\\y.png",
    "a/../b/./c.jpg",
    "CON.png",
    "x\n\x1b[2Jy.png",
    "",
    ".",
    "..",
    ".hidden",
    "ends with dot.",
    "x" * 400 + ".jpg",
    "ü" * 200,
    "x.png/y.jpg",
    'q"<>|?*:.png',
    "\udcff.png",
]


def test_no_name_leads_out_of_the_folder(tmp_path):
    names = FileNames()
    out = tmp_path / "out"
    given = [names.give(name) for name in [*HOSTILE, *HOSTILE]]
    assert len({name.lower() for name in given}) == len(given)
    for name in given:
        path = inside(out, f"masks/{name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        assert path.resolve().is_relative_to((out / "masks").resolve())
        assert all(part and not part.startswith(".") and part.isprintable() for part in name.split("/"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_names_stay_what_masks_are_matched_by():
    names = FileNames()
    assert [names.give(name) for name in ("cat/x.jpg", "cat/x.png", "Cat/X.jpeg", "dog/x.jpg", "a.b.jpg")] == [
        "cat/x",
        "cat/x.png",
        "Cat/X.jpeg",
        "dog/x",
        "a.b",
    ]


def test_a_link_inside_of_out_is_not_followed(photos, tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    out.mkdir()
    (out / "masks").symlink_to(elsewhere)
    with pytest.raises(DasExplainError, match="leads out of"):
        inside(out, "masks/x.png")
    (out / "masks").unlink()
    run("segment", photos, "--out", out, "--workers", 0)
    shutil.move(out / "masks", elsewhere)
    (out / "masks").symlink_to(elsewhere / "masks")
    before = {path: path.read_bytes() for path in elsewhere.rglob("*.png")}
    refused = CliRunner().invoke(app, ["segment", str(photos), "--out", str(out), "--workers", "0", "--overwrite"])
    assert "leads out of" in str(refused.exception)
    assert {path: path.read_bytes() for path in elsewhere.rglob("*.png")} == before


def test_hostile_file_names_in_the_data(tmp_path):
    names = [
        "a,b.png",
        " lead.png",
        'quo"te.png',
        "semi;colon.png",
        "new\nline.png",
        "ünï.png",
        "=cmd().png",
        "masks.csv.png",
    ]
    for seed, name in enumerate(names):
        store(bright_photo(seed), tmp_path / "photos" / "cat" / name)
    run("segment", tmp_path / "photos", "--out", tmp_path / "out", "--workers", 0)
    dataset = open_dataset(tmp_path / "out" / "masks.csv")
    assert len(dataset) == len(names)
    segmenter = create_segmenter("masks", dataset)
    truth = {np.asarray(bright_photo(seed)).tobytes(): expected(seed) for seed in range(len(names))}
    for sample in dataset.samples:
        image = dataset.read(sample)
        np.testing.assert_array_equal(segmenter.region(sample, image).mask, truth[np.asarray(image).tobytes()])


def test_a_csv_that_points_above_itself_stays_inside(tmp_path):
    store(bright_photo(0), tmp_path / "secret" / "x.png")
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "l.csv").write_text("image,label\n../secret/x.png,dog\n")
    run("segment", tmp_path / "list" / "l.csv", "--out", tmp_path / "out", "--workers", 0)
    assert sorted(path.name for path in (tmp_path / "secret").iterdir()) == ["x.png"]
    assert (tmp_path / "out" / "masks" / "secret" / "x.png").exists()


# ---- choosing, and the cache


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("FLAT",), "neither masks nor labels"),
        (("MASKED", "--box-threshold", "0.3"), "--box-threshold goes with --segmenter grounded-sam"),
        (("FLAT", "--segmenter", "sam"), "no segmenter is called 'sam'"),
        (("FLAT", "--box-masks", "--segmenter", "masks"), "contradict"),
        (("MASKED", "--segmenter", "grounded-sam", "--choice", "union"), "has no option choice"),  # of the fake
        (("MASKED", "--coco", "svg"), "--coco 'svg' is unknown"),
        (("FLAT", "--segmenter", "boxes"), "has no rectangles"),
    ],
)
def test_flags_that_do_not_fit_are_one_line_and_write_nothing(tmp_path, arguments, message):
    store(bright_photo(0), tmp_path / "flat" / "x.png")
    store_mask(expected(0), tmp_path / "m.png")
    (tmp_path / "masked.csv").write_text("image,mask\nflat/x.png,m.png\n")
    places = {"FLAT": tmp_path / "flat", "MASKED": tmp_path / "masked.csv"}
    arguments = [places.get(argument, argument) for argument in arguments]
    assert message in run("segment", *arguments, "--out", tmp_path / "out", code=2)
    assert not (tmp_path / "out").exists()


def test_auto_takes_masks_before_networks(tmp_path):
    store(bright_photo(0), tmp_path / "flat" / "x.png")
    store_mask(~expected(0), tmp_path / "m.png")
    (tmp_path / "l.csv").write_text("image,mask,boxes\nflat/x.png,m.png,1 2 5 9\n")
    sizes = []
    for number, flags in enumerate(
        [(), ("--box-masks",), ("--segmenter", "grounded-sam"), ("--prompt", "a dog", "--segmenter", "grounded-sam")]
    ):
        run("segment", tmp_path / "l.csv", "--out", tmp_path / f"o{number}", "--workers", 0, *flags)
        sizes.append(int((np.asarray(Image.open(tmp_path / f"o{number}" / "masks" / "flat" / "x.png")) > 0).sum()))
    assert sizes == [32 * 48 - 135, 4 * 7, 135, 135]
    assert calls(tmp_path) == 2
    run("segment", tmp_path / "flat", "--out", tmp_path / "o9", "--workers", 0, "--prompt", "a dog")  # no label needed
    assert calls(tmp_path) == 2
    assert pd.read_csv(tmp_path / "o9" / "masks.csv")["prompt"].tolist() == ["a dog."]


def test_boxes_from_another_file_and_a_root(photos, tmp_path, monkeypatch):
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\ncat/0.png,1,2,5,9\n")
    run("segment", photos, "--out", tmp_path / "o", "--workers", 0, "--boxes", tmp_path / "boxes.csv", "--box-masks")
    table = pd.read_csv(tmp_path / "o" / "masks.csv").set_index("name")
    assert (np.asarray(Image.open(tmp_path / "o" / "masks" / "cat" / "0.png")) > 0).sum() == 4 * 7
    assert table["status"].value_counts().to_dict() == {"no_mask": 5, "ok": 1, "unreadable": 1}
    assert "--boxes goes with" in run("segment", "collage:2", "--out", tmp_path / "p", "--boxes", photos, code=2)

    asked = []
    from das_explain.data.sources import vision

    def refuse(name, root, split):
        asked.append(root)
        raise DasExplainError("not here")

    monkeypatch.setattr(vision, "_open", refuse)
    for command in (("segment",), ("sfd", "--model", "a=b")):
        arguments = (*command, "torchvision:CIFAR10", "--root", tmp_path / "data", "--out", tmp_path / "q")
        assert run(*arguments, code=1) == "not here"
    assert asked == [str(tmp_path / "data")] * 2


def test_heatmap_finds_regions_only_if_asked(photos, tmp_path):
    model = model_directory(tmp_path / "m", ["cat", "dog"])
    arguments = ("heatmap", photos / "cat" / "0.png", "--model", f"m={model}", "--workers", 0, "--blocks", "layer4")
    run(*arguments, "--out", tmp_path / "h1")
    assert calls(tmp_path) == 0
    run(*arguments, "--out", tmp_path / "h2", "--segmenter", "grounded-sam", "--prompt", "a cat")
    assert calls(tmp_path) == 1
    assert "ok" in set(pd.read_csv(tmp_path / "h2" / "heatmaps.csv")["status"])


def test_the_cache_commands(photos, tmp_path):
    assert "it is empty" in run("cache", "info")
    run("segment", photos, "--out", tmp_path / "out", "--workers", 0)
    printed = run("cache", "info")
    assert str(tmp_path / "cache" / "masks") in printed
    row = next(line for line in printed.splitlines() if "grounded-sam" in line)
    assert " 6 " in row
    assert "6 masks" in run("cache", "export", "--out", tmp_path / "copy")
    refused = CliRunner().invoke(app, ["cache", "clear"], input="n\n")
    assert refused.exit_code == 1
    assert "0 masks" in run("cache", "clear", "--yes", "--older-than", "3")
    assert "6 masks" in run("cache", "clear", "--yes")
    assert "it is empty" in run("cache", "info")
