"""Measures beside their published peers on 200 random maps and masks, and by hand where a peer is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipy_entropy
from sklearn.metrics import average_precision_score, jaccard_score, roc_auc_score

from das_explain.measures import MEASURES, MeasureOptions

COUNT, SIDE = 200, 24
GENERATOR = torch.Generator().manual_seed(0)


def random_cases() -> tuple[torch.Tensor, torch.Tensor]:
    """Maps of distinct weights (no ties) and blobs as masks, float32 and bool (200, 24, 24)."""
    places = torch.stack([torch.randperm(SIDE * SIDE, generator=GENERATOR) for _ in range(COUNT)])
    maps = ((places + 1) / (SIDE * SIDE)).view(COUNT, SIDE, SIDE) ** 2
    centre = torch.rand(COUNT, 2, 1, 1, generator=GENERATOR) * SIDE
    radius = torch.rand(COUNT, 1, 1, generator=GENERATOR) * 8 + 2
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    masks = (y - centre[:, 0]) ** 2 + (x - centre[:, 1]) ** 2 < radius**2
    masks[:, 3, 3] = True
    return maps, masks


MAPS, MASKS = random_cases()
TIED = (MAPS * 5).floor() / 5  # six weights, many ties, zeros


def values(name: str, maps: torch.Tensor = MAPS, options: MeasureOptions | None = None) -> np.ndarray:
    measured = MEASURES[name].compute(maps, MASKS, *([options] if options else []))
    assert set(measured.status) == {"ok"}
    return measured.values.numpy()


def of_quantus(metric: str, maps: torch.Tensor = MAPS, masks: torch.Tensor = MASKS) -> np.ndarray:
    quantus = pytest.importorskip("quantus")
    judge = getattr(quantus, metric)(disable_warnings=True, display_progressbar=False, normalise=False)
    attributions = maps.double().numpy().reshape(len(maps), -1)
    given = {"a_batch": attributions.copy(), "x_batch": attributions.copy()}
    if metric not in ("Sparseness", "Complexity"):
        given["s_batch"] = masks.numpy().reshape(len(maps), -1).astype(float)
    return np.asarray(judge.evaluate_batch(**given), dtype=float).ravel()


@pytest.mark.parametrize(
    ("name", "metric", "tolerance"),
    [
        ("pointing_game", "PointingGame", 0),
        ("energy_pointing_game", "RelevanceMassAccuracy", 1e-6),
        ("relevance_rank_accuracy", "RelevanceRankAccuracy", 1e-12),
        ("auroc", "AUC", 1e-12),
        ("gini", "Sparseness", 1e-6),
        ("entropy", "Complexity", 1e-5),
    ],
)
def test_as_quantus_where_it_is_right(name: str, metric: str, tolerance: float):
    assert values(name) == pytest.approx(of_quantus(metric), abs=tolerance)


def test_quantus_scores_an_empty_mask_as_a_hit_and_here_it_has_no_score():
    empty = torch.zeros_like(MASKS[:3])
    assert of_quantus("PointingGame", MAPS[:3], empty).tolist() == [1, 1, 1]
    measured = MEASURES["pointing_game"].compute(MAPS[:3], empty)
    assert measured.status == ["no_object"] * 3 and measured.values.isnan().all()


def test_quantus_scores_a_uniform_map_as_a_hit_and_here_it_has_the_objects_share():
    uniform = torch.ones_like(MAPS)
    assert of_quantus("PointingGame", uniform).tolist() == [1] * COUNT
    assert values("pointing_game", uniform) == pytest.approx(MASKS.float().mean((1, 2)).numpy())


def test_quantus_ranks_ties_by_place_and_here_a_uniform_map_has_the_objects_share():
    uniform = torch.ones(2, 4, 4)
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, :2], masks[1, 2:] = True, True
    theirs = of_quantus("RelevanceRankAccuracy", uniform, masks)
    assert theirs[0] != theirs[1], "the same map and object, turned upside down"
    ours = MEASURES["relevance_rank_accuracy"].compute(uniform, masks)
    assert ours.values.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("maps", [MAPS, TIED], ids=["distinct", "tied"])
def test_auroc_and_average_precision_as_scikit_learns(maps: torch.Tensor):
    pairs = [(mask.ravel(), weights.ravel()) for mask, weights in zip(MASKS.numpy(), maps.numpy())]
    assert values("auroc", maps) == pytest.approx([roc_auc_score(*pair) for pair in pairs], abs=1e-12)
    assert values("average_precision", maps) == pytest.approx(
        [average_precision_score(*pair) for pair in pairs], abs=1e-12
    )


@pytest.mark.parametrize("maps", [MAPS, TIED], ids=["distinct", "tied"])
def test_auroc_average_precision_and_iou_as_torchmetrics(maps: torch.Tensor):
    functional = pytest.importorskip("torchmetrics.functional.classification")
    expected = {
        name: [float(function(weights.ravel().double(), mask.ravel().int())) for weights, mask in zip(maps, MASKS)]
        for name, function in (
            ("auroc", functional.binary_auroc),
            ("average_precision", functional.binary_average_precision),
            ("iou", lambda weights, mask: functional.binary_jaccard_index(weights, mask, threshold=0.5 - 1e-9)),
        )
    }
    assert values("auroc", maps) == pytest.approx(expected["auroc"], abs=1e-6)
    assert values("average_precision", maps) == pytest.approx(expected["average_precision"], abs=1e-6)
    assert values("iou", maps, MeasureOptions(threshold=0.5)) == pytest.approx(expected["iou"], abs=1e-6)


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.7, 1.0])
def test_iou_as_scikit_learns(threshold: float):
    expected = [
        jaccard_score(mask.ravel(), weights.astype(float).ravel() >= threshold)
        for mask, weights in zip(MASKS.numpy(), MAPS.numpy())
    ]
    assert values("iou", MAPS, MeasureOptions(threshold=threshold)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("maps", [MAPS, TIED], ids=["distinct", "tied"])
def test_gini_entropy_and_energy_by_their_definitions(maps: torch.Tensor):
    for row, (weights, mask) in enumerate(zip(maps.double().numpy(), MASKS.numpy())):
        flat = weights.ravel()
        spread = np.abs(flat[:, None] - flat[None]).sum() / (2 * flat.size * flat.sum())  # mean absolute difference
        assert values_at("gini", maps, row) == pytest.approx(spread, abs=1e-9)
        assert values_at("entropy", maps, row) == pytest.approx(scipy_entropy(flat), abs=1e-5)
        assert values_at("energy_pointing_game", maps, row) == pytest.approx(weights[mask].sum() / flat.sum(), abs=1e-6)


def values_at(name: str, maps: torch.Tensor, row: int) -> float:
    return MEASURES[name].compute(maps[row : row + 1], MASKS[row : row + 1]).values.item()


def test_relevance_rank_accuracy_is_the_mean_over_orders_of_the_tied():
    rng = np.random.default_rng(0)
    for row in range(5):
        weights, mask = TIED[row].numpy().ravel(), MASKS[row].numpy().ravel()
        area, hits = mask.sum(), []
        for _ in range(2000):
            order = rng.permutation(weights.size)
            top = order[np.argsort(-weights[order], kind="stable")][:area]
            hits.append(mask[top].mean())
        error = np.std(hits) / np.sqrt(len(hits))
        assert values_at("relevance_rank_accuracy", TIED, row) == pytest.approx(np.mean(hits), abs=5 * error + 1e-12)
