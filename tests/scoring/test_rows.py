"""The rows of scores.csv: what is said where a network has gone wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from das_explain.cam.maps import normalize
from das_explain.evidence.values import BlockMaps, Evidence, Key, Photo, keep_logits
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.rows import score_rows
from das_explain.scoring.scorer import ModelFacts, Scorer

NAN, INF = float("nan"), float("inf")


def row_of(logits: list[float], raw: Tensor, status: str = "ok", label: str | None = "bee", masks: bool = True) -> dict:
    """The row of one 4 x 4 image, R being its upper left quarter; the network knows the classes ant, bee and cat."""
    mask = np.zeros((1, 4, 4), bool)
    mask[:, :2, :2] = status == "ok" and masks
    cam = normalize(raw[None], (4, 4))
    evidence = Evidence(
        photos=[Photo(0, "a.png", label, status)],
        shown=np.array([0]),
        geometries={"m": "4x4"},
        sizes={"4x4": (4, 4)},
        frames={},
        masks={"4x4": mask} if masks else {},
        maps={Key("m", "b"): BlockMaps(cam.native.numpy(), cam.raw_max.numpy())},
        logits={"m": keep_logits(np.array([logits], np.float32), np.array([1]))},
    )
    facts = ModelFacts("m", ("b",), ["ant", "bee", "cat"], {"ant": 0, "bee": 1, "cat": 2})
    scorer = Scorer([facts], ScoreOptions(measures=(), nulls=()))
    table = score_rows([facts], evidence, scorer.score(evidence)).astype(object)
    return table.where(table.notna(), None).to_dict("records")[0]


RAW = torch.arange(16.0).view(4, 4)
BROKEN = torch.where(RAW == 5, NAN, RAW)


def test_an_ordinary_row() -> None:
    row = row_of([0.0, 3.0, 1.0], RAW)
    assert (row["status"], row["target"], row["predicted"], row["correct"]) == ("ok", "bee", "bee", True)
    assert row["confidence"] == pytest.approx(0.843795)
    assert row["cam_max"] == 15
    assert row["r_area"] == 0.25
    assert 0 < row["sfd"] < 1


@pytest.mark.parametrize(
    "case",
    [{}, {"masks": False}, {"status": "no_mask"}, {"status": "no_object"}, {"label": "dog"}, {"label": None}],
)
def test_a_map_that_is_not_finite_is_said_whatever_the_mask(case: dict) -> None:
    row = row_of([0.0, 3.0, 1.0], BROKEN, **case)
    assert row["status"] == "nonfinite_cam"
    assert row["sfd"] is row["w_r"] is row["b_x0"] is None
    assert row["predicted"] == "bee"  # the logits are sound


@pytest.mark.parametrize(
    ("case", "status"),
    [({"masks": False}, "no_mask"), ({"status": "no_object"}, "no_object"), ({"label": "dog"}, "unknown_label")],
)
def test_a_finite_map_keeps_the_status_of_its_mask(case: dict, status: str) -> None:
    assert row_of([0.0, 3.0, 1.0], RAW, **case)["status"] == status


@pytest.mark.parametrize("logits", [[NAN, NAN, NAN], [1.0, NAN, 2.0], [INF, INF, 0.0], [-INF, -INF, -INF]])
def test_logits_without_probabilities_claim_no_class(logits: list[float]) -> None:
    row = row_of(logits, BROKEN)
    assert row["predicted"] is row["confidence"] is row["correct"] is row["target"] is None


def test_a_class_that_is_ruled_out_does_no_harm() -> None:
    row = row_of([-INF, 3.0, 1.0], RAW)
    assert (row["predicted"], row["correct"]) == ("bee", True)


def test_a_faint_map_is_scored_and_said_to_be_faint() -> None:
    usual = row_of([0.0, 3.0, 1.0], RAW / RAW.max())
    faint = row_of([0.0, 3.0, 1.0], RAW / RAW.max() * 2.9e-6)  # 3e-6 is a millionth of the largest logit
    assert faint["status"] == "faint_cam"
    assert 0 < faint["sfd"] < 1
    assert [faint[name] is None for name in ("b_x0", "w_r", "w_n")] == [False] * 3
    assert row_of([0.0, 3.0, 1.0], RAW / RAW.max() * 3.1e-6)["status"] == usual["status"] == "ok"
    assert row_of([0.0, 3.0, 1.0], RAW * 0)["status"] == "zero_cam", "nothing is not faint"
    assert row_of([0.0, 3e-7, 1e-7], RAW / RAW.max() * 2.9e-6)["status"] == "ok", "the logits are as faint"
    assert row_of([0.0, 3.0, 1.0], RAW * 1e-9, status="no_object")["status"] == "no_object"
