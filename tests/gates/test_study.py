"""``das-explain gate`` and ``+gates=`` as a user runs them, on small random networks."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from das_explain import figures
from das_explain.checkpoint.load import load_model, save_model, warm_start
from das_explain.commands import run_command
from das_explain.data.dataset import open_dataset
from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence.run import Run
from das_explain.gates.effects import VARIANTS
from das_explain.nn import create_model
from das_explain.nn.interventions import intervene
from das_explain.segment import create_segmenter
from tests.explain.test_pipeline import LABELS
from tests.models import model_directory
from tests.runs import score_dataset


def das_explain(*arguments: object) -> int:
    """The command's entry point; 0, or what it exits with."""
    old, sys.argv = sys.argv, ["das-explain", *map(str, arguments)]
    try:
        run_command()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = old
    return 0


@pytest.fixture(scope="module")
def out(gated: Path, photos: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("gate") / "out"
    arguments = ("gate", photos, "--model", f"d={gated}", "--out", out, "--workers", 0, "--batch", 3, "--figures", 1)
    assert das_explain(*arguments) == 0
    return out


def test_what_data_and_models_assume_is_told(gated: Path, photos: Path, tmp_path: Path, capsys):
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copy(photos.parent / "00.png", folder)
    (folder / "notes.txt").write_text("no photo")
    for command in (("gate", "--figures", 0), ("heatmap",)):
        arguments = (folder, "--model", f"d={gated}", "--out", tmp_path / command[0], "--workers", 0)
        assert das_explain(command[0], *arguments, *command[1:]) == 0
        assert "note        1 file passed over" in capsys.readouterr().out


def test_other_machines_take_as_many_photos_at_once_as_this_one(gated: Path, photos: Path, tmp_path: Path, monkeypatch):
    """Also where nobody has said how many."""
    asked = []

    def spread_gates(cluster, plan, *_):
        asked.append(plan.batch)
        raise UsageError("nobody is there")

    monkeypatch.setattr("das_explain.gates.spread.spread_gates", spread_gates)
    arguments = ("gate", photos, "--model", f"d={gated}", "--engine", "ray", "--device", "cpu", "--workers", 0)
    for number, given in enumerate(((), ("--batch", 3))):
        assert das_explain(*arguments, "--out", tmp_path / str(number), *given) == 2
    assert asked == [16, 3]


@pytest.fixture(scope="module")
def effects(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "gates.csv")


@pytest.mark.parametrize("mine", ["00-gate.pdf", "gates.csv", "attention.csv", "effects.csv", "regions.jsonl"])
def test_a_file_of_somebody_s_own_is_refused_before_any_photo_is_read(
    gated: Path, photos: Path, tmp_path: Path, capsys, mine: str
):
    (tmp_path / mine).write_text("mine")
    assert das_explain("gate", photos, "--model", f"d={gated}", "--out", tmp_path, "--workers", 0) == 2
    assert f"{mine} was not written by das-explain: move it elsewhere" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(mine, "mine")]


def test_a_row_for_every_image_variant_and_block(out: Path, effects: pd.DataFrame, photos: Path):
    names = pd.read_csv(photos)["image"].tolist()
    assert effects["image"].drop_duplicates().tolist() == names
    assert len(effects) == len(names) * 4 * 2
    assert not effects.duplicated(["image", "variant", "block"]).any()
    status = effects.groupby("image")["status"].agg(set)
    assert status["broken.png"] == {"unreadable"}
    found = [json.loads(line) for line in (out / "regions.jsonl").read_text().splitlines()]
    assert [record["image"] for record in found] == names
    assert {record["image"]: record["status"] for record in found}["broken.png"] == "unreadable"
    assert status["c.png"] == {"unknown_label"}
    assert (
        effects.loc[effects["status"] == "unreadable", ["logit", "predicted", "sfd", "changed"]].isna().all(axis=None)
    )


def test_a_row_is_what_the_networks_give(effects: pd.DataFrame, gated: Path, photos: Path):
    model = load_model(str(gated), device="cpu")
    plain = create_model("resnet18", num_classes=3, stem="small").eval()
    plain.load_state_dict({key: value for key, value in model.network.state_dict().items() if ".gate." not in key})
    image = model.preprocess(Image.open(photos.parent / "01.png").convert("RGB"))[None]
    networks = {"trained": model.network, "ones": plain} | {
        kind: intervene(model.network, kind) for kind in ("mean", "shuffled")
    }
    rows = effects[(effects["image"] == "01.png") & (effects["block"] == "layer4")].set_index("variant")
    assert rows["target"].tolist() == ["square"] * 4
    with torch.no_grad():
        logits = {variant: network(image)[0] for variant, network in networks.items()}
    before = logits["trained"]
    for variant in VARIANTS:
        after, row = logits[variant], rows.loc[variant]
        assert row["logit"] == pytest.approx(after[1].item(), rel=1e-3, abs=1e-3)
        assert row["logit_change"] == pytest.approx((after[1] - before[1]).item(), rel=1e-3, abs=2e-3)
        assert row["probability"] == pytest.approx(after.softmax(0)[1].item(), rel=1e-2, abs=1e-3)
        assert row["predicted"] == LABELS[int(after.argmax())]
        assert row["changed"] == (after.argmax() != before.argmax()).item()
        assert row["correct"] == (int(after.argmax()) == 1)
    assert rows["logit"].nunique() == 4


def test_without_a_known_label_all_variants_explain_the_trained_prediction(effects: pd.DataFrame):
    rows = effects[(effects["image"] == "c.png") & (effects["block"] == "layer4")].set_index("variant")
    assert set(rows["target"]) == {rows.loc["trained", "predicted"]}
    assert rows["correct"].isna().all()


def test_the_arrays_are_the_gates(out: Path, gated: Path, photos: Path):
    model = load_model(str(gated), device="cpu")
    arrays = np.load(out / "00-gate.npz")
    image = model.preprocess(Image.open(photos.parent / "00.png").convert("RGB"))[None]
    seen: dict[str, torch.Tensor] = {}
    gate = model.network.layer2.gate
    handle = gate.register_forward_pre_hook(lambda gate, inputs: seen.setdefault("x", inputs[0]))
    with torch.no_grad():
        model.network(image)
        handle.remove()
        attention, (offset, modulation) = gate.attention(seen["x"])[0], gate.sampling(seen["x"])
    np.testing.assert_allclose(arrays["layer2.gate/attention"], attention.numpy(), atol=1e-5)
    np.testing.assert_allclose(arrays["layer2.gate/offset"], offset[0].unflatten(0, (9, 2)).numpy(), atol=1e-4)
    np.testing.assert_allclose(arrays["layer2.gate/modulation"], modulation[0].numpy(), atol=1e-4)
    mask = model.preprocess.geometry.frame_mask(np.asarray(Image.open(photos.parent / "00-mask.png")) > 0)
    np.testing.assert_array_equal(arrays["mask"], mask)
    # 52 x 40 becomes 41 x 32 (41.6 cut), of which the middle 32 columns are kept, from the 4th on (4.5 rounded to even)
    (x, y), taps = arrays["points"][0], arrays["layer2.gate/places"][0]
    across, down = (x + 0.5) * 41 / 52 - 4, (y + 0.5) * 32 / 40  # from the frame's left and upper edge, in its pixels
    assert mask[int(down), int(across)]
    column, row = int(across * 16 / 32), int(down * 16 / 32)  # of the 16 x 16 map
    for tap in range(9):
        dy, dx = offset[0, 2 * tap, row, column].item(), offset[0, 2 * tap + 1, row, column].item()
        on_map = column + tap % 3 - 1 + dx, row + tap // 3 - 1 + dy
        in_photo = ((on_map[0] + 0.5) * 2 + 4) * 52 / 41 - 0.5, (on_map[1] + 0.5) * 2 * 40 / 32 - 0.5
        assert taps[tap].tolist() == pytest.approx(in_photo, abs=1e-3)


def test_figures_of_the_first_images_only(out: Path):
    drawn = sorted(path.name for path in out.glob("*.png"))
    assert drawn == ["00-gate.png"]
    assert Image.open(out / "00-gate.png").width == pytest.approx(figures.PAGE * figures.DPI, abs=1)
    assert (out / "00-gate.pdf").read_bytes()[:5] == b"%PDF-"
    assert sorted(path.name for path in out.glob("*.npz")) == ["00-gate.npz"]


def test_the_summary_is_that_of_the_rows(out: Path, effects: pd.DataFrame):
    summary = pd.read_csv(out / "effects.csv").fillna({"block": ""}).set_index(["quantity", "block", "variant"])
    blocks = effects[effects["block"] == "layer4"]
    for variant in VARIANTS:
        rows = blocks[(blocks["variant"] == variant) & blocks["correct"].notna()]
        assert summary.loc[("top1", "", variant), "n"] == len(rows) == 6
        assert summary.loc[("top1", "", variant), "mean"] == pytest.approx(
            rows["correct"].astype(float).mean(), rel=1e-5
        )
        assert summary.loc[("logit", "", variant), "n"] == 7
    changes = blocks[blocks["variant"] == "ones"]["logit_change"].dropna()
    assert summary.loc[("logit", "", "ones"), "change"] == pytest.approx(changes.mean(), abs=1e-5)
    attention = pd.read_csv(out / "attention.csv")
    assert len(attention) == 7 * 4, "readable images, gates"
    assert attention["offset_mean"].gt(0).all()
    assert attention["a_mean"].between(0, 1).all()


def test_the_batch_changes_nothing(effects: pd.DataFrame, gated: Path, photos: Path, tmp_path: Path):
    table = pd.read_csv(photos)[1:3]
    table["image"], table["mask"] = (f"{photos.parent}/" + table[column] for column in ("image", "mask"))
    table.to_csv(tmp_path / "two.csv", index=False)
    arguments = ("gate", tmp_path / "two.csv", "--model", f"d={gated}", "--out", tmp_path / "out", "--workers", 0)
    assert das_explain(*arguments, "--batch", 1, "--figures", 0) == 0
    again = pd.read_csv(tmp_path / "out" / "gates.csv")
    before = effects[effects["image"].isin(["01.png", "02.png"])].reset_index(drop=True)
    assert len(again) == len(before) == 16
    pd.testing.assert_series_equal(again["logit"], before["logit"], rtol=1e-3, atol=1e-3)
    pd.testing.assert_series_equal(again["predicted"], before["predicted"])
    assert not list((tmp_path / "out").glob("*.png"))


def test_two_models_and_chosen_places_on_a_photo_without_a_mask(gated: Path, photos: Path, tmp_path: Path):
    se = model_directory(tmp_path / "se", LABELS, attention="se")
    photo = photos.parent / "02.png"
    arguments = ("gate", photo, "--model", f"a b={gated}", "--model", f"se={se}", "--out", tmp_path / "out")
    assert das_explain(*arguments, "--workers", 0, "--at", "20,10", "--at", "30,35.5") == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    drawn = [f"02-{model}-gate.{kind}" for model in ("a_b", "se") for kind in ("npz", "pdf", "png")]
    assert names == [".das-explain.json", *drawn, "attention.csv", "effects.csv", "gates.csv", "regions.jsonl"]
    arrays = np.load(tmp_path / "out" / "02-a_b-gate.npz")
    np.testing.assert_allclose(arrays["points"], [[20, 10], [30, 35.5]])
    assert arrays["layer1.gate/places"].shape == (2, 9, 2)
    assert "mask" not in arrays
    channels = np.load(tmp_path / "out" / "02-se-gate.npz")
    assert channels["layer4.1.gate/attention"].shape == (512, 1, 1)
    assert not any(name.endswith("offset") for name in channels)
    rows = pd.read_csv(tmp_path / "out" / "gates.csv")
    assert set(rows["status"]) == {"no_mask"}
    assert rows["sfd"].isna().all()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--at", "2,10"), "--at 2,10 lies outside what d sees of 02.png: x 5 to 45, y 0 to 39"),
        (("--at", "20"), "--at '20' is no place: write X,Y in pixels of the photo"),
        (("--at", "nan,3"), "--at 'nan,3' lies outside of any photo"),
        (("--blocks", "layer4.gate.gelu"), "block layer4.gate.gelu is a part of a gate, which is replaced"),
    ],
)
def test_mistakes_are_one_line(extra: tuple, message: str, gated: Path, photos: Path, tmp_path: Path, capsys):
    arguments = ("gate", photos.parent / "02.png", "--model", f"d={gated}", "--out", tmp_path / "out", "--workers", 0)
    assert das_explain(*arguments, *extra) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len([line for line in said.splitlines() if line.startswith("das-explain: ")]) == 1


def test_a_network_without_gates_is_one_line(photos: Path, tmp_path: Path, capsys):
    plain = model_directory(tmp_path / "plain", LABELS)
    for command, spec in (("gate", f"p={plain}"), ("heatmap", f"p={plain}+gates=mean")):
        assert das_explain(command, photos.parent / "02.png", "--model", spec, "--out", tmp_path / "out") == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1
        assert "(resnet18 with attention none)" in said[0]
    assert not (tmp_path / "out").exists()


def variants_run(gated: Path, photos: Path, out: Path, **changes) -> Run:
    dataset = open_dataset(str(photos))
    models = (f"d={gated}", *(f"{kind}={gated}+gates={kind}" for kind in ("ones", "mean", "shuffled")))
    how = {"models": models, "out": out, "batch": 3, **changes}
    return score_dataset(dataset, create_segmenter("masks", dataset), **how)


@pytest.fixture(scope="module")
def scored(gated: Path, photos: Path, tmp_path_factory) -> Run:
    return variants_run(gated, photos, tmp_path_factory.mktemp("sfd") / "run")


def test_sfd_takes_variants_as_models_and_agrees_with_gate(scored: Run, effects: pd.DataFrame):
    fingerprints = [model["fingerprint"] for model in scored.manifest["models"]]
    assert len(set(fingerprints)) == 4
    assert scored.manifest["groups"] == {"d": ["d"], "ones": ["ones"], "mean": ["mean"], "shuffled": ["shuffled"]}
    mine = effects.assign(model=effects["variant"].replace({"trained": "d"}))
    both = scored.table("scores").merge(mine, on=["image", "model", "block"], suffixes=("", "_gate"))
    both = both[both["status"] == "ok"]
    assert len(both) >= 20
    np.testing.assert_allclose(both["sfd"].astype(float), both["sfd_gate"].astype(float), atol=2e-3)
    assert both.groupby("image")["sfd"].nunique().max() > 4


def test_killed_and_continued_the_shuffled_network_gives_the_same_bytes(scored: Run, gated, photos, tmp_path: Path):
    shutil.copytree(scored.folder, tmp_path / "run")
    (tmp_path / "run" / "evidence" / "part-00000.parquet").unlink()
    (tmp_path / "run" / "scores.csv").unlink()
    variants_run(gated, photos, tmp_path / "run")
    for table in ("scores.csv", "summary.csv", "comparison.csv"):
        assert (tmp_path / "run" / table).read_bytes() == (scored.folder / table).read_bytes()


def test_a_variant_is_not_taken_for_the_network_itself(gated: Path, photos: Path, tmp_path: Path):
    variants_run(gated, photos, tmp_path / "run", models=(f"d={gated}",), sample=2)
    with pytest.raises(DasExplainError, match="other models"):
        variants_run(gated, photos, tmp_path / "run", models=(f"d={gated}+gates=shuffled",), sample=2)
    with pytest.raises(UsageError, match=r"d names models with other \+gates=: copies of one design they are not"):
        variants_run(gated, photos, tmp_path / "other", models=(f"d={gated}", f"d={gated}+gates=ones"))


def test_a_loaded_variant(gated: Path, tmp_path: Path, capsys):
    plain, mean, shuffled = (load_model(f"{gated}{suffix}") for suffix in ("", "+gates=mean", "+gates=shuffled"))
    assert len({plain.fingerprint, mean.fingerprint, shuffled.fingerprint}) == 3
    assert load_model(f"{gated}+gates=mean").fingerprint == mean.fingerprint
    assert (mean.name, mean.spec) == ("das+gates=mean", f"{gated}+gates=mean")
    assert (plain.config["gates"], mean.config["gates"]) == (None, "mean")
    assert list(mean.blocks) == list(plain.blocks)
    assert das_explain("models", "show", f"{gated}+gates=mean") == 0
    shown = capsys.readouterr().out
    assert "gates         mean" in shown
    assert mean.fingerprint in shown
    assert das_explain("models", "pack", f"{gated}+gates=mean", tmp_path / "packed") == 2
    assert "holds weights, which +gates= does not change" in capsys.readouterr().err
    with pytest.raises(UsageError, match="a warm start takes weights"):
        warm_start(create_model("resnet18", num_classes=3, stem="small"), f"{gated}+gates=ones")
    save_model(tmp_path / "again", plain.network, architecture="resnet18", attention="das", arguments={"stem": "small"})
    assert load_model(str(tmp_path / "again")).fingerprint == plain.fingerprint
