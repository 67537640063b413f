"""Draws are kept between the tables of a run, which changes none of them, and only so many."""

from __future__ import annotations

import numpy as np
import pytest

from das_explain.stats import resampling


@pytest.mark.parametrize("n", [2, 7, 255, 256, 2000])
def test_what_is_kept_is_what_would_be_drawn(n: int):
    rng = np.random.default_rng(resampling.SEED)
    fresh = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(20)])
    for _ in range(2):
        drawn = list(resampling.draws(n))
        assert sum(map(len, drawn)) == resampling.RESAMPLES
        assert all(each.dtype == float and (each.sum(axis=1) == n).all() for each in drawn)
        np.testing.assert_array_equal(drawn[0][:20], fresh)


def test_no_more_is_kept_than_was_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resampling, "_KEPT_BYTES", 3 * resampling.RESAMPLES * 100)
    resampling._kept.clear()
    for n in (100, 90, 80, 100, 70, 301):
        list(resampling.draws(n))
    assert [n for _, n in resampling._kept] == [80, 100, 70]
