"""The main job on small networks: rows, statuses, nulls, and going on after a kill."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from das_explain.cam.engine import grad_cam
from das_explain.checkpoint.load import load_model
from das_explain.data.dataset import open_dataset
from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence.run import SCORE_COLUMNS, Run
from das_explain.explain.evaluate import Options
from das_explain.explain.pipeline import Plan, score_dataset
from das_explain.measures.sfd import sfd_score
from das_explain.segment import create_segmenter
from tests.models import model_directory

LABELS = ["dot", "square", "stripe"]
TABLES = ("scores.csv", "nulls.csv", "summary.csv", "comparison.csv", "lift.csv", "sample.csv")


def write_photos(folder: Path, count: int = 11) -> Path:
    """A CSV of small noisy photos with a bright rectangle each, its mask, and some trouble."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        pixels = rng.integers(0, 120, (40, 52, 3), dtype=np.uint8)
        mask = np.zeros((40, 52), np.uint8)
        y, x = 4 + 2 * (i % 8), 6 + 3 * (i % 9)
        pixels[y : y + 14, x : x + 12, i % 3] = 250
        mask[y : y + 14, x : x + 12] = 255
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
        Image.fromarray(mask).save(folder / f"{i:02d}-mask.png")
        rows.append((f"{i:02d}.png", LABELS[i % 3], f"{i:02d}-mask.png"))
    (folder / "broken.png").write_bytes(b"this is no photo")
    rows += [("broken.png", "dot", ""), ("gone.png", "dot", ""), ("00.png", "dot", "")]
    Image.fromarray(np.zeros((40, 52), np.uint8)).save(folder / "empty-mask.png")
    for name, label, mask in (("b", "dot", "empty-mask.png"), ("c", "unicorn", "01-mask.png")):
        (folder / f"{name}.png").write_bytes((folder / "01.png").read_bytes())
        rows.append((f"{name}.png", label, mask))
    rows = [row for row in rows if row[0] != "00.png" or row[2]]
    (folder / "d.png").write_bytes((folder / "02.png").read_bytes())
    rows.append(("d.png", "dot", ""))
    pd.DataFrame(rows, columns=["image", "label", "mask"]).to_csv(folder / "photos.csv", index=False)
    return folder / "photos.csv"


@pytest.fixture(scope="module")
def setting(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "photos").mkdir()
    plain = model_directory(folder / "plain", LABELS)
    das = model_directory(folder / "das", LABELS, attention="das", seed=1)
    return {"csv": write_photos(folder / "photos"), "models": (f"plain={plain}", f"das={das}"), "folder": folder}


def run(setting: dict, out: Path, **changes) -> Run:
    dataset = open_dataset(str(setting["csv"]))
    options = {"models": setting["models"], "out": out, "batch": 4, "workers": 0, **changes}
    return score_dataset(dataset, create_segmenter("masks", dataset), Plan(**options))


@pytest.fixture(scope="module")
def finished(setting) -> Run:
    return run(setting, setting["folder"] / "run")


def test_every_image_model_and_block_is_a_row_with_a_status(finished: Run):
    scores = finished.table("scores")
    assert tuple(scores.columns) == SCORE_COLUMNS
    assert len(scores) == 16 * 2 * 2
    assert not scores.duplicated(["image", "model", "block"]).any()
    assert (scores["status"] != "").all()
    by_image = scores.groupby("image")["status"].agg(set)
    assert by_image["broken.png"] == by_image["gone.png"] == {"unreadable"}
    assert by_image["b.png"] == {"no_object"}
    assert by_image["c.png"] == {"unknown_label"}
    assert by_image["d.png"] == {"no_mask"}
    assert finished.manifest["counts"] == scores["status"].value_counts().to_dict()
    assert list(scores["image"].drop_duplicates()) == finished.manifest["sample"], "in the data set's order"


def test_only_scored_rows_have_numbers(finished: Run):
    scores = finished.table("scores")
    scored = scores["status"].isin(["ok", "no_background"])
    assert scores.loc[scored, ["sfd", "w_r", "w_n", "b_x0", "b_y1", "r_area", "cam_max"]].notna().all(axis=None)
    assert scores.loc[~scored, ["sfd", "w_r", "w_n", "b_x0"]].isna().all(axis=None)
    assert scores.loc[scored, "sfd"].between(0, 1).all()
    assert scores.loc[scores["status"] == "unreadable", "predicted"].eq("").all()
    assert scores.loc[scores["status"] == "no_mask", "predicted"].isin(LABELS).all()


def test_a_row_is_what_the_parts_give_by_hand(setting: dict, finished: Run):
    model = load_model(setting["models"][1])
    photo = Image.open(setting["csv"].parent / "04.png").convert("RGB")
    mask = np.asarray(Image.open(setting["csv"].parent / "04-mask.png")) > 0
    image = model.preprocess(photo)[None]
    target = LABELS.index("square")
    cam = grad_cam(model.network, image, torch.tensor([target]), ["layer3"])["layer3"]
    framed = torch.from_numpy(model.preprocess.geometry.frame_mask(mask))[None]
    expected = sfd_score(cam.map, framed)
    scores = finished.table("scores").set_index(["image", "model", "block"])
    row = scores.loc["04.png", "das", "layer3"]
    assert row["target"] == row["label"] == "square"
    assert row["sfd"] == pytest.approx(expected.sfd.item(), abs=2e-4)
    assert [row["b_x0"], row["b_y0"], row["b_x1"], row["b_y1"]] == expected.box[0].tolist()
    assert row["cam_max"] == pytest.approx(cam.raw_max.item(), rel=1e-3)
    assert row["r_area"] == pytest.approx(framed.float().mean().item(), rel=1e-5)
    probabilities = model.network(image)[0].softmax(0)
    assert row["predicted"] == LABELS[int(probabilities.argmax())]
    assert row["confidence"] == pytest.approx(probabilities.max().item(), rel=1e-3)
    assert (str(row["correct"]) == "True") == (row["predicted"] == row["label"])


def test_nulls_stand_beside_every_score(finished: Run):
    nulls, scores = finished.table("nulls"), finished.table("scores")
    scored = scores[scores["status"].isin(["ok", "no_background"])]
    for null in ("centre", "uniform"):
        assert len(nulls[nulls["null"] == null]) == len(scored)
    uniform = nulls[(nulls["null"] == "uniform") & (nulls["status"] == "ok")]
    assert np.allclose(uniform["sfd"], 0.5)
    assert set(nulls["null"]) == {"shuffled", "centre", "uniform"}


def test_journal_holds_what_the_report_needs(finished: Run):
    records = {record["image"]: record for record in finished.records()}
    record = records["04.png"]
    assert (finished.folder / record["frame"]).read_bytes()[:3] == b"\xff\xd8\xff"
    packed = record["maps"]["plain"]["layer4"]
    assert len(base64.b64decode(packed["data"])) == packed["h"] * packed["w"] == 16
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(record["mask"][packed["geometry"]]))))
    assert mask.shape == (32, 32)
    assert mask.mean() == pytest.approx(record["scores"][0]["r_area"], rel=1e-5)
    assert records["broken.png"]["message"]
    assert records["broken.png"]["frame"] is None


def test_killed_and_continued_gives_the_same_bytes(setting: dict, finished: Run, tmp_path: Path):
    out = tmp_path / "killed"
    run(setting, out)
    journal = (out / "journal.jsonl").read_bytes()
    lines = journal.splitlines(keepends=True)
    for keep in (b"".join(lines[:9]) + lines[9][:40], b"".join(lines[:4]), b"", b"".join(lines[:6]) + b"\x00garbage\n"):
        (out / "journal.jsonl").write_bytes(keep)
        for name in TABLES:
            (out / name).unlink()
        run(setting, out)
        assert (out / "journal.jsonl").read_bytes() == journal
        for name in TABLES:
            assert (out / name).read_bytes() == (finished.folder / name).read_bytes(), name


def test_a_real_kill_in_the_middle(setting: dict, finished: Run, tmp_path: Path):
    out = tmp_path / "run"
    script = f"""
import os, signal
from das_explain.evidence import run as store
from tests.explain.test_pipeline import run
append = store.Run.append
def append_and_die(self, records, frames):
    append(self, records, frames)
    if self.journal.read_bytes().count(b"\\n") >= 8:
        os.kill(os.getpid(), signal.SIGKILL)
store.Run.append = append_and_die
from pathlib import Path
run({{"csv": {str(setting["csv"])!r}, "models": {setting["models"]!r}}}, Path({str(out)!r}))
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as here: sums in another order differ in the last digit
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], env=environment, capture_output=True
    )
    assert done.returncode == -9, done.stderr.decode()
    assert not (out / "scores.csv").exists()
    seen: list[int] = []
    dataset = open_dataset(str(setting["csv"]))
    plan = Plan(models=setting["models"], out=out, batch=4, workers=0)
    score_dataset(dataset, create_segmenter("masks", dataset), plan, lambda done, of: seen.append(done))
    assert seen[0] == 8, "what was done is not done again"
    for name in TABLES:
        assert (out / name).read_bytes() == (finished.folder / name).read_bytes(), name


def test_workers_change_nothing(setting: dict, finished: Run, tmp_path: Path):
    run(setting, tmp_path / "run", workers=2)
    for name in TABLES:
        assert (tmp_path / "run" / name).read_bytes() == (finished.folder / name).read_bytes(), name


def test_a_folder_of_another_run_is_not_touched(setting: dict, tmp_path: Path):
    run(setting, tmp_path / "run", sample=3)
    before = (tmp_path / "run" / "scores.csv").read_bytes()
    with pytest.raises(DasExplainError, match="other data, sample"):
        run(setting, tmp_path / "run", sample=4)
    with pytest.raises(DasExplainError, match="other options"):
        run(setting, tmp_path / "run", sample=3, options=Options(threshold=0.5))
    assert (tmp_path / "run" / "scores.csv").read_bytes() == before
    assert len(run(setting, tmp_path / "run", sample=4, overwrite=True).manifest["sample"]) == 4
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(DasExplainError, match="not empty"):
        run(setting, tmp_path / "other")
    with pytest.raises(DasExplainError, match="not empty"):
        run(setting, tmp_path / "other", overwrite=True)
    assert (tmp_path / "other" / "thesis.txt").read_text() == "mine"


def test_two_processes_do_not_share_a_folder(setting: dict, tmp_path: Path):
    first = run(setting, tmp_path / "run", sample=2)
    with pytest.raises(DasExplainError, match="another process"):
        run(setting, tmp_path / "run", sample=2)
    del first


def test_a_shared_box_needs_a_shared_frame(setting: dict, tmp_path: Path):
    other = model_directory(tmp_path / "other", LABELS, size=48)
    models = (setting["models"][0], f"b={other}")
    with pytest.raises(UsageError, match="--box shared needs models that see the same frame; plain and b"):
        run(setting, tmp_path / "run", models=models, options=Options(box="shared"))


def test_shared_box_is_the_same_for_all_models(setting: dict, tmp_path: Path):
    scores = run(setting, tmp_path / "run", options=Options(box="shared")).table("scores")
    ok = scores[scores["status"] == "ok"]
    boxes = ok.groupby(["image", "block"])[["b_x0", "b_y0", "b_x1", "b_y1"]].nunique()
    assert (boxes == 1).all(axis=None)
    assert len(ok) > 20


def test_copies_of_one_design_are_a_group(setting: dict, tmp_path: Path):
    folder = setting["folder"]
    more = [
        model_directory(folder / f"{kind}2", LABELS, attention=a, seed=s)
        for kind, a, s in (("plain", "none", 7), ("das", "das", 8))
    ]
    models = (*setting["models"], f"plain={more[0]}", f"das={more[1]}")
    finished = run(setting, tmp_path / "run", models=models)
    assert finished.manifest["groups"] == {"plain": ["plain#1", "plain#2"], "das": ["das#1", "das#2"]}
    assert set(finished.table("scores")["model"]) == {"plain#1", "plain#2", "das#1", "das#2"}
    assert len(finished.table("designs")) == 2


def test_target_may_be_the_prediction_or_one_class(setting: dict, tmp_path: Path):
    scores = run(setting, tmp_path / "a", options=Options(target="predicted")).table("scores")
    readable = scores[scores["status"] != "unreadable"]
    assert (readable["target"] == readable["predicted"]).all()
    scores = run(setting, tmp_path / "b", options=Options(target="stripe")).table("scores")
    assert set(scores.loc[scores["status"] == "ok", "target"]) == {"stripe"}
    with pytest.raises(UsageError, match="'unicorns' is no class of plain"):
        run(setting, tmp_path / "c", options=Options(target="unicorns"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": Options(method="magic")}, "--method 'magic'"),
        ({"options": Options(scaling="log")}, "--scaling 'log'"),
        ({"options": Options(threshold=2)}, "--threshold"),
        ({"options": Options(precision="bf16", method="layercam")}, "bf16"),
        ({"blocks": ("layer7",)}, "no block 'layer7'; its blocks are layer1"),
    ],
)
def test_wrong_requests_are_refused_before_anything_is_written(setting, tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        run(setting, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_run_json_says_how(finished: Run, setting: dict):
    manifest = json.loads((finished.folder / "run.json").read_text())
    assert manifest["schema"] == 1
    assert manifest["versions"]["torch"] == torch.__version__.split("+")[0]
    assert [model["name"] for model in manifest["models"]] == ["plain", "das"]
    assert manifest["models"][0]["fingerprint"] == load_model(setting["models"][0]).fingerprint
    assert manifest["options"]["scaling"] == "antilog"
    assert manifest["data"]["fingerprint"] == open_dataset(str(setting["csv"])).fingerprint


def test_no_run_and_foreign_schema_are_clear_lines(tmp_path: Path):
    with pytest.raises(DasExplainError, match="holds no run"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_text('{"schema": 99}')
    with pytest.raises(DasExplainError, match="schema 99"):
        Run.open(tmp_path)
