"""Fewer resamples where a simulation repeats an interval hundreds of times."""

from __future__ import annotations

import pytest

from das_explain.stats import resampling


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(resampling, "RESAMPLES", 499)
