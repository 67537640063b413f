"""The main job on small networks: rows, statuses, nulls, and going on after a kill."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from das_explain.cam.engine import grad_cam
from das_explain.cam.maps import upsample
from das_explain.checkpoint.load import load_model
from das_explain.data import sources
from das_explain.data.dataset import open_dataset
from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence import shards
from das_explain.evidence.run import ALL, Run
from das_explain.evidence.tables import SCORES
from das_explain.evidence.values import Key
from das_explain.explain.contestants import ExplainOptions
from das_explain.measures.sfd import sfd_score
from das_explain.nulls.pairing import derangement
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from das_explain.segment import create_segmenter
from tests.models import model_directory
from tests.runs import assert_same_numbers, score_dataset

LABELS = ["dot", "square", "stripe"]
TABLES = ("scores.csv", "measures.csv", "nulls.csv", "summary.csv", "comparison.csv", "lift.csv", "sample.csv")


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
    return score_dataset(
        dataset, create_segmenter("masks", dataset), **{"models": setting["models"], "out": out, **changes}
    )


@pytest.fixture
def small_shards(monkeypatch):
    """Five images a shard: the sixteen of these tests make four."""
    monkeypatch.setattr(shards, "SIZE", 5)


@pytest.fixture(scope="module")
def finished(setting) -> Run:
    return run(setting, setting["folder"] / "run")


def test_every_image_model_and_block_is_a_row_with_a_status(finished: Run):
    scores = finished.table("scores")
    assert tuple(scores.columns) == SCORES
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
    assert bool(row["correct"]) == (row["predicted"] == row["label"])


def test_nulls_stand_beside_every_score(finished: Run):
    nulls, scores = finished.table("nulls"), finished.table("scores")
    reached = scores[~scores["status"].isin(["unreadable", "no_mask", "no_object", "unknown_label"])]
    for null, measure in itertools.product(("shuffled", "centre", "uniform"), ("sfd", "pointing_game")):
        rows = nulls[(nulls["null"] == null) & (nulls["measure"] == measure)]
        assert len(rows) == len(reached)
    uniform = nulls[(nulls["null"] == "uniform") & (nulls["status"] == "ok")]
    assert np.allclose(uniform.loc[uniform["measure"] == "sfd", "value"], 0.5)
    hits = uniform[uniform["measure"] == "pointing_game"].set_index(["image", "model", "block"])["value"]
    areas = scores.set_index(["image", "model", "block"])["r_area"]
    assert np.allclose(hits, areas[hits.index], rtol=1e-5), "all pixels tie: the object's share of the frame"


def test_the_shuffled_null_is_the_partners_map_by_hand(finished: Run):
    evidence = next(finished.evidence())
    maps, masks = evidence.maps[Key("das", "layer3")].native, evidence.masks[evidence.geometries["das"]]
    row = [evidence.photos[i].image for i in evidence.shown].index("04.png")
    partner = int(derangement(len(maps), 0)[row])
    assert partner != row
    full = upsample(torch.from_numpy(maps[[partner]]), (32, 32))
    expected = sfd_score(full, torch.from_numpy(masks[[row]])).sfd.item()
    nulls = finished.table("nulls").set_index(["image", "model", "block", "null", "measure"])
    assert nulls.loc[("04.png", "das", "layer3", "shuffled", "sfd"), "value"] == pytest.approx(expected, rel=1e-5)


def test_evidence_holds_what_photos_and_models_left(finished: Run, setting: dict):
    (evidence,) = finished.evidence(ALL)
    names = [photo.image for photo in evidence.photos]
    assert names == finished.sample
    shown = [names[i] for i in evidence.shown]
    assert set(names) - set(shown) == {"broken.png", "gone.png"}
    row, geometry = shown.index("04.png"), evidence.geometries["das"]
    assert evidence.frames[geometry][row][:3] == b"\xff\xd8\xff"
    model = load_model(setting["models"][1])
    photo = Image.open(setting["csv"].parent / "04.png").convert("RGB")
    image = model.preprocess(photo)[None]
    cam = grad_cam(model.network, image, torch.tensor([LABELS.index("square")]), ["layer4"])["layer4"]
    kept = evidence.maps[Key("das", "layer4")]
    assert kept.native.dtype == np.float32
    assert np.allclose(kept.native[row], cam.native[0], atol=2e-4)
    assert kept.raw_max[row] == pytest.approx(cam.raw_max.item(), rel=1e-3)
    logits = evidence.logits["das"]
    assert np.allclose(logits.values[row], model.network(image)[0].detach(), atol=1e-4)
    assert logits.target[row] == LABELS.index("square")
    mask = np.asarray(Image.open(setting["csv"].parent / "04-mask.png")) > 0
    assert (evidence.masks[geometry][row] == model.preprocess.geometry.frame_mask(mask)).all()
    assert evidence.photos[names.index("broken.png")].message
    assert evidence.photos[names.index("04.png")].region["area"] == pytest.approx(mask.mean(), rel=1e-5)


def everything(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


@pytest.mark.usefixtures("small_shards")
def test_killed_and_continued_gives_the_same_bytes(setting: dict, tmp_path: Path):
    out = tmp_path / "killed"
    run(setting, out)
    parts = sorted((out / "evidence").glob("*.parquet"))
    before, tables = [part.read_bytes() for part in parts], everything(out)
    assert len(parts) == 4
    for lost in ((3,), (1, 2), (0, 1, 2, 3)):
        for number in lost:
            parts[number].unlink()
        (out / "evidence" / ".das-explain-999-part-00001.parquet").write_bytes(b"half a shard")
        for name in TABLES:
            (out / name).unlink()
        run(setting, out)
        assert [part.read_bytes() for part in parts] == before
        assert sorted((out / "evidence").iterdir()) == parts, "what was left half-written is gone"
        assert everything(out) == tables


@pytest.mark.usefixtures("small_shards")
def test_a_cut_off_or_foreign_shard_is_made_again(setting: dict, tmp_path: Path):
    out = tmp_path / "run"
    run(setting, out)
    tables, parts = everything(out), sorted((out / "evidence").glob("*.parquet"))
    whole = parts[1].read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"garbage", parts[3].read_bytes()):
        parts[1].write_bytes(broken)
        with pytest.raises(DasExplainError, match=r"part-00001.parquet (is damaged|holds other images)"):
            score_run(Run.open(out))
        run(setting, out)
        assert parts[1].read_bytes() == whole
        assert everything(out) == tables
    parts[1].write_bytes(parts[0].read_bytes())
    with pytest.raises(DasExplainError, match="holds other images than run.json names"):
        score_run(Run.open(out))


def test_a_real_kill_in_the_middle(setting: dict, tmp_path: Path, monkeypatch):
    out, whole = tmp_path / "run", tmp_path / "whole"
    script = f"""
import os, signal
from dataclasses import asdict
from pathlib import Path
from das_explain.evidence import shards
from tests.explain.test_pipeline import run
shards.SIZE = 5
write = shards.Shards.write
def write_and_die(self, number, table):
    write(self, number, table)
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
shards.Shards.write = write_and_die
run({{"csv": {str(setting["csv"])!r}, "models": {setting["models"]!r}}}, Path({str(out)!r}))
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as here: sums in another order differ in the last digit
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], env=environment, capture_output=True
    )
    assert done.returncode == -9, done.stderr.decode()
    assert not (out / "scores.csv").exists()
    monkeypatch.setattr(shards, "SIZE", 5)
    seen: list[int] = []
    run(setting, out, progress=lambda done, of: seen.append(done))
    assert seen[0] == 10, "what was done is not done again"
    run(setting, whole)
    assert everything(out) == everything(whole)


@pytest.mark.usefixtures("small_shards")
def test_neither_batch_nor_workers_nor_engine_moves_a_number(setting: dict, finished: Run, tmp_path: Path):
    expected = {name: finished.table(name) for name in ("scores", "nulls", "lift")}
    for number, how in enumerate(({"batch": 1}, {"batch": 16, "workers": 2}, {"engine": "inline", "batch": 3})):
        other = run(setting, tmp_path / str(number), **how)
        for name, table in expected.items():
            assert_same_numbers(other.table(name), table)


def test_where_no_image_of_a_part_has_a_region_the_reason_stays(setting: dict, tmp_path: Path):
    table = pd.read_csv(setting["csv"])
    table[table["image"].isin(["b.png", "broken.png"])].to_csv(setting["csv"].parent / "empty.csv", index=False)
    finished = run({**setting, "csv": setting["csv"].parent / "empty.csv"}, tmp_path / "run")
    assert finished.manifest["counts"] == {"no_object": 4, "unreadable": 4}


def test_without_masks_nothing_is_scored_and_all_is_explained(setting: dict, tmp_path: Path):
    dataset = open_dataset(str(setting["csv"]))
    finished = score_dataset(dataset, None, models=setting["models"], out=tmp_path / "run", sample=4)
    scores = finished.table("scores")
    assert set(scores["status"]) <= {"no_mask", "unreadable"}
    assert (scores.loc[scores["status"] == "no_mask", "predicted"] != "").all()


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
        run(setting, tmp_path / "run", sample=3, options=ExplainOptions(target="predicted"))
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
        run(setting, tmp_path / "run", models=models, scoring=ScoreOptions(box="shared"))


def test_shared_box_is_the_same_for_all_models(setting: dict, tmp_path: Path):
    scores = run(setting, tmp_path / "run", scoring=ScoreOptions(box="shared")).table("scores")
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
    scores = run(setting, tmp_path / "a", options=ExplainOptions(target="predicted")).table("scores")
    readable = scores[scores["status"] != "unreadable"]
    assert (readable["target"] == readable["predicted"]).all()
    scores = run(setting, tmp_path / "b", options=ExplainOptions(target="stripe")).table("scores")
    assert set(scores.loc[scores["status"] == "ok", "target"]) == {"stripe"}
    with pytest.raises(UsageError, match="'unicorns' is no class of plain"):
        run(setting, tmp_path / "c", options=ExplainOptions(target="unicorns"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": ExplainOptions(method="magic")}, "--method 'magic'"),
        ({"scoring": ScoreOptions(scaling="log")}, "--scaling 'log'"),
        ({"scoring": ScoreOptions(threshold=2)}, "--threshold"),
        ({"options": ExplainOptions(precision="bf16", method="layercam")}, "bf16"),
        ({"blocks": ("layer7",)}, "no block 'layer7'; its blocks are layer1"),
    ],
)
def test_wrong_requests_are_refused_before_anything_is_written(setting, tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        run(setting, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_run_json_says_how(finished: Run, setting: dict):
    manifest = json.loads((finished.folder / "run.json").read_text())
    assert manifest["schema"] == 2
    assert manifest["versions"]["torch"] == torch.__version__.split("+")[0]
    assert [model["name"] for model in manifest["models"]] == ["plain", "das"]
    assert manifest["models"][0]["fingerprint"] == load_model(setting["models"][0]).fingerprint
    assert manifest["options"] == json.loads(json.dumps(asdict(ExplainOptions())))
    assert manifest["scoring"]["scaling"] == "antilog"
    assert manifest["data"]["fingerprint"] == open_dataset(str(setting["csv"])).fingerprint


def test_no_run_and_foreign_schema_are_clear_lines(tmp_path: Path):
    with pytest.raises(DasExplainError, match="holds no run"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_text('{"schema": 1}')
    with pytest.raises(DasExplainError, match="was written with schema 1, this version reads 2: run sfd again"):
        Run.open(tmp_path)


def test_a_folder_of_schema_1_is_not_continued_but_may_be_replaced(setting: dict, tmp_path: Path):
    out = tmp_path / "run"
    out.mkdir()
    before = {"schema": 1, "versions": {"das-explain": "0.0.1"}, "models": [], "sample": ["a.png"]}
    (out / "run.json").write_text(json.dumps(before))
    (out / "journal.jsonl").write_text("{}\n")
    with pytest.raises(DasExplainError, match="results of another run \\(other schema\\)"):
        run(setting, out, sample=2)
    assert run(setting, out, sample=2, overwrite=True).manifest["schema"] == 2
    assert not (out / "journal.jsonl").exists()


def test_each_photo_and_each_mask_is_decoded_once_and_what_masks_leave_open_is_told(tmp_path: Path, monkeypatch):
    """A matte's cut is known when it is read: nothing is read again to tell of it, and another scoring tells the same."""
    csv = write_photos(tmp_path, 4)
    for name in ("00-mask.png", "02-mask.png"):
        matte = np.asarray(Image.open(tmp_path / name)) * 0.8 + 3
        Image.fromarray(matte.astype(np.uint8)).save(tmp_path / name)
    read = Counter()
    real = {"read_mask_file": sources.read_mask_file, "decode_image": sources.decode_image}
    for name, function in real.items():
        monkeypatch.setattr(
            sources,
            name,
            lambda path, *args, f=function, **named: read.update([Path(path).name]) or f(path, *args, **named),
        )
    models = (f"plain={model_directory(tmp_path / 'plain', LABELS)}",)
    made = run({"csv": csv, "models": models}, tmp_path / "run")
    masks = [name for name in read if "mask" in name]
    assert len(masks) == 5
    assert {name: read[name] for name in ("00.png", "02-mask.png", "03-mask.png")} == dict.fromkeys(
        ("00.png", "02-mask.png", "03-mask.png"), 1
    )
    (told,) = [each for each in made.manifest["assumptions"] if "soft values" in each]
    assert told.startswith("2 masks, first that of 00.png, with soft values")
    before = dict(read)
    score_run(made, ScoreOptions(threshold=0.5))
    assert told in made.manifest["assumptions"]
    assert read == before
