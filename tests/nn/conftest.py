"""Fixtures for tests of networks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from torch import nn


@pytest.fixture(scope="module", autouse=True)
def caches_go_with_their_module(request: pytest.FixtureRequest) -> Iterator[None]:
    """Networks that a module's tests share take up to two gigabytes."""
    yield
    for each in vars(request.module).values():
        if hasattr(each, "cache_clear") and each.__module__ == request.module.__name__:
            each.cache_clear()


@pytest.fixture
def no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of shapes alone: drawing weights is left out, which takes most of a network's construction."""
    for name in ("kaiming_normal_", "kaiming_uniform_", "uniform_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *args, **kwargs: tensor)
