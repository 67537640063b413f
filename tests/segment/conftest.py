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


@pytest.fixture(scope="session")
def files(nets, tmp_path_factory) -> SimpleNamespace:
    """Checkpoints of the same weights under the keys of the papers' own packages, wrapped as the published ones are."""
    import torch
    from safetensors.torch import load_file

    from tests.segment.networks import original_detector, original_sam

    folder = tmp_path_factory.mktemp("checkpoints")
    torch.save(original_sam(load_file(nets.sam / "model.safetensors")), folder / "sam.pth")
    state = original_detector(load_file(nets.detector / "model.safetensors"))
    extra = {"label_enc.weight": torch.zeros(2, 256), "bert.embeddings.position_ids": torch.arange(512)[None]}
    torch.save({"model": {f"module.{key}": value for key, value in {**state, **extra}.items()}}, folder / "dino.pth")
    return SimpleNamespace(detector=folder / "dino.pth", sam=folder / "sam.pth", state=state)


@pytest.fixture(scope="session")
def make(nets):
    """Finders of the small networks; the loaded networks are shared."""
    from das_explain.segment.finders.options import FinderOptions
    from tests.segment.networks import SIDE

    loaded = {}

    def make(name="grounded-sam", **options):
        sam = nets.sam2 if name == "grounded-sam2" else nets.sam
        finder = FinderOptions(detector=str(nets.detector), sam=str(sam), side=SIDE, device="cpu", **options).create(
            name
        )
        if options.get("precision", "fp32") == "fp32":
            parts = {"masker": (sam, lambda: finder.masker), "detector": (nets.detector, lambda: finder.detector)}
            for part, (folder, load) in parts.items():
                finder.__dict__[part] = loaded[folder] if folder in loaded else loaded.setdefault(folder, load())
        return finder

    return make


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "user-cache"))
    monkeypatch.delenv("DAS_EXPLAIN_CACHE", raising=False)
