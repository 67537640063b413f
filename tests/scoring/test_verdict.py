"""The tables that ask whether a difference would hold otherwise, from the evidence of a run."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import kendalltau, wilcoxon

from das_explain.cam.maps import upsample
from das_explain.errors import UsageError
from das_explain.evidence.run import Run
from das_explain.evidence.tables import TABLES
from das_explain.evidence.values import Key
from das_explain.measures import MEASURES, MeasureOptions
from das_explain.measures.iou import best_iou_threshold
from das_explain.scoring.designs import OF_DESIGNS
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from das_explain.scoring.verdict import centre_distance
from das_explain.stats.tables import compare
from tests.report.synthetic_run import Item, blob, make_run

OPTIONS = ScoreOptions(measures=("sfd", "energy_pointing_game", "entropy"), nulls=(), readings=False)
STATUS = {5: "no_mask", 9: "unreadable", 12: "no_object"}
ITEMS = [Item(f"{i:02d}.png", "dog" if i % 3 else "cat", STATUS.get(i, "ok")) for i in range(40)]
DOCS = Path(__file__).parents[2] / "docs" / "tables.md"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("verdict") / "run"
    return Run.open(make_run(folder, ITEMS, models=("plain", "das", "se"), blocks=("layer4",), options=OPTIONS))


def wide(run: Run, measure: str = "sfd") -> pd.DataFrame:
    table = run.table("measures")
    return table[table["measure"] == measure].pivot(index="image", columns="model", values="value").dropna()


def test_every_table_has_the_columns_it_is_said_to_have(run: Run):
    # Not asked for, no design has two copies, no image has two masks.
    absent = {"readings", "best_iou", *OF_DESIGNS, "region_ranges", "region_uncertainty"}
    for name, columns in TABLES.items():
        if name not in absent:
            assert tuple(run.table(name).columns) == columns, name
    assert not any((run.folder / f"{name}.csv").exists() for name in absent)


def test_every_table_and_column_is_explained():
    parts = re.split(r"^\*\*(\w+)\.csv\*\*", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    told = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert set(told) == set(TABLES)
    for name, columns in TABLES.items():
        words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", told[name]))))
        if name == "measure_comparison":
            assert "columns of `comparison.csv`" in told[name]
            continue
        assert set(columns) <= words, (name, set(columns) - words)


def test_statuses_add_up_to_the_sample(run: Run):
    table = run.table("statuses")
    assert (table.groupby(["model", "block"], observed=True)["n"].sum() == len(ITEMS)).all()
    mine = table[table["model"] == "das"].set_index("status")["n"]
    assert (mine["no_mask"], mine["unreadable"], mine["no_object"]) == (1, 1, 1)


def test_what_has_no_region_cannot_decide(run: Run):
    table, seen = run.table("exclusions"), run.table("comparison")
    assert table["delta"].tolist() == seen["delta"].tolist()
    assert (table[["excluded_a", "excluded_b", "excluded_both"]] == 0).all(axis=None)
    assert table["delta_low"].tolist() == table["delta_high"].tolist() == table["delta"].tolist()
    assert table["holds"].tolist() == [1, 1, 1]


def test_strata_split_the_images_and_their_difference(run: Run):
    table, sfd = run.table("strata"), wide(run)
    pair = table[(table["model_a"] == "plain") & (table["model_b"] == "das")]
    assert list(dict.fromkeys(pair["family"])) == ["correct", "area", "centre", "class"]
    for _, family in pair.groupby("family", observed=True):
        assert family["n"].sum() == len(sfd)
        mean = np.average(family["delta"], weights=family["n"])
        assert mean == pytest.approx((sfd["das"] - sfd["plain"]).mean(), abs=1e-6)
    cats = [item.name for item in ITEMS if item.label == "cat" and item.name in sfd.index]
    row = pair[pair["stratum"] == "cat"].iloc[0]
    assert row["n"] == len(cats)
    assert row["delta"] == pytest.approx((sfd["das"] - sfd["plain"])[cats].mean(), abs=1e-6)


def test_central_objects_are_nearer_to_the_centre(run: Run):
    (masks,) = next(run.evidence()).masks.values()
    y, x = np.nonzero(masks[0])
    height, width = masks.shape[1:]
    by_hand = np.hypot((y + 0.5).mean() / height - 0.5, (x + 0.5).mean() / width - 0.5)
    assert centre_distance(masks)[0] == pytest.approx(by_hand)
    one = np.zeros((2, 3, 10, 20), bool)[0]
    one[0, 9, 19], one[1, 4:6, 9:11] = True, True
    found = centre_distance(one)
    assert found[:2] == pytest.approx([np.hypot(0.45, 0.475), 0], abs=1e-12)
    assert np.isnan(found[2])


def test_agreement_is_of_paired_differences_and_better_is_up(run: Run):
    table = run.table("agreement")
    assert len(table) == 3 * 3
    rows = table[(table["model_a"] == "plain") & (table["model_b"] == "das")].set_index(["measure_a", "measure_b"])
    sfd, energy, entropy = (wide(run, name) for name in ("sfd", "energy_pointing_game", "entropy"))
    both = sfd.index
    differences = [(each["das"] - each["plain"])[both] for each in (sfd, energy, entropy)]
    assert rows.loc[("sfd", "energy_pointing_game"), "tau"] == pytest.approx(kendalltau(*differences[:2])[0], abs=1e-5)
    less_is_better = kendalltau(differences[0], -differences[2])[0]
    assert rows.loc[("sfd", "entropy"), "tau"] == pytest.approx(less_is_better, abs=1e-5)
    signs = run.table("signs")
    assert (signs["measures"] == 3).all()
    row = signs[(signs["model_a"] == "plain") & (signs["model_b"] == "das")].iloc[0]
    of_pair = [np.sign(differences[0].mean()), np.sign(differences[1].mean())]
    energies = run.table("measure_comparison")
    entropies = energies[(energies["measure"] == "entropy") & (energies["model_b"] == "das")].iloc[0]
    of_pair.append(-np.sign(entropies["delta"]))
    assert row["sign"] == of_pair[0]
    assert row["same"] == of_pair.count(of_pair[0])


def test_effect_sizes_are_of_the_same_differences(run: Run):
    sfd = wide(run)
    row = run.table("effect_sizes").iloc[0]
    assert (row["model_a"], row["model_b"], row["n"]) == ("plain", "das", len(sfd))
    assert row["p_value"] == pytest.approx(wilcoxon(sfd["das"] - sfd["plain"]).pvalue, rel=1e-4)


def test_a_baseline_is_the_first_of_every_pair(run: Run, tmp_path: Path):
    copy = run.copy_to(tmp_path / "copy")
    score_run(copy, replace(OPTIONS, baseline="se", readings=True))
    pairs = [("se", "plain"), ("se", "das")]
    names = (
        "comparison",
        "exclusions",
        "strata",
        "agreement",
        "signs",
        "effect_sizes",
        "measure_comparison",
        "readings",
    )
    for name in names:
        table = copy.table(name)
        assert sorted(set(zip(table["model_a"], table["model_b"]))) == sorted(pairs), name
    assert len(copy.manifest["verdicts"]) == 2
    scores = copy.table("scores")
    assert copy.table("comparison")["delta"].tolist() == pytest.approx(
        compare(scores, baseline="se")["delta"], abs=1e-6
    )
    with pytest.raises(
        UsageError, match="--baseline resnet: no model is called so; the run's models are plain, das, se"
    ):
        score_run(copy, replace(OPTIONS, baseline="resnet"))
    assert ScoreOptions.from_json(copy.manifest["scoring"]).baseline == "se"


def test_of_copies_the_variance_is_split(run: Run, tmp_path: Path):
    copy = run.copy_to(tmp_path / "copy")
    copy.manifest["groups"] = {"plain": ["plain"], "attention": ["das", "se"]}
    score_run(copy, OPTIONS)
    (row,) = copy.table("variance").itertuples()
    assert (row.group, row.copies, row.n) == ("attention", 2, len(wide(run)))
    assert row.sd_image >= 0


def test_one_model_gives_tables_without_rows(tmp_path: Path):
    run = Run.open(make_run(tmp_path / "run", ITEMS[:4], models=("plain",), blocks=("layer4",), options=OPTIONS))
    for name in ("comparison", "exclusions", "strata", "agreement", "signs", "effect_sizes", "measure_comparison"):
        assert run.table(name).empty, name


def test_images_without_any_score_give_tables_all_the_same(tmp_path: Path):
    items = [Item(f"{i}.png", status="no_mask") for i in range(3)]
    run = Run.open(make_run(tmp_path / "run", items, options=replace(OPTIONS, readings=True, baseline="plain")))
    assert run.manifest["verdicts"] == []
    assert run.table("readings")["n"].sum() == 0
    assert run.table("statuses")["status"].unique().tolist() == ["no_mask"]


def test_the_threshold_of_the_best_iou_is_that_of_all_maps_of_a_block(tmp_path: Path):
    run = Run.open(make_run(tmp_path / "run", ITEMS[:20], options=replace(OPTIONS, measures=("iou",), threshold=0.7)))
    table = run.table("best_iou")
    assert tuple(table.columns) == TABLES["best_iou"]
    evidence = next(run.evidence())
    known = np.array([evidence.photos[at].status == "ok" for at in evidence.shown])
    for row in table.itertuples():
        native = evidence.maps[Key(row.model, row.block)].native[known]
        maps = upsample(torch.from_numpy(native), (64, 64))
        (masks,) = (torch.from_numpy(each[known]) for each in evidence.masks.values())
        assert (row.best_threshold, row.best_iou) == pytest.approx(best_iou_threshold([(maps, masks)]), rel=1e-5)
        own = MEASURES["iou"].compute(maps, masks, MeasureOptions(threshold=row.threshold)).values
        assert (row.n, row.mean_iou) == (len(own), pytest.approx(float(own.mean()), rel=1e-5))
        assert row.best_iou >= row.mean_iou


def _beside(h: int, w: int, y: float, x: float, sigma: float, noise: np.ndarray) -> np.ndarray:
    """A map whose peak misses the disc, a quarter of the frame in radius, by a few pixels of 64."""
    return blob(h, w, y, x - 0.35, sigma, 0.1 * noise)


def test_the_pointing_games_tolerance_reaches_the_maps(tmp_path: Path):
    hits = []
    for tolerance in (0.0, 15.0):
        options = ScoreOptions(measures=("pointing_game",), nulls=(), readings=False, tolerance=tolerance)
        run = Run.open(make_run(tmp_path / f"{tolerance}", ITEMS[:12], options=options, map_of=_beside))
        assert ScoreOptions.from_json(run.manifest["scoring"]).tolerance == tolerance
        hits.append(run.table("measures").query("measure == 'pointing_game'")["value"].sum())
    assert hits[1] > hits[0]
    with pytest.raises(UsageError, match="--tolerance is in pixels, 0 or more, not -1"):
        ScoreOptions(tolerance=-1).resolved()
