"""``das-explain segment`` with the papers' own packages, from checkpoint files, as a user calls it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from das_explain.commands import app
from das_explain.errors import UsageError
from tests.segment.networks import SIDE, scene

pytest.importorskip("groundingdino", reason="the extra groundingdino is not installed")


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments), "--workers", "0", "--device", "cpu"])
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv("DAS_EXPLAIN_CACHE", str(tmp_path / "cache"))
    for name, size in {"cat/wide": (200, 120), "cat/tall": (90, 150), "dog/wide": (200, 120)}.items():
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        scene(*size, seed=len(name)).save(tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


def masks(out) -> dict[str, np.ndarray]:
    table = pd.read_csv(out / "masks.csv")
    return {str(row.image): np.asarray(Image.open(out / row.mask).convert("1")) for row in table.itertuples()}


def test_masks_by_both_stacks_agree(nets, files, photos, tmp_path):
    common = ("segment", photos, "--detector-side", SIDE)
    original = ("--segmenter", "grounded-sam-original", "--tokenizer", nets.detector)
    printed = run(*common, *original, "--detector", files.detector, "--sam", files.sam, "--out", tmp_path / "own")
    assert "3 ok" in printed
    run(
        *common,
        "--segmenter",
        "grounded-sam",
        "--detector",
        nets.detector,
        "--sam",
        nets.sam,
        "--out",
        tmp_path / "hub",
    )
    own, hub = masks(tmp_path / "own"), masks(tmp_path / "hub")
    assert len(own) == len(hub) == 3
    for one, other in zip(own.values(), hub.values()):
        assert 0.01 < one.mean() < 0.99
        assert np.mean(one == other) >= 0.999
    (finder,) = (
        json.loads(path.read_text()) for path in (tmp_path / "cache").rglob("grounded-sam-original-*/finder.json")
    )
    assert (finder["detector"]["package"], finder["sam"]["package"]) == ("groundingdino", "segment-anything")


def test_what_the_original_takes(nets, files, photos, tmp_path):
    common = ("segment", photos, "--out", tmp_path / "out", "--segmenter", "grounded-sam-original")
    with pytest.raises(UsageError, match="no such checkpoint file: .*; --detector takes a .pth file"):
        run(*common, "--detector", nets.detector, "--sam", files.sam, "--tokenizer", nets.detector)
    with pytest.raises(UsageError, match="no such folder: .*; --tokenizer takes a folder with tokenizer.json"):
        run(*common, "--detector", files.detector, "--sam", files.sam, "--tokenizer", files.detector)
    assert not (tmp_path / "out").exists()
