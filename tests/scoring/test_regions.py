"""A run whose segmenter offers several masks: its tables, against scoring each mask by itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from das_explain.cam.maps import upsample
from das_explain.commands.tables import print_tables
from das_explain.evidence.codec import encode
from das_explain.evidence.join import join_runs
from das_explain.evidence.run import ALL, Run
from das_explain.evidence.tables import REGION_RANGES, REGION_UNCERTAINTY
from das_explain.measures.sfd import sfd_score
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from tests.report.synthetic_run import Item, make_run

ITEMS = [Item(f"{i}.jpg", "cat", "no_object" if i == 1 else "ok") for i in range(8)]
OPTIONS = ScoreOptions(nulls=("centre",), readings=False, threshold=0.4, scaling="linear")


def offer_alternatives(run: Run) -> None:
    """Every other image with a region also has a larger mask; the last has a second one."""
    evidence = next(run.evidence(ALL))
    for key, masks in evidence.masks.items():
        larger = np.roll(masks, 9, axis=2) | masks
        larger[::2] = False
        shifted = np.zeros_like(masks)
        shifted[-1] = np.roll(masks[-1], 20, axis=1)
        evidence.alternatives |= {(key, "sam 1"): larger, (key, "sam 3"): shifted}
    run.shards.write(0, encode(evidence))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run.open(make_run(tmp_path / "run", ITEMS, options=OPTIONS, second_size=(64, 80)))
    before = {path.name: path.read_bytes() for path in made.folder.glob("*.csv")}
    assert "region_ranges.csv" not in before
    assert made.manifest["region_uncertainty"] == []
    offer_alternatives(made)
    score_run(made, OPTIONS)
    for name, content in before.items():
        assert (made.folder / name).read_bytes() == content, f"{name} is of the masks that are used"
    return made


def test_ranges_and_flips_are_those_of_scoring_each_mask(run: Run):
    ranges = run.table("region_ranges").set_index(["image", "model", "block"])
    evidence = next(run.evidence())
    scores: dict[tuple, dict[str, float]] = {}
    for key, maps in evidence.maps.items():
        geometry = evidence.geometries[key.model]
        masks = {"": evidence.masks[geometry]} | {
            name: each for (of, name), each in evidence.alternatives.items() if of == geometry
        }
        for row, at in enumerate(evidence.shown):
            full = upsample(torch.from_numpy(maps.native[row : row + 1].copy()), evidence.sizes[geometry])
            for name, each in masks.items():
                if each[row].any():
                    score = sfd_score(full, torch.from_numpy(each[row : row + 1]), threshold=0.4, scaling="linear")
                    scores.setdefault((evidence.photos[at].image, *key), {})[name] = float(score.sfd[0])
    several = {at: masks for at, masks in scores.items() if len(masks) > 1}
    assert {image for image, _, _ in several} == {"3.jpg", "5.jpg", "7.jpg"}
    assert set(ranges.index) == set(several)
    for at, masks in several.items():
        expected = [len(masks) - 1, masks[""], min(masks.values()), max(masks.values())]
        assert ranges.loc[at].tolist() == pytest.approx(expected, rel=1e-5)
    table = run.table("region_uncertainty")
    assert tuple(run.table("region_ranges").columns) == REGION_RANGES
    assert tuple(table.columns) == REGION_UNCERTAINTY
    assert list(table["block"]) == ["layer3", "layer4"]
    for line in table.itertuples():
        differences = [
            [several[image, "das", line.block][name] - several[image, "plain", line.block][name]
             for name in several[image, "das", line.block]]
            for image in ("3.jpg", "5.jpg", "7.jpg")
        ]  # fmt: skip
        flips = sum(any(each * first[0] < 0 for each in first) for first in differences)
        assert (line.n, line.flips) == (3, flips)
        bounds = [np.mean([pick(each) for each in differences]) for pick in (min, max)]
        assert (line.delta_low, line.delta_high) == pytest.approx(bounds, abs=1e-5)


def test_it_is_said_on_the_terminal_and_in_run_json(run: Run, capsys: pytest.CaptureFixture[str]):
    sentences = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))["region_uncertainty"]
    assert len(sentences) == 2
    assert sentences[0].startswith(
        "On 3 images the segmenter offers other masks for R: there the winner of das \u2212 plain"
    )
    print_tables(run)
    printed = " ".join(capsys.readouterr().out.split())
    assert all(f"verdict {sentence}" in printed for sentence in sentences)


def test_without_alternatives_the_tables_go_away(run: Run):
    evidence = next(run.evidence(ALL))
    evidence.alternatives = {}
    run.shards.write(0, encode(evidence))
    score_run(run, OPTIONS)
    assert not (run.folder / "region_ranges.csv").exists()
    assert not (run.folder / "region_uncertainty.csv").exists()
    assert run.manifest["region_uncertainty"] == []


def test_runs_that_are_joined_keep_the_alternatives_of_the_r_that_is_taken(run: Run, tmp_path: Path):
    other = Run.open(make_run(tmp_path / "other", ITEMS, models=("third",), options=OPTIONS))
    joined = join_runs([run, other], tmp_path / "joined")
    score_run(joined, OPTIONS)
    table = joined.table("region_uncertainty")
    assert table["n"].tolist() == [3] * 6
