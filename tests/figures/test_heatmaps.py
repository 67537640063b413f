"""Heatmaps of single images: every model on its own view, files that can be written, tables that are never lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from PIL import Image
from typer.testing import CliRunner

from das_explain import figures
from das_explain.commands import app
from das_explain.data.dataset import open_dataset
from das_explain.data.geometry import Geometry
from das_explain.errors import DasExplainError, UsageError
from das_explain.explain.contestants import ExplainOptions, load_contest
from das_explain.explain.explainer import Explainer
from das_explain.figures import heatmaps
from das_explain.figures.heatmaps import unique_stem, write_heatmaps
from das_explain.folders import check_folder, claim_files
from das_explain.scoring.options import ScoreOptions
from das_explain.segment import create_segmenter
from tests.models import model_directory
from tests.photos import object_mask, photo, store, store_mask

LABELS = ["dot", "square", "stripe"]
SQUARE, WIDE = Geometry(size=(32, 32), resize=32), Geometry(size=(16, 40), resize=30)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    """Three models; ``wide`` sees another part of the photo, in another shape."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("square", "other", "wide")):
        model_directory(folder / name, LABELS, seed=seed)
    config = json.loads((folder / "wide" / "config.json").read_text())
    config["preprocess"] |= {"size": list(WIDE.size), "resize": WIDE.resize}
    (folder / "wide" / "config.json").write_text(json.dumps(config))
    return {name: f"{name}={folder / name}" for name in ("square", "other", "wide")}


def photos(folder: Path, *names: str) -> Path:
    for name in names:
        store(photo(), folder / name)
    store_mask(object_mask(), folder / "mask.png")
    pd.DataFrame({"image": names, "label": "dot", "mask": "mask.png"}).to_csv(folder / "photos.csv", index=False)
    return folder / "photos.csv"


def draw(data: Path, out: Path, *specs: str) -> list[dict]:
    dataset = open_dataset(str(data))
    explainer = Explainer(load_contest(specs, dataset.labels, ExplainOptions(), device="cpu"), ExplainOptions())
    return write_heatmaps(dataset, create_segmenter("masks", dataset), explainer, ScoreOptions(), out, workers=0)


def drawn_images(figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]


@pytest.fixture
def drawn(monkeypatch) -> list:
    """The figures that are saved."""
    kept, save = [], figures.save
    monkeypatch.setattr(figures, "save", lambda figure, stem: kept.append(figure) or save(figure, stem))
    return kept


def test_each_model_is_drawn_on_its_own_view(models, tmp_path, drawn):
    rows = draw(photos(tmp_path, "x.png"), tmp_path / "out", *models.values())
    upright, whole = photo(), object_mask()
    with np.load(tmp_path / "out" / "x-heatmap.npz") as maps:
        for prefix, geometry in (("", SQUARE), ("wide/", WIDE)):
            np.testing.assert_array_equal(maps[f"{prefix}frame"], geometry.frame(upright))
            np.testing.assert_array_equal(maps[f"{prefix}mask"], geometry.frame_mask(whole))
        assert not {"square/frame", "other/frame", "other/mask"} & set(maps.files)
        expected = []
        for name, prefix in (("square", ""), ("other", ""), ("wide", "wide/")):
            frame = maps[f"{prefix}frame"]
            expected += [frame, *(figures.overlay(frame, maps[f"{name}/{block}"]) for block in ("layer3", "layer4"))]
    (figure,) = drawn
    for image, wanted in zip(drawn_images(figure), expected, strict=True):
        np.testing.assert_array_equal(image, wanted)
    wide = [axes for axes in figure.axes if axes.images and axes.images[0].get_array().shape[:2] == WIDE.size]
    boxes = [
        axes.patches[0].get_bbox().extents for axes in wide if isinstance(next(iter(axes.patches), None), Rectangle)
    ]
    told = [[row[edge] for edge in ("b_x0", "b_y0", "b_x1", "b_y1")] for row in rows if row["model"] == "wide"]
    np.testing.assert_allclose(boxes, np.array(told) - 0.5, atol=0.5)  # drawn wholly inside of the frame


def test_models_of_one_geometry_share_one_photo(models, tmp_path, drawn):
    draw(photos(tmp_path, "x.png"), tmp_path / "out", models["square"], models["other"])
    assert len(drawn_images(drawn[0])) == 1 + 2 * 2
    with np.load(tmp_path / "out" / "x-heatmap.npz") as maps:
        assert {name for name in maps.files if "layer" not in name} == {"frame", "mask"}


@pytest.mark.parametrize("name", ["x" * 245 + ".png", "狸" * 83 + ".png"])
def test_a_photo_with_a_name_as_long_as_a_file_may_have(models, tmp_path, name):
    draw(photos(tmp_path, name, "y.png"), tmp_path / "out", models["square"])
    written = sorted(path.suffix for path in (tmp_path / "out").glob("*-heatmap.*"))
    assert written == [".npz"] * 2 + [".pdf"] * 2 + [".png"] * 2
    assert list(pd.read_csv(tmp_path / "out" / "heatmaps.csv")["image"].unique()) == [name, "y.png"]


def test_stems_stay_apart_and_short():
    taken: set[str] = set()
    names = ["a/b.png", "a-b.png", "A/B.jpg", "../", *["狸" * 400 + ".png"] * 3, "\udcff" * 300, "d/" * 150 + "end.png"]
    stems = [unique_stem(name, taken) for name in names]
    assert stems[:4] == ["a-b", "a-b-2", "A-B-3", "image"]
    assert len({stem.lower() for stem in stems}) == len(stems)
    assert all(len(os.fsencode(stem)) < 255 - len("-heatmap.png.partial") for stem in stems)
    assert stems[-1].startswith("d-")
    assert stems[-1].endswith("-d-end")
    assert unique_stem("x" * 245 + "-gate.npz", taken).endswith("x-gate")


def test_one_image_that_cannot_be_written_takes_nothing_else_with_it(models, tmp_path):
    data = photos(tmp_path, "x.png", "y.png", "z.png")
    claim_files(tmp_path / "out", ["x-heatmap.png", "y-heatmap.npz"])  # of an earlier command
    for suffix in ("png", "npz"):  # a folder where a file should be
        (tmp_path / "out" / f"{'x' if suffix == 'png' else 'y'}-heatmap.{suffix}").mkdir(parents=True)
    with pytest.raises(DasExplainError) as raised:
        draw(data, tmp_path / "out", models["square"])
    message = str(raised.value)
    assert message.startswith("x.png: cannot write the figure")
    assert "(and 1 more); everything else is in" in message
    assert "\n" not in message
    assert (tmp_path / "out" / "z-heatmap.npz").is_file()
    assert pd.read_csv(tmp_path / "out" / "heatmaps.csv")["image"].nunique() == 3
    assert len((tmp_path / "out" / "regions.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("mine", ["x-heatmap.png", "x-heatmap.pdf", "x-heatmap.npz", "heatmaps.csv", "regions.jsonl"])
def test_a_file_of_somebody_s_own_is_refused_before_any_photo_is_read(models, tmp_path, mine):
    out = tmp_path / "out"
    out.mkdir()
    (out / mine).write_text("mine")
    with pytest.raises(UsageError, match=f"{mine} was not written by das-explain: move it elsewhere"):
        draw(photos(tmp_path, "x.png"), out, models["square"])
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [(mine, "mine")]


def test_what_an_earlier_command_drew_is_drawn_again(models, tmp_path):
    data = photos(tmp_path, "x.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.png").write_text("mine")
    for _ in range(2):
        draw(data, tmp_path / "out", models["square"])
    assert (tmp_path / "out" / "x.png").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_one_line(models, tmp_path):
    with pytest.raises(UsageError, match="cannot write to --out .*; choose another folder"):
        draw(photos(tmp_path, "x.png"), tmp_path / ("x" * 300), models["square"])


def test_a_folder_is_checked_without_a_trace(tmp_path):
    (tmp_path / "file").write_text("")
    for wrong in ("file", "file/x/y"):
        with pytest.raises(UsageError, match=r"--out .*file is a file; name a folder"):
            check_folder(tmp_path / wrong)
    check_folder(tmp_path / "new" / "er")
    check_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that takes no files")
def test_a_folder_that_takes_no_files():
    with pytest.raises(UsageError, match="cannot write to --out /proc/x: .*; choose another folder"):
        check_folder(Path("/proc/x"))


def test_a_bad_out_is_told_before_any_model_is_loaded(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "x.png")
    told = CliRunner().invoke(
        app, ["heatmap", str(tmp_path / "x.png"), "-m", "m=gone", "--out", str(tmp_path / "x.png")]
    )
    assert isinstance(told.exception, UsageError)
    assert "is a file; name a folder" in str(told.exception)


def test_an_image_s_array_that_cannot_be_written_is_told(models, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(heatmaps, "_save_maps", full)
    with pytest.raises(DasExplainError, match=r"x.png: .*No space left on device; everything else is in"):
        draw(photos(tmp_path, "x.png"), tmp_path / "out", models["square"])
    assert (tmp_path / "out" / "heatmaps.csv").is_file()
