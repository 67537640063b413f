"""The score, by hand-computed examples and by properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from das_explain.cam.maps import normalize
from das_explain.errors import UsageError
from das_explain.measures import MEASURES
from das_explain.measures.sfd import SCALINGS, bounding_box, fill_box, sfd_score

BOUNDS = {
    "antilog": (0.0, 1.0),
    "antilog-literal": (1 / 11, 10 / 11),
    "exp": (1 / (1 + math.e), math.e / (1 + math.e)),
    "linear": (0.0, 1.0),
}


def a_map(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows)[None]


def a_mask(rows: list[list[int]]) -> torch.Tensor:
    return torch.tensor(rows).bool()[None]


CAM = a_map([[0.0, 0.5, 0.2, 0.0], [0.1, 1.0, 0.4, 0.0], [0.0, 0.0, 0.0, 0.0]])
MASK = a_mask([[0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])


def test_linear_by_hand():
    score = sfd_score(CAM, MASK, scaling="linear")
    # R: 0.5 and 1.0. Salient at 0.3: those two and 0.4. B: columns 1..2, rows 0..1; B - R: 0.2 and 0.4.
    assert score.box.tolist() == [[1, 0, 3, 2]]
    assert score.w_r.item() == pytest.approx(0.75)
    assert score.w_n.item() == pytest.approx(0.3)
    assert score.sfd.item() == pytest.approx(0.75 / 1.05)
    assert score.status == ["ok"]


def test_region_box_by_hand():
    score = sfd_score(CAM, MASK, scaling="linear", box="region")
    assert score.w_n.item() == pytest.approx(0.4)  # only the salient pixel outside R
    assert score.sfd.item() == pytest.approx(0.75 / 1.15)
    assert score.box.tolist() == [[1, 0, 3, 2]]


@pytest.mark.parametrize(
    ("scaling", "w_r", "w_n"),
    [
        ("antilog", (10**0.5 + 10) / 2 - 1, (10**0.2 + 10**0.4) / 2 - 1),
        ("antilog-literal", (10**0.5 + 10) / 2, (10**0.2 + 10**0.4) / 2),
        ("exp", (math.exp(0.5) + math.e) / 2, (math.exp(0.2) + math.exp(0.4)) / 2),
    ],
)
def test_scalings_by_hand(scaling: str, w_r: float, w_n: float):
    score = sfd_score(CAM, MASK, scaling=scaling)
    assert score.w_r.item() == pytest.approx(w_r, rel=1e-6)
    assert score.w_n.item() == pytest.approx(w_n, rel=1e-6)
    assert score.sfd.item() == pytest.approx(w_r / (w_r + w_n), rel=1e-6)


def test_shared_box_holds_the_other_models_pixels():
    other = torch.zeros_like(MASK)
    other[0, 2, 3] = True
    score = sfd_score(CAM, MASK, scaling="linear", shared=other)
    assert score.box.tolist() == [[1, 0, 4, 3]]
    assert score.w_n.item() == pytest.approx((0.2 + 0.4) / 7)


def test_every_degenerate_case_has_a_status():
    cam = torch.rand(5, 4, 6)
    mask = torch.zeros(5, 4, 6, dtype=torch.bool)
    mask[:, 1:3, 2:4] = True
    cam[0], cam[1, 0, 0], cam[2, 3, 3] = 0, float("nan"), float("inf")
    mask[3] = False
    cam[4], mask[4] = 1, True
    score = sfd_score(cam, mask)
    assert score.status == ["zero_cam", "nonfinite_cam", "nonfinite_cam", "no_object", "no_background"]
    assert score.sfd[:4].isnan().all()
    assert score.sfd[4] == 1
    assert score.w_n[4] == 0
    assert score.box.tolist() == [[0, 0, 0, 0]] * 4 + [[0, 0, 6, 4]]


def test_zero_map_is_no_score_under_the_literal_antilog_either():
    score = sfd_score(torch.zeros(1, 3, 3), MASK[:, :, :3], scaling="antilog-literal")
    assert score.status == ["zero_cam"]
    assert score.sfd.isnan().all()


def test_no_weight_anywhere_in_the_box_is_no_score():
    cam = torch.zeros(1, 3, 3)
    cam[0, 2, 2] = 0.2  # below the threshold and outside R
    score = sfd_score(cam, a_mask([[1, 1, 0], [1, 0, 0], [0, 0, 0]]))
    assert score.status == ["zero_cam"]


def test_object_that_fills_the_frame_without_weight_on_it_is_no_score():
    assert sfd_score(torch.zeros(1, 2, 2), torch.ones(1, 2, 2).bool()).status == ["zero_cam"]


@pytest.mark.parametrize("scaling", ["antilog", "linear"])
@pytest.mark.parametrize("faint", [1e-12, 1e-17, 1e-24, 1e-37])
def test_a_faint_map_is_scored_like_any_other(faint: float, scaling: str):
    """10^w - 1 nears w ln 10, so the score nears the linear one; it must neither vanish nor become NaN."""
    score = sfd_score(CAM * faint, MASK, scaling=scaling)  # nothing is salient: B is R's own column
    assert score.status == ["no_background"]
    assert score.sfd.item() == 1
    score = sfd_score(CAM * faint, a_mask([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]), scaling=scaling)
    assert score.status == ["ok"]
    assert score.sfd.item() == pytest.approx(0.45 / (0.45 + 0.6), rel=1e-6)


@pytest.mark.parametrize("raw", [1e-20, 1e-30, 1e-38])
def test_maps_faint_before_normalisation_have_a_score(raw: float):
    mask = a_mask([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    score = sfd_score(normalize(CAM * raw, (3, 4)).map, mask)
    assert score.status == ["ok"]
    assert score.sfd.item() == pytest.approx(0.45 / (0.45 + 0.6), rel=1e-5)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_weights_too_small_for_a_mean_are_no_score(scaling: str):
    mask = torch.zeros(1, 4, 6, dtype=torch.bool)
    mask[0, 1:3, 1:4] = True
    cam = torch.zeros(1, 4, 6, dtype=torch.float64)
    cam[0, 1, 1] = 5e-324  # the smallest number there is: a sixth of it is 0
    score = sfd_score(cam, mask, scaling=scaling)
    assert score.status == ["zero_cam" if scaling in ("antilog", "linear") else "no_background"]
    assert score.sfd.isnan().tolist() == [score.status == ["zero_cam"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": 1.5}, "threshold"),
        ({"scaling": "log"}, "scaling 'log'"),
        ({"box": "circle"}, "box 'circle'"),
        ({"mask": MASK.float()}, "mask must be bool"),
        ({"mask": MASK[0]}, r"\(N, H, W\)"),
        ({"cam": CAM * 2}, r"must lie in \[0, 1\]"),
        ({"cam": CAM.long()}, "float"),
    ],
)
def test_wrong_input_is_one_clear_line(change: dict, message: str):
    arguments = {"cam": CAM, "mask": MASK, **change}
    with pytest.raises(UsageError, match=message) as caught:
        sfd_score(arguments.pop("cam"), arguments.pop("mask"), **arguments)
    assert "\n" not in str(caught.value)


def test_bounding_box_and_its_filling():
    region = torch.zeros(2, 5, 7, dtype=torch.bool)
    region[0, 1, 2] = region[0, 3, 5] = True
    boxes = bounding_box(region)
    assert boxes.tolist() == [[2, 1, 6, 4], [0, 0, 0, 0]]
    filled = fill_box(boxes, 5, 7)
    assert filled.sum((1, 2)).tolist() == [12, 0]
    assert filled[0, 1:4, 2:6].all()


@st.composite
def cases(draw):
    height, width, seed = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    cam = torch.rand(3, height, width, generator=generator)
    cam = torch.where(torch.rand(3, height, width, generator=generator) < draw(st.floats(0, 0.9)), 0.0, cam)
    mask = torch.rand(3, height, width, generator=generator) < draw(st.floats(0, 1))
    options = {
        "threshold": draw(st.floats(0.01, 1)),
        "scaling": draw(st.sampled_from(list(SCALINGS))),
        "box": draw(st.sampled_from(["rect", "region"])),
    }
    return cam, mask, options


def reference(cam: torch.Tensor, mask: torch.Tensor, threshold: float, scaling: str, box: str) -> float | None:
    """The definition, pixel by pixel."""
    height, width = cam.shape
    scale = {
        "antilog": lambda w: 10**w - 1,
        "antilog-literal": lambda w: 10**w,
        "exp": math.exp,
        "linear": lambda w: w,
    }[scaling]
    inside = [(y, x) for y in range(height) for x in range(width) if mask[y, x] or cam[y, x] >= threshold]
    in_r = [(y, x) for y, x in inside if mask[y, x]]
    if not in_r or not cam.any():
        return None
    if box == "rect":
        rows, columns = [y for y, _ in inside], [x for _, x in inside]
        inside = [(y, x) for y in range(min(rows), max(rows) + 1) for x in range(min(columns), max(columns) + 1)]
    rest = [(y, x) for y, x in inside if not mask[y, x]]
    if not any(cam[y, x] > 0 for y, x in in_r + rest):
        return None
    w_r = sum(scale(float(cam[y, x])) for y, x in in_r) / len(in_r)
    w_n = sum(scale(float(cam[y, x])) for y, x in rest) / len(rest) if rest else 0.0
    return w_r / (w_r + w_n)


@given(cases(), st.sampled_from([(torch.float64, 1e-9), (torch.float32, 5e-7)]))
@settings(max_examples=150, deadline=None)
def test_equals_the_definition_pixel_by_pixel(case, precision):
    cam, mask, options = case
    dtype, tolerance = precision
    score = sfd_score(cam.to(dtype), mask, **options)
    for i in range(len(cam)):
        expected = reference(cam[i], mask[i], **options)
        if expected is None:
            assert score.sfd[i].isnan()
        else:
            assert score.sfd[i].item() == pytest.approx(expected, abs=tolerance)


@given(cases())
@settings(max_examples=100, deadline=None)
def test_bounds_and_box(case):
    cam, mask, options = case
    score = sfd_score(cam, mask, **options)
    low, high = BOUNDS[options["scaling"]]
    for i, status in enumerate(score.status):
        if status == "ok":
            assert low - 1e-9 <= score.sfd[i] <= high + 1e-9
        if status in ("ok", "no_background"):
            held = fill_box(score.box[i : i + 1], *cam.shape[1:])[0]
            assert not (mask[i] & ~held).any(), "B holds R"
            assert not ((cam[i] >= options["threshold"]) & ~held).any(), "weights outside B are below the threshold"


@given(cases())
@settings(max_examples=100, deadline=None)
def test_unchanged_by_flips_and_transposes(case):
    cam, mask, options = case
    score = sfd_score(cam, mask, **options)
    for turn in (lambda t: t.flip(1), lambda t: t.flip(2), lambda t: t.transpose(1, 2)):
        turned = sfd_score(turn(cam), turn(mask), **options)
        assert turned.status == score.status
        assert torch.allclose(turned.sfd, score.sfd, equal_nan=True)


@given(cases(), st.floats(0.01, 1))
@settings(max_examples=100, deadline=None)
def test_raising_the_threshold_never_grows_the_box(case, other):
    cam, mask, options = case
    low, high = sorted((options.pop("threshold"), other))
    wide, narrow = (sfd_score(cam, mask, threshold=tau, **options) for tau in (low, high))
    scored = ~(wide.sfd.isnan() | narrow.sfd.isnan())
    assert (narrow.box[scored, :2] >= wide.box[scored, :2]).all()
    assert (narrow.box[scored, 2:] <= wide.box[scored, 2:]).all()


@given(cases())
@settings(max_examples=100, deadline=None)
def test_all_weight_inside_scores_one(case):
    cam, mask, options = case
    score = sfd_score(torch.where(mask, cam, 0.0), mask, **{**options, "scaling": "antilog"})
    for value, status in zip(score.sfd, score.status, strict=True):
        assert status in ("no_object", "zero_cam") or value == 1


@given(cases())
@settings(max_examples=100, deadline=None)
def test_moving_weight_out_of_the_object_lowers_the_score(case):
    cam, mask, options = case
    options["threshold"] = 1.0  # B then stays where it is: the maximum is kept
    cam[:, 0, 0] = 1.0
    less = torch.where(mask & (cam < 1), cam * 0.5, cam)
    more_outside = torch.where(~mask & (cam < 1), less * 0.5 + 0.4, less)
    before, after = sfd_score(cam, mask, **options), sfd_score(more_outside, mask, **options)
    for old, new, status in zip(before.sfd, after.sfd, before.status, strict=True):
        if status == "ok" and not (more_outside < cam)[~mask].any():
            assert new <= old + 1e-9


def test_a_mask_of_pillows_bools_is_the_same_mask():
    mask = np.zeros((9, 12), bool)
    mask[2:7, 3:8] = True
    odd = np.asarray(Image.fromarray(mask).convert("1"))
    assert odd.view(np.uint8).max() == 255, "else there is nothing to test"
    cam = torch.rand(1, 9, 12, generator=torch.Generator().manual_seed(0))
    for name in ("sfd", "pointing_game", "energy_pointing_game", "iou", "auroc", "average_precision"):
        measured = [MEASURES[name].compute(cam, torch.from_numpy(each.copy())[None]).values for each in (mask, odd)]
        assert torch.equal(*measured), name
