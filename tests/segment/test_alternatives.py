"""Other masks of a finder go with R from its networks to the tables, found or cached, whoever decodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from das_explain.data.dataset import open_dataset
from das_explain.scoring.options import ScoreOptions
from das_explain.segment.cached import CachedFinder
from tests.models import model_directory
from tests.runs import score_dataset
from tests.segment.fake_finder import BrightFinder, bright_photo

OPTIONS = ScoreOptions(measures=(), nulls=(), readings=False)


def test_they_reach_evidence_and_tables_and_a_cached_run_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAS_EXPLAIN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    for number in range(5):
        bright_photo(number, 40, 40).save(tmp_path / "photos" / f"{number}.png")
    dataset = open_dataset(tmp_path / "photos")
    models = [f"{name}={model_directory(tmp_path / name, ['cat', 'dog'], seed=seed)}" for seed, name in enumerate("ab")]
    runs = [
        score_dataset(
            dataset,
            CachedFinder(BrightFinder(alternatives=True)),
            models=models,
            out=tmp_path / f"run{workers}",
            scoring=OPTIONS,
            workers=workers,
        )
        for workers in (0, 1)  # the second has all from the cache
    ]
    (evidence,) = runs[0].evidence()
    (masks,) = evidence.masks.values()
    assert {name for _, name in evidence.alternatives} == {"left", "right"}
    left, right = evidence.alternatives.values()
    assert left.any((1, 2)).all()
    assert not (left & right).any()
    np.testing.assert_array_equal((left | right) & ~masks, False)
    assert runs[0].shards.path(0).read_bytes() == runs[1].shards.path(0).read_bytes()
    ranges = runs[0].table("region_ranges")
    assert set(ranges["image"]) <= set(runs[0].sample)
    assert (ranges["alternatives"] == 2).all()
    assert (ranges["least"] <= ranges["sfd"]).all()
    assert (ranges["sfd"] <= ranges["greatest"]).all()
    assert (ranges["greatest"] > ranges["least"]).any()
    assert len(runs[0].manifest["region_uncertainty"]) == (runs[0].table("region_uncertainty")["n"] > 0).sum()
    for name in ("region_ranges.csv", "region_uncertainty.csv", "scores.csv"):
        assert (runs[0].folder / name).read_bytes() == (runs[1].folder / name).read_bytes()
