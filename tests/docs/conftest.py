"""A folder with what the pages speak of: a photo, and a small run of the demo's."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from das_explain import create_segmenter, open_dataset
from tests.runs import score_dataset


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    data = open_dataset("collage:3")
    data.read(data.samples[0]).save(folder / "photo.jpg")
    models = ("plain=collage-resnet18", "das=collage-das-resnet18")
    score_dataset(data, create_segmenter("masks", data), models=models, out=folder / "runs" / "demo")
    return folder


@pytest.fixture
def beside(prepared: Path, tmp_path: Path, monkeypatch) -> Path:
    """A copy of it, which is the working directory; modules that are imported from there are forgotten."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
