"""One code path for every device: what a graphics card computes is what the processor computes, up to rounding.

``pytest -m gpu`` runs what needs one; the same tests run on the processor with the rest of the suite.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from das_explain import load_model
from das_explain.accuracy.evaluate import measure_classifiers
from das_explain.accuracy.folder import Request
from das_explain.explain.contestants import ExplainOptions
from das_explain.explain.fitting import Fitting
from das_explain.scoring.options import ScoreOptions
from tests.explain.test_pipeline import run, setting  # noqa: F401 - a fixture
from tests.runs import assert_same_numbers

CLOSE = 1e-2  # of maps and scores; a card adds up in another order, and multiplies in TF32
CUDA = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
CARD = pytest.mark.parametrize("device", [pytest.param("cuda", marks=CUDA)])
DEVICES = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
TABLES = ("scores", "measures", "nulls", "lift")


@pytest.fixture(scope="module")
def expected(setting, tmp_path_factory):  # noqa: F811
    return run(setting, tmp_path_factory.mktemp("expected") / "run", device="cpu", batch=3)


@DEVICES
def test_a_run_has_the_same_tables_and_says_where_it_was_made(setting, expected, tmp_path: Path, device: str):  # noqa: F811
    made = run(setting, tmp_path / "run", device=device, batch=8, workers=1)
    assert made.manifest["device"].startswith(device)
    assert made.manifest["made_by"][0]["device"].startswith(device)
    for name in TABLES:
        assert_same_numbers(made.table(name), expected.table(name), CLOSE)


@DEVICES
def test_measures_that_need_the_network_agree(setting, tmp_path: Path, device: str):  # noqa: F811
    how = {
        "options": ExplainOptions(measures=("average_drop", "increase_in_confidence")),
        "scoring": ScoreOptions(measures=("average_drop", "increase_in_confidence"), nulls=()),
    }
    there = run(setting, tmp_path / "there", device=device, **how)
    here = run(setting, tmp_path / "here", device="cpu", batch=3, **how)
    assert_same_numbers(there.table("measures"), here.table("measures"), CLOSE)


@DEVICES
def test_maps_and_logits_come_back_to_the_processor(setting, device: str):  # noqa: F811
    photos = sorted(setting["csv"].parent.glob("0*[0-9].png"))[:3]
    spec = setting["models"][1].partition("=")[2]
    there, here = (load_model(spec, device=name).explain(photos) for name in (device, "cpu"))
    torch.testing.assert_close(there.logits, here.logits, rtol=CLOSE, atol=CLOSE)
    for block, cam in there.cams.items():
        assert cam.native.device.type == "cpu"
        torch.testing.assert_close(cam.map, here.cams[block].map, rtol=CLOSE, atol=CLOSE)


@DEVICES
def test_bf16_maps_are_near_on_every_device(setting, expected, tmp_path: Path, device: str):  # noqa: F811
    made = run(setting, tmp_path / "run", device=device, options=ExplainOptions(precision="bf16")).table("scores")
    both = made["sfd"].notna() & expected.table("scores")["sfd"].notna()
    assert both.sum() > 20
    assert (made["sfd"] - expected.table("scores")["sfd"])[both].abs().median() < 0.05


@DEVICES
def test_accuracy_is_that_of_the_processor(setting, tmp_path: Path, device: str):  # noqa: F811
    there, here = (
        measure_classifiers(Request(setting["models"], str(setting["csv"]), tmp_path / out, device=name))
        for out, name in (("there", device), ("here", "cpu"))
    )
    columns = ["image", "model", "predicted", "status"]
    pd.testing.assert_frame_equal(there.tables["predictions"][columns], here.tables["predictions"][columns])


@CARD
def test_a_batch_that_a_card_has_no_memory_for_is_halved(device: str):
    free, _ = torch.cuda.mem_get_info()
    fitting = Fitting()

    def fill(part: slice) -> int:
        return torch.empty(part.stop - part.start, free // 5, dtype=torch.uint8, device=device).shape[0]

    assert sum(fitting.in_parts(16, fill)) == 16
    assert fitting.most in (1, 2, 4)


@CARD
def test_a_compiled_network_scores_as_it_does_itself(setting, expected, tmp_path: Path, device: str):  # noqa: F811
    made = run(setting, tmp_path / "run", device=device, compiled=True)
    assert_same_numbers(made.table("scores"), expected.table("scores"), CLOSE)
