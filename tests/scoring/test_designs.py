"""The tables of designs with several copies: what stands in them is what the rows of scores.csv give by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from das_explain.evidence.run import Run
from das_explain.evidence.tables import TABLES
from das_explain.scoring import reading_table
from das_explain.scoring.designs import OF_DESIGNS
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from das_explain.scoring.verdict import OF_PAIRS
from das_explain.stats.copies import designs_interval, split_variance
from das_explain.stats.sensitivity import DEFAULT_READING
from tests.report.synthetic_run import Item, make_run

MODELS = ("plain#1", "plain#2", "das#1", "das#2")
GROUPS = {"plain": ["plain#1", "plain#2"], "das": ["das#1", "das#2"]}
OPTIONS = ScoreOptions(measures=("sfd", "energy_pointing_game"), nulls=("shuffled", "centre"), pairs=False)
ITEMS = [Item(f"{i:02d}.png", "dog" if i % 3 else "cat", "no_mask" if i == 5 else "ok") for i in range(24)]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("designs") / "run"
    few = ScoreOptions(nulls=(), readings=False)
    run = Run.open(make_run(folder, ITEMS, models=MODELS, blocks=("layer4",), options=few))
    run.manifest["groups"] = GROUPS
    score_run(run, OPTIONS)
    return run


def values(run: Run, design: str, column: str = "sfd") -> np.ndarray:
    """(copies, images) of scores.csv, without the image that has no mask where sfd is meant."""
    table = run.table("scores").astype({"model": str})
    wide = table.pivot(index="image", columns="model", values=column)[GROUPS[design]]
    return wide.dropna().to_numpy(float).T


def test_how_many_readings_are_looked_at_together_changes_nothing(run: Run, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(reading_table, "TOGETHER", 1)
    copy = run.copy_to(tmp_path / "copy")
    score_run(copy)
    table = "design_readings.csv"
    assert len(copy.table("design_readings")) > 0
    assert copy.path(table).read_bytes() == run.path(table).read_bytes()


def row(table: pd.DataFrame, **where) -> pd.Series:
    for column, value in where.items():
        table = table[table[column].astype(str) == value]
    assert len(table) == 1
    return table.iloc[0]


def test_every_table_of_designs_has_its_columns_and_none_is_of_pairs(run: Run):
    for name in OF_DESIGNS:
        assert tuple(run.table(name).columns) == TABLES[name], name
        assert len(run.table(name)), name
    assert not any((run.folder / f"{name}.csv").exists() for name in ("readings", *OF_PAIRS))
    assert len(run.table("comparison")) == 0


def test_accuracy_is_a_measure_like_any_other(run: Run):
    right = values(run, "das", "correct")
    assert right.shape == (2, 24)  # an image without a mask may be right
    mine = row(run.table("design_means"), measure="top1", group="das")
    assert (mine["block"], mine["n"]) == ("", 24)
    assert mine["mean"] == pytest.approx(right.mean(), abs=1e-6)
    assert (mine["least"], mine["greatest"]) == pytest.approx(tuple(sorted(right.mean(1))), abs=1e-6)
    apart = row(run.table("design_differences"), measure="top1")
    low, high = designs_interval(values(run, "plain", "correct"), right)
    assert (apart["ci_low"], apart["ci_high"]) == pytest.approx((low, high), abs=1e-6)


def test_means_differences_and_variances_are_those_of_the_rows(run: Run):
    plain, das = values(run, "plain"), values(run, "das")
    assert plain.shape == (2, 23)
    mine = row(run.table("design_means"), measure="sfd", group="das")
    parts = np.sqrt(np.maximum(0, split_variance(das)[:3]))
    assert mine[["sd_copy", "sd_image", "sd_copy_image"]].tolist() == pytest.approx(parts.tolist(), rel=1e-4)
    apart = row(run.table("design_differences"), measure="sfd")
    assert apart["delta"] == pytest.approx(das.mean() - plain.mean(), abs=1e-6)
    assert (apart["claim"], apart["n"]) == ("designs", 23)
    assert apart["copies_needed"] >= 2
    same = row(run.table("designs"), block="layer4")
    there, here = (each[["delta", "ci_low", "ci_high"]].tolist() for each in (apart, same))
    assert here == pytest.approx(there, abs=2e-6)


def test_a_lift_is_the_mean_of_its_copies_lifts(run: Run):
    single, designs = run.table("lift").astype({"model": str}), run.table("design_lifts")
    for design, members in GROUPS.items():
        mine = row(designs, measure="sfd", group=design, null="shuffled")
        lifts = [row(single, measure="sfd", model=member, null="shuffled")["lift"] for member in members]
        assert mine["lift"] == pytest.approx(np.mean(lifts), abs=1e-5)
        assert mine["ci_low"] < mine["lift"] < mine["ci_high"]


def test_the_default_reading_of_designs_is_their_difference(run: Run):
    table = run.table("design_readings")
    assert len(table) == 864
    for choice, value in DEFAULT_READING.items():
        known = table[choice].astype(str).replace({"1.0": "1"})
        table = table[known == str(value)]
    apart = row(run.table("designs"), block="layer4")
    (default,) = table.itertuples()
    assert default.n == apart["n"]
    found = default.delta, default.ci_low, default.ci_high
    assert found == pytest.approx((apart["delta"], apart["ci_low"], apart["ci_high"]), abs=2e-6)


def test_correlation_is_over_all_copies(run: Run):
    copies = run.table("copies").astype({"model": str, "measure": str})
    wide = copies.pivot(index="model", columns="measure", values="mean")
    mine = row(run.table("correlations"), measure="sfd", block="layer4")
    assert mine["copies"] == 4
    assert mine["r"] == pytest.approx(np.corrcoef(wide["top1"], wide["sfd"])[0, 1], abs=1e-4)


def test_scored_again_gives_the_same_bytes_and_without_copies_nothing_of_designs(run: Run, tmp_path: Path):
    copy = run.copy_to(tmp_path / "copy")
    score_run(copy)
    for name in (*OF_DESIGNS, "scores", "lift"):
        assert (copy.folder / f"{name}.csv").read_bytes() == (run.folder / f"{name}.csv").read_bytes(), name
    copy.manifest["groups"] = {model: [model] for model in MODELS}
    score_run(copy)
    assert not any((copy.folder / f"{name}.csv").exists() for name in OF_DESIGNS)
