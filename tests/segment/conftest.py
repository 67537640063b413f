"""Folders with small networks, built once per test process; no test here asks the network or the user's caches."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def nets(tmp_path_factory) -> SimpleNamespace:
    """``detector``, ``sam``, ``sam2``: folders as the hub has them; made when first asked for."""
    from tests.segment import networks

    root = tmp_path_factory.mktemp("networks")

    class Folders(SimpleNamespace):
        def __getattr__(self, name: str) -> Path:
            folder = getattr(networks, f"save_{name}")(root / name)
            setattr(self, name, folder)
            return folder

    return Folders()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "user-cache"))
    monkeypatch.delenv("DAS_EXPLAIN_CACHE", raising=False)
