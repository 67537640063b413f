"""Fixtures for tests of networks."""

from __future__ import annotations

import pytest
from torch import nn


@pytest.fixture
def no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of shapes alone: drawing weights is left out, which takes most of a network's construction."""
    for name in ("kaiming_normal_", "kaiming_uniform_", "uniform_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *args, **kwargs: tensor)
