"""What the report says about R: the source in words, and each image's prompt, boxes and scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from das_explain.data.geometry import Geometry
from das_explain.evidence.run import Run
from das_explain.evidence.values import Photo
from das_explain.report import build_report
from das_explain.report.regions import region_entry, told
from das_explain.report.results import Results
from das_explain.report.settings import settings
from tests.report.synthetic_run import Item, make_run

IDENTITY = {
    "name": "grounded-sam",
    "sam": {"weights": "facebook/sam-vit-base", "sha256": "ab" * 32, "package": "transformers"},
    "detector": {"weights": "IDEA-Research/grounding-dino-tiny", "sha256": "cd" * 32, "side": 800},
    "template": "a {label}",
    "overrides": "ef" * 32,
    "box_threshold": 0.35,
    "text_threshold": 0.25,
    "retry_threshold": None,
    "choice": "best",
    "minimum_area": 0.0,
    "precision": "fp32",
}
REGION = {
    "prompt": "a dog.", "boxes": [[0, 0, 50, 50], [150, 50, 250, 150], [90, 20, 120, 30]],
    "scores": [0.5, 0.875, 0.4], "used": [1], "iou": [0.9], "retried": True,
}  # fmt: skip


def photo(region) -> Photo:
    return Photo(0, "a.jpg", "dog", "ok", width=400, height=200, region=region)


def test_settings_of_a_segmenter_in_words():
    assert told(IDENTITY) == [
        "boxes by IDEA-Research/grounding-dino-tiny at 800 pixels, SHA-256 cdcdcdcdcdcd",
        "masks by facebook/sam-vit-base, SHA-256 abababababab",
        "asked for “a {label}”",
        "other prompts from a table (efefefefefef)",
        "box threshold 0.35",
        "text threshold 0.25",
        "the box with the best score",
        "precision fp32",
    ]
    assert told({"name": "masks", "data": "photos.csv"}, "photos.csv") == []


def test_boxes_are_drawn_where_the_network_saw_them():
    # 400 x 200 shrinks to 100 x 50, of which 40 x 40 from (30, 5) are the frame: the photo's (120..280) x (20..180).
    entry = region_entry(photo(REGION), Geometry(size=(40, 40), resize=50))
    boxes = entry.pop("boxes")
    assert entry == {"prompt": "a dog.", "score": 0.875, "iou": 0.9, "retried": True, "used": 1, "of": 3}
    # The used one first; the first, outside of the frame, is left out, as is the one that only touches it.
    assert boxes == [{"x0": 7.5, "y0": 7.5, "x1": 32.5, "y1": 32.5, "score": 0.875, "used": True}]
    # Squashed, everything is seen: a tenth across, a fifth down.
    squashed = region_entry(photo(REGION), Geometry(size=(40, 40), fit="squash"))["boxes"]
    assert [list(box.values()) for box in squashed] == [
        [15, 10, 25, 30, 0.875, True],
        [0, 0, 5, 10, 0.5, False],
        [9, 4, 12, 6, 0.4, False],
    ]


@pytest.mark.parametrize(
    "region",
    [None, [], {}, {"source": "masks"}, {"prompt": ""}, {"boxes": "many"}],
)
def test_nothing_told_is_nothing_shown(region):
    entry = region_entry(photo(region), Geometry())
    assert entry is None or entry == {
        "prompt": None,
        "score": None,
        "iou": None,
        "retried": False,
        "used": 0,
        "of": 0,
        "boxes": [],
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"boxes": [["<b>", 0, 1, 1], [0, 0, float("nan"), 5], [1, 2, 3], "box", None]},
        {"scores": ["x", None]},
        {"used": [99, -1, True, "0", None, [1]]},
        {"used": "all", "iou": {"a": 1}},
        {"prompt": ["<script>"] * 500},
    ],
)
def test_hostile_details_stay_text_and_numbers(changes):
    entry = region_entry(photo({**REGION, **changes}), Geometry(size=(40, 40), fit="squash"))
    assert len(entry["prompt"]) <= 200
    assert all(entry[name] is None or isinstance(entry[name], (int, float)) for name in ("score", "iou", "used", "of"))
    assert all(value is None or isinstance(value, (int, float)) for box in entry["boxes"] for value in box.values())


@pytest.fixture
def run_folder(tmp_path) -> Path:
    found = REGION | {"source": "grounded-sam"}
    missed = found | {"boxes": [], "scores": [], "used": [], "iou": []}
    items = [
        Item("a.jpg", region=found),
        Item("b.jpg", status="no_object", message="no box for 'cat.'", region=missed),
        Item("c.jpg", region=found),
    ]
    folder = make_run(tmp_path / "run", items)
    manifest = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**manifest, "segmenter": IDENTITY}))
    return folder


def test_the_report_says_where_r_came_from(run_folder):
    said = dict(settings(Results.read(Run.open(run_folder))))["Region R"]
    assert said.startswith("grounded-sam: found by Grounding DINO")
    assert "box threshold 0.35" in said
    assert "Without R: 1 image no object was found" in said
    page = build_report(run_folder)
    assert "box R was made from" in page.read_text()
    data = (page.parent / "data.js").read_text()
    images = json.loads(data[data.index("{") : data.index(";\nDAS.packets")])["images"]
    assert [image["region"]["prompt"] for image in images] == ["a dog."] * 3
    assert images[0]["region"]["score"] == 0.875
    empty = {"score": None, "iou": None, "retried": True, "used": 0, "of": 0, "boxes": []}
    assert images[1]["region"] == {"prompt": "a dog."} | empty
