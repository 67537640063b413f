"""Detectors as model directories, ``das-explain evaluate DETECTOR coco.json``, and what says that it is one."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from das_explain.accuracy.average_precision import average_precision
from das_explain.accuracy.detectors import BACKGROUND, LoadedDetector, category_ids, detect, load_detector
from das_explain.checkpoint.load import load_model, save_model
from das_explain.commands import app
from das_explain.data.coco.objects import open_objects
from das_explain.errors import DasExplainError, UsageError
from das_explain.nn.backbones.detection import create_detector
from tests.models import model_directory
from tests.objects import coco_folder

pytest.importorskip("pycocotools")
ARGUMENTS = {"min_size": 64, "max_size": 96}


def _directory(folder: Path, labels: list[str], *, attention: str = "none", seed: int = 0) -> Path:
    torch.manual_seed(seed)
    network = create_detector("resnet18", attention, len(labels), **ARGUMENTS)
    with torch.no_grad():
        network.roi_heads.box_predictor.cls_score.weight.mul_(30)  # so that it finds things
    return save_model(
        folder,
        network,
        architecture="resnet18",
        attention=attention,
        arguments=ARGUMENTS,
        labels=labels,
        num_classes=len(labels),
        task="detection",
    )


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coco_folder(tmp_path_factory.mktemp("coco"), 4)


@pytest.fixture(scope="module")
def detectors(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, labels = tmp_path_factory.mktemp("detectors"), [BACKGROUND, "red square", "N/A", "blue bar", "N/A"]
    return [_directory(folder / "plain", labels), _directory(folder / "das", labels, attention="das", seed=1)]


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_round_trip(detectors, tmp_path) -> None:
    loaded = load_detector(f"mine={detectors[1]}", device="cpu")
    assert (loaded.name, loaded.labels[1], loaded.config["attention"]) == ("mine", "red square", "das")
    torch.manual_seed(1)
    network = create_detector("resnet18", "das", 5, **ARGUMENTS)
    network.load_state_dict(loaded.network.state_dict())
    network.eval()
    images = [torch.rand(3, 70, 60)]
    with torch.inference_mode():
        (mine,), (again,) = network(images), loaded.network(images)
    assert len(mine["boxes"]) > 0
    assert all(torch.equal(mine[key], again[key]) for key in mine)
    assert (
        "Faster R-CNN with an FPN on resnet18 with das attention, 4 classes" in (detectors[1] / "README.md").read_text()
    )


def test_gates_can_be_replaced(detectors) -> None:
    loaded = load_detector(f"{detectors[1]}+gates=ones", device="cpu")
    plain = create_detector("resnet18", "none", 5, **ARGUMENTS).eval()
    state = load_detector(str(detectors[1]), device="cpu").network.state_dict()
    plain.load_state_dict({key: value for key, value in state.items() if ".gate." not in key})
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        maps, expected = loaded.network.backbone(image), plain.backbone(image)
    assert all(torch.equal(maps[key], expected[key]) for key in expected)


def test_what_sfd_and_models_say_of_it(detectors, tmp_path) -> None:
    with pytest.raises(UsageError, match="is a detector, and this explains classifiers; das-explain evaluate"):
        load_model(str(detectors[0]))
    result = CliRunner().invoke(app, ["models", "show", str(detectors[1])])
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "task detection" in said and "attention das" in said and "red square" in said
    classifier = model_directory(tmp_path / "classifier", ["a", "b"])
    with pytest.raises(UsageError, match="is a classifier"):
        load_detector(str(classifier))
    with pytest.raises(UsageError, match="a detector is a model directory"):
        load_detector("torchvision:resnet18")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": "cooking"}, "task must be classification or detection"),
        ({"architecture": "mobilenet_v2"}, "a detector stands on one of"),
        ({"arguments": {"min_size": -5}}, "min_size and max_size must lie in"),
        ({"arguments": {"gates": 3}}, "takes no 'gates'|gates must be names"),
        ({"attention": "se"}, "missing"),
        ({"num_classes": 7, "labels": None}, "other shape"),
        ({"labels": None}, "names no classes"),
    ],
)
def test_a_strangers_directory_is_checked(detectors, tmp_path, change, words) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "model.safetensors").symlink_to(detectors[0] / "model.safetensors")
    config = json.loads((detectors[0] / "config.json").read_text())
    (tmp_path / "d" / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(DasExplainError, match=words) as caught:
        load_detector(str(tmp_path / "d"), device="cpu")
    assert "\n" not in str(caught.value)


def test_classes_are_matched_by_name(detectors, coco) -> None:
    detector, data = load_detector(str(detectors[0]), device="cpu"), open_objects(str(coco))
    assert category_ids(detector, data) == {1: 7, 3: 3}
    foreign = LoadedDetector("f", "f", torch.nn.Identity(), [BACKGROUND, "zebra"], "")
    with pytest.raises(DasExplainError, match="no category of .* is a class of f"):
        category_ids(foreign, data)


def test_the_command(detectors, coco, tmp_path) -> None:
    shutil.copytree(coco.parent.parent, tmp_path / "coco")
    (tmp_path / "coco" / "small" / "002.png").write_bytes(b"broken")
    path, out = tmp_path / "coco" / "annotations" / "instances_small.json", tmp_path / "out"
    command = ["evaluate", str(detectors[0]), f"das={detectors[1]}", str(path), "--out", str(out), "--draws", "5"]
    result = CliRunner().invoke(app, [*command, "--device", "cpu", "--workers", "0"], env={"COLUMNS": "140"})
    assert result.exit_code == 0, result.output
    assert "1 unreadable" in result.output and "AP75" in result.output
    rows = _csv(out / "images.csv")
    assert [row["status"] for row in rows] == ["ok", "ok", "unreadable", "ok"]
    assert "002.png" in rows[2]["message"]
    data = open_objects(str(path))
    tested = [sample for sample in data.samples if sample.name != "002.png"]
    for number, (name, directory) in enumerate((("plain", detectors[0]), ("das", detectors[1])), 1):
        network, found = load_detector(str(directory), device="cpu").network, []
        for sample in tested:
            with Image.open(sample.path) as image, torch.inference_mode():
                pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
                (result_,) = network([pixels])
            for box, label, score in zip(*(result_[key].tolist() for key in ("boxes", "labels", "scores"))):
                if label in (1, 3):
                    x0, y0, x1, y1 = box
                    found.append(
                        {
                            "image_id": data.image_id(sample),
                            "category_id": {1: 7, 3: 3}[label],
                            "bbox": [x0, y0, x1 - x0, y1 - y0],
                            "score": score,
                        }
                    )
        assert len(found) > 0
        written = json.loads((out / f"detections-{number}.json").read_text())
        assert len(written) == len(found)
        expected = average_precision(data, tested, found).values
        row = next(row for row in _csv(out / "ap.csv") if row["model"] == name)
        assert row["n"] == "3"
        for metric, value in expected.items():
            assert row[metric] == "" if value is None else float(row[metric]) == pytest.approx(value, abs=1e-4)
    classes = _csv(out / "classes.csv")
    assert [(row["category"], row["objects"]) for row in classes[:2]] == [("blue bar", "2"), ("red square", "2")]
    assert len(_csv(out / "comparison.csv")) == 6


def test_data_that_does_not_fit(detectors, coco, tmp_path) -> None:
    def said(*arguments: str) -> str:
        return str(CliRunner().invoke(app, ["evaluate", *arguments, "--out", str(tmp_path / "o")]).exception)

    content = json.loads(coco.read_text())
    (tmp_path / "lost.json").write_text(json.dumps(content))
    assert "write" in said(str(detectors[0]), str(tmp_path / "lost.json")), "where are the images?"
    (tmp_path / "no.json").write_text("[]")
    assert "is no COCO file" in said(str(detectors[0]), str(tmp_path / "no.json"))
    content["annotations"][0]["bbox"] = [1, 2, 3]
    (tmp_path / "box.json").write_text(json.dumps(content))
    assert "has no box of four numbers" in said(
        str(detectors[0]), f"{tmp_path / 'box.json'}@{coco.parent.parent / 'small'}"
    )
    assert "is a detector" in said(str(detectors[0]), "collage:5")


def test_photos_are_read_in_the_frame_of_their_boxes(coco, tmp_path) -> None:
    content = json.loads(coco.read_text())
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:10, :10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(pixels[:, :50]).save(tmp_path / "other.png")
    image = content["images"][0]
    for name, size, corner in (("turned.png", (60, 40), (0, 0)), ("turned.png", (40, 60), (39, 0))):
        content["images"] = [image | {"file_name": name, "width": size[0], "height": size[1]}]
        content["annotations"] = []
        (tmp_path / "one.json").write_text(json.dumps(content))
        data = open_objects(str(tmp_path / "one.json"))
        read = data.reader.read(data.samples[0])
        assert read.size == size
        assert read.getpixel(corner) == (255, 255, 255)
    content["images"][0]["file_name"] = "other.png"
    (tmp_path / "two.json").write_text(json.dumps(content))
    data = open_objects(str(tmp_path / "two.json"))
    with pytest.raises(DasExplainError, match="has 50 x 40 pixels, its boxes are for 40 x 60"):
        data.reader.read(data.samples[0])
    ((_, message, _),) = detect([], data, data.samples, workers=0)
    assert "other.png" in message
