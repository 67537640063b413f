"""sfd in all readings at once is sfd_score in each, and readings.csv is what these say of pairs of models."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from das_explain.evidence.codec import encode
from das_explain.evidence.run import ALL, Run
from das_explain.evidence.values import BlockMaps, Key
from das_explain.measures.sfd import sfd_score
from das_explain.scoring import reading_table
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.readings import (
    BOXES,
    NO_BACKGROUND,
    REGIONS,
    SCALINGS,
    THRESHOLDS,
    ZERO_CAM,
    RegionReadings,
    read_maps,
)
from das_explain.scoring.run import score_run
from das_explain.stats import intervals
from das_explain.stats.intervals import mean_intervals, mean_intervals_in_closed_form
from tests.report.synthetic_run import Item, make_run

CODES = {"zero_cam": ZERO_CAM, "no_background": NO_BACKGROUND}


def one_by_one(maps: np.ndarray, regions: RegionReadings, thresholds=THRESHOLDS) -> np.ndarray:
    """The same as ``read_maps``, each reading by ``sfd_score``."""
    models, count = maps.shape[:2]
    weights = torch.from_numpy(maps)
    values = np.full((models, count, len(SCALINGS), len(thresholds), len(BOXES), len(REGIONS)), np.nan)
    for s, t, b, r in np.ndindex(*values.shape[2:]):
        masks = torch.from_numpy(np.stack([regions.mask(row, r) for row in range(count)]))
        shared = (weights.double() >= thresholds[t]).any(0) if BOXES[b] == "shared" else None
        for model in range(models):
            score = sfd_score(
                weights[model],
                masks,
                threshold=thresholds[t],
                scaling=SCALINGS[s],
                box="region" if BOXES[b] == "region" else "rect",
                shared=shared,
            )
            values[model, :, s, t, b, r] = [
                CODES.get(status, value) for status, value in zip(score.status, score.sfd.tolist())
            ]
    return values


def assert_same(maps: np.ndarray, masks: np.ndarray, thresholds=THRESHOLDS) -> np.ndarray:
    regions = RegionReadings(masks)
    found, wanted = read_maps(maps, regions, thresholds), one_by_one(maps, regions, thresholds)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    codes = np.isin(wanted, list(CODES.values()))
    assert (found[codes] == wanted[codes]).all()
    assert (np.isin(found, list(CODES.values())) == codes).all()
    return found


def smooth(rng: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    maps = ndimage.zoom(rng.random((count, 4, 5)) ** 3, (1, height / 4, width / 5), order=1).astype(np.float32)
    return np.clip(maps / maps.max((1, 2), keepdims=True), 0, 1)


@pytest.mark.parametrize("seed", range(4))
def test_every_reading_of_random_maps_is_that_of_sfd_score(seed: int):
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(9, 40, 2))
    maps = np.stack([smooth(rng, 5, height, width), rng.random((5, height, width), np.float32)])
    masks = smooth(rng, 5, height, width) > rng.choice([0.1, 0.4, 0.8])
    masks[0] = rng.random((height, width)) < 0.3
    assert_same(maps, masks)


def test_degenerate_maps_and_masks_have_the_same_statuses():
    rng = np.random.default_rng(0)
    side = 24
    ordinary, disc = smooth(rng, 1, side, side)[0], np.hypot(*np.mgrid[-12:12, -12:12]) < 6
    single, spot = np.zeros((side, side), bool), np.zeros((side, side), np.float32)
    single[3, 4] = True
    spot[20, 21] = 0.05  # lies outside of B
    inside = np.where(disc, ordinary + 0.5, 0).clip(0, 1).astype(np.float32)
    broken, infinite = ordinary.copy(), ordinary.copy()
    broken[3, 3], infinite[0, 0] = np.nan, np.inf
    none, whole = np.zeros_like(disc), np.ones_like(disc)
    edge = np.full((side, side), np.float32(0.7))  # in float32 less than 0.7
    zero, one = np.zeros((side, side), np.float32), np.ones((side, side), np.float32)
    faint = ordinary * np.float32(1e-30)
    cases = list(
        product((ordinary, spot, inside, broken, infinite, edge, zero, one, faint), (disc, single, none, whole))
    )
    maps, masks = (np.stack(each) for each in zip(*cases))
    with np.errstate(all="raise", under="ignore"):
        found = assert_same(np.stack([maps, maps[::-1]]).astype(np.float32), masks)
    eroded, place = REGIONS.index("eroded"), [mask is single for _, mask in cases]
    assert np.isnan(found[0, place][..., eroded]).all(), "an R that vanishes is no object"
    assert (found[0] == ZERO_CAM).any()
    assert (found[0] == NO_BACKGROUND).any()


def test_other_thresholds_than_the_usual():
    rng = np.random.default_rng(3)
    assert_same(smooth(rng, 3, 20, 17)[None], smooth(rng, 3, 20, 17) > 0.5, (0.25, 1.0))


def test_regions_by_an_independent_distance():
    rng = np.random.default_rng(1)
    masks = smooth(rng, 3, 120, 150) > 0.5
    masks[:, 0, 70:90] = True
    regions = RegionReadings(masks)
    radius = round(0.02 * 120)
    for row, mask in enumerate(masks):
        assert (regions.mask(row, 0) == mask).all()
        assert (regions.mask(row, 1) == (ndimage.distance_transform_edt(mask) > radius)).all(), "within the frame only"
        assert (regions.mask(row, 2) == (ndimage.distance_transform_edt(~mask) <= radius)).all()
    assert regions.areas.tolist() == [[np.count_nonzero(regions.mask(row, r)) for r in range(3)] for row in range(3)]


ITEMS = [Item(f"{i}.png", "cat" if i % 2 else "dog", "no_mask" if i == 4 else "ok") for i in range(70)]


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> Run:
    return Run.open(make_run(tmp_path_factory.mktemp("readings") / "run", ITEMS, models=("plain", "das", "se")))


def test_readings_are_all_readings_of_all_pairs(scored: Run):
    table = scored.table("readings")
    assert len(table) == 2 * 3 * 4 * 6 * 3 * 3 * 2 * 2
    assert not table.duplicated(list(table.columns[:9])).any()
    assert set(table["zero_cam"]) == {"out", "0.5"}
    assert set(table["no_background"]) == {"out", "1"}


def test_a_reading_is_what_scoring_with_its_options_gives(scored: Run, tmp_path: Path):
    table, copy = scored.table("readings"), scored.copy_to(tmp_path / "copy")
    for scaling, threshold, box in (("antilog", 0.3, "rect"), ("exp", 0.7, "region"), ("linear", 0.1, "shared")):
        score_run(copy, ScoreOptions(threshold=threshold, scaling=scaling, box=box, nulls=(), readings=False))
        assert not (copy.folder / "readings.csv").exists()
        wanted = copy.table("comparison")
        chosen = table[
            (table["scaling"] == scaling)
            & (table["threshold"] == threshold)
            & (table["box"] == box)
            & (table["region"] == "as is")
            & (table["zero_cam"] == "out")
            & (table["no_background"] == "1")
        ]
        assert chosen["n"].tolist() == wanted["n"].tolist()
        np.testing.assert_allclose(chosen["delta"], wanted["delta"], atol=1e-6)
        width = (wanted["ci_high"] - wanted["ci_low"]).to_numpy()
        for end in ("ci_low", "ci_high"):
            assert (np.abs(chosen[end].to_numpy() - wanted[end].to_numpy()) < 0.05 * width).all()


def test_how_many_are_looked_at_together_changes_nothing(scored: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading_table, "TOGETHER", 1)
    monkeypatch.setattr(intervals, "_VALUES", 1)
    copy = scored.copy_to(tmp_path / "copy")
    score_run(copy)
    assert copy.path("readings.csv").read_bytes() == scored.path("readings.csv").read_bytes()


def test_the_verdict_counts_the_rows_of_the_table(scored: Run):
    table = scored.table("readings")
    assert len(scored.manifest["verdicts"]) == 6
    mine = table[(table["block"] == "layer4") & (table["model_a"] == "plain") & (table["model_b"] == "das")]
    default = (mine["scaling"] == "antilog") & (mine["threshold"] == 0.3) & (mine["box"] == "rect")
    default &= (mine["region"] == "as is") & (mine["zero_cam"] == "out") & (mine["no_background"] == "1")
    sign = np.sign(mine.loc[default, "delta"].item())
    same = int((np.sign(mine["delta"]) == sign).sum())
    clear = int((mine["ci_low"] > 0).sum() if sign > 0 else (mine["ci_high"] < 0).sum())
    (said,) = (each for each in scored.manifest["verdicts"] if "das − plain at layer4" in each)
    assert f"holds in {same} of 864 readings; the interval excludes zero in {clear}" in said


def test_exclusions_are_left_out_or_counted(tmp_path: Path):
    def zeroed(evidence):
        for key, maps in evidence.maps.items():
            if key == ("das", "layer4"):
                maps.native[:3] = 0

    run = rewritten(make_run(tmp_path / "run", ITEMS[:6], blocks=("layer4",), options=ScoreOptions(nulls=())), zeroed)
    table = run.table("readings")
    usual = table[(table["scaling"] == "antilog") & (table["threshold"] == 0.3) & (table["box"] == "rect")]
    usual = usual[(usual["region"] == "as is") & (usual["no_background"] == "1")].set_index("zero_cam")
    assert usual["n"].to_dict() == {"out": 2, "0.5": 5}  # of six images one has no mask
    scores = run.table("scores").pivot(index="image", columns="model", values="sfd").drop("4.png")
    assert usual.loc["out", "delta"] == pytest.approx((scores["das"] - scores["plain"]).mean(), abs=1e-5)
    assert usual.loc["0.5", "delta"] == pytest.approx((scores["das"].fillna(0.5) - scores["plain"]).mean(), abs=1e-5)


def test_faint_maps_are_a_reading_of_their_own(tmp_path: Path):
    def fainted(evidence):
        key = Key("das", "layer4")
        maps = evidence.maps[key]
        faint = np.where(np.arange(len(maps.raw_max)) < 3, np.float32(1e-12), maps.raw_max)
        evidence.maps[key] = BlockMaps(maps.native, faint)

    run = rewritten(make_run(tmp_path / "run", ITEMS[:6], blocks=("layer4",), options=ScoreOptions(nulls=())), fainted)
    scores = run.table("scores")
    assert (scores["status"] == "faint_cam").sum() == 3
    table = run.table("readings")
    assert len(table) == 864 + 432
    usual = table[(table["scaling"] == "antilog") & (table["threshold"] == 0.3) & (table["box"] == "rect")]
    usual = usual[(usual["region"] == "as is") & (usual["no_background"] == "1")].set_index("zero_cam")
    assert usual["n"].to_dict() == {"out": 5, "0.5": 5, "faint out": 2}  # of six images one has no mask
    wide = scores.pivot(index="image", columns="model", values="sfd")
    wide = wide[(scores.pivot(index="image", columns="model", values="status") != "faint_cam").all(axis=1)].dropna()
    assert usual.loc["faint out", "delta"] == pytest.approx((wide["das"] - wide["plain"]).mean(), abs=1e-5)


def test_models_of_two_frames_share_no_box(tmp_path: Path):
    run = Run.open(make_run(tmp_path / "run", ITEMS[:5], blocks=("layer4",), second_size=(48, 48)))
    table = run.table("readings")
    shared = table["box"] == "shared"
    assert (table.loc[shared, "n"] == 0).all()
    assert table.loc[shared, "delta"].isna().all()
    assert table.loc[~shared, "delta"].notna().all()
    assert "of 576 readings" in run.manifest["verdicts"][0]


def test_a_threshold_of_ones_own_is_a_reading_more(tmp_path: Path):
    run = Run.open(make_run(tmp_path / "run", ITEMS[:5], blocks=("layer4",), options=ScoreOptions(threshold=0.25)))
    assert sorted(set(run.table("readings")["threshold"])) == [0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7]
    assert "of 1008 readings" in run.manifest["verdicts"][0]


def test_one_model_has_no_readings(tmp_path: Path):
    run = Run.open(make_run(tmp_path / "run", ITEMS[:3], models=("plain",)))
    assert run.table("readings").empty
    assert run.manifest["verdicts"] == []


def test_intervals_in_closed_form_are_near_those_of_resampling():
    rng = np.random.default_rng(5)
    values = np.stack([rng.normal(0.02, 0.1, 60), rng.exponential(0.1, 60) - 0.1, rng.random(60) ** 4], 1)
    values[:20, 2] = np.nan
    n, middle, low, high = mean_intervals_in_closed_form(values)
    assert n.tolist() == [60, 60, 40]
    for column, found in zip(values.T, np.stack([middle, low, high], 1)):
        wanted = mean_intervals([column[~np.isnan(column)]])[0]
        assert found == pytest.approx(wanted, abs=0.05 * (wanted[2] - wanted[1]))
    same = np.array([[0.2, np.nan, np.nan], [0.2, 0.5, np.nan]])
    np.testing.assert_allclose(
        np.stack(mean_intervals_in_closed_form(same)),
        [[2, 1, 0], [0.2, 0.5, np.nan], [0.2, np.nan, np.nan], [0.2, np.nan, np.nan]],
    )


def rewritten(folder: Path, change) -> Run:
    """A synthetic run whose evidence is changed, scored again."""
    run = Run.open(folder)
    for number, evidence in enumerate(run.evidence(ALL)):
        evidence.maps = {key: BlockMaps(maps.native.copy(), maps.raw_max) for key, maps in evidence.maps.items()}
        change(evidence)
        run.shards.write(number, encode(evidence))
    score_run(run)
    return run


def test_closed_form_covers_95_percent():
    """By simulation, 20,000 means of 50 values: standard error 0.0016."""
    rng = np.random.default_rng(11)
    for values, truth in ((rng.normal(0, 1, (50, 20_000)), 0.0), (rng.exponential(1, (50, 20_000)), 1.0)):
        _, _, low, high = mean_intervals_in_closed_form(values)
        assert 0.93 < np.mean((low <= truth) & (truth <= high)) < 0.96
