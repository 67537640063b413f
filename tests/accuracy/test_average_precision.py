"""COCO AP: by hand, against pycocotools run by hand on files, and its intervals against its own definition."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from das_explain.accuracy.average_precision import METRICS, average_precision, percentiles
from das_explain.accuracy.evaluate import measure_detectors
from das_explain.accuracy.folder import Request
from das_explain.data.coco.objects import ObjectDataset, open_objects
from das_explain.errors import DasExplainError
from tests.objects import coco_folder

pytest.importorskip("pycocotools")


def _data(
    folder: Path, boxes: list[list[tuple[int, list[float]]]], categories: tuple[int, ...] = (1, 2)
) -> ObjectDataset:
    """Images of 300 x 300 whose files are not there; ``boxes[i]`` are the (category, xywh) of image i."""
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 300, "height": 300} for i in range(len(boxes))],
        "categories": [{"id": number, "name": f"c{number}"} for number in categories],
        "annotations": [
            {"id": 0, "image_id": i, "category_id": category, "bbox": box}
            for i, mine in enumerate(boxes)
            for category, box in mine
        ],
    }
    (folder / "objects.json").write_text(json.dumps(content))
    return open_objects(f"{folder / 'objects.json'}@{folder}")


def _found(image: int, category: int, box: list[float], score: float) -> dict:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


def test_all_found_is_1_and_nothing_found_is_0(tmp_path) -> None:
    small, medium, large = [5.0, 5, 20, 20], [10.0, 10, 50, 50], [20.0, 20, 120, 120]
    data = _data(tmp_path, [[(1, small), (2, medium)], [(1, large)]])
    perfect = [_found(0, 1, small, 0.3), _found(0, 2, medium, 0.9), _found(1, 1, large, 0.5)]
    assert average_precision(data, data.samples, perfect).values == pytest.approx(dict.fromkeys(METRICS, 1.0))
    assert average_precision(data, data.samples, []).values == dict.fromkeys(METRICS, 0.0)
    only_small = _data(tmp_path, [[(1, small)]])
    values = average_precision(only_small, only_small.samples, []).values
    assert (values["APs"], values["APm"], values["APl"]) == (0.0, None, None)


def test_half_found_by_hand(tmp_path) -> None:
    """Two objects, one found first and a false box second: precision 1 up to recall 0.5, that is 51 of 101 recalls."""
    box = [10.0, 10, 50, 50]
    data = _data(tmp_path, [[(1, box)], [(1, box)]], categories=(1,))
    found = [_found(0, 1, box, 0.9), _found(1, 1, [150.0, 150, 50, 50], 0.8)]
    ap = average_precision(data, data.samples, found)
    assert ap.values["AP"] == pytest.approx(51 / 101)
    assert ap.classes[1]["AP50"] == pytest.approx(51 / 101)
    # the false box first: precision 1/2 there
    found = [_found(0, 1, box, 0.7), _found(1, 1, [150.0, 150, 50, 50], 0.8)]
    assert average_precision(data, data.samples, found).values["AP"] == pytest.approx(0.5 * 51 / 101)
    # IoU 1/2 + something: 50 x 50 shifted by 12 pixels overlaps 38/62 = 0.61: counts at 0.50, 0.55 and 0.60 of ten
    data = _data(tmp_path, [[(1, box)]], categories=(1,))
    shifted = average_precision(data, data.samples, [_found(0, 1, [22.0, 10, 50, 50], 1.0)]).values
    assert (shifted["AP"], shifted["AP50"], shifted["AP75"]) == (pytest.approx(0.3), pytest.approx(1), 0)


def _noisy(data: ObjectDataset, seed: int) -> list[dict]:
    rng, found = np.random.default_rng(seed), []
    for sample in data.samples:
        number = data.image_id(sample)
        for each in data.objects(sample):
            box = (np.array(each["bbox"], float) + rng.normal(0, 2, 4)).round(2).tolist()
            if rng.random() < 0.8:
                found.append(_found(number, each["category_id"], box, float(rng.random())))
        for _ in range(3):
            x, y, w, h = (round(float(v), 1) for v in rng.uniform(2, 40, 4))
            found.append(_found(number, int(rng.choice([3, 7])), [x, y, w, h], float(rng.random()) / 2))
    return found


def test_parity_with_pycocotools_by_hand(tmp_path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    path = coco_folder(tmp_path, 9)
    content = json.loads(path.read_text())
    for i, annotation in enumerate(content["annotations"]):
        annotation["id"] = i + 1  # pycocotools takes 0 for no match; ours must not depend on it
    (tmp_path / "plain.json").write_text(json.dumps(content))
    data = open_objects(str(path))
    found = _noisy(data, 0)
    (tmp_path / "found.json").write_text(json.dumps(found))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "plain.json"))
        scorer = COCOeval(truth, truth.loadRes(str(tmp_path / "found.json")), "bbox")
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    ours = average_precision(data, data.samples, found).values
    theirs = [None if value < 0 else value for value in scorer.stats[:6]]
    assert [ours[name] for name in METRICS] == [value if value is None else pytest.approx(value) for value in theirs]
    assert 0 < ours["AP"] < 1


def test_a_draw_is_the_ap_of_the_drawn_images(tmp_path) -> None:
    """Resampled images count as often as they were drawn: the same AP as of a file in which they stand as often."""
    path = coco_folder(tmp_path, 7)
    content = json.loads(path.read_text())
    content["annotations"] = [each for each in content["annotations"] if not each["iscrowd"]]
    path.write_text(json.dumps(content))
    data = open_objects(str(path))
    found = _noisy(data, 1)
    resampled = average_precision(data, data.samples, found, draws=4, seed=3).resampled
    rng = np.random.default_rng(3)
    for row in resampled:
        drawn = rng.integers(0, 7, 7)
        boxes = [[(each["category_id"], each["bbox"]) for each in data.objects(data.samples[i])] for i in drawn]
        copies = _data(tmp_path, boxes, categories=(3, 7))
        again = [
            {**each, "image_id": place}
            for place, i in enumerate(drawn)
            for each in found
            if each["image_id"] == data.image_id(data.samples[i])
        ]
        values = average_precision(copies, copies.samples, again).values
        assert row == pytest.approx([np.nan if values[m] is None else values[m] for m in METRICS], nan_ok=True)


def test_interval(tmp_path) -> None:
    data = open_objects(str(coco_folder(tmp_path, 8)))
    ap = average_precision(data, data.samples, _noisy(data, 2), draws=40)
    low, high = ap.interval("AP")
    assert (low, high) == tuple(np.percentile(ap.resampled[:, 0], [2.5, 97.5]))
    assert low < ap.values["AP"] < high
    assert average_precision(data, data.samples, [], draws=0).interval("AP") == (None, None)
    assert percentiles(np.array([np.nan, 0.5, np.nan])) == (0.5, 0.5)


def test_without_pycocotools_it_is_said_before_the_work(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.cocoeval", None)
    request = Request(("nowhere",), str(tmp_path / "nothing.json"), tmp_path / "out")
    with pytest.raises(
        DasExplainError, match=r"COCO AP needs the package pycocotools: pip install 'das-explain\[detection\]'"
    ):
        measure_detectors(request)
