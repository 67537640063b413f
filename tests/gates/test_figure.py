"""The figure holds the maps, places and numbers it was given, on real scales."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from das_explain.gates.figure import LARGEST, GateFigure, GatePanel, gate_figure

PHOTO = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)


def deformable(name: str, size: int, modulation_scale: float = 2) -> GatePanel:
    rng = np.random.default_rng(size)
    grid = np.stack([rng.uniform(5, 25, (9, 2)) for _ in range(2)])
    return GatePanel(
        name=name,
        mean=rng.uniform(0.48, 0.52, (size, size)),
        passed=rng.uniform(0.3, 0.7, (size, size)),
        grid=grid,
        places=grid + np.array([3, 4]),
        modulation=rng.uniform(0, modulation_scale, (2, 9)),
        modulation_scale=modulation_scale,
    )


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in (figure, *figure.axes) for text in axes.texts]


def images(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]


def ticks(figure: Figure) -> list[str]:
    return [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]


def test_it_holds_what_it_says() -> None:
    gates = [deformable("layer1.gate", 6), deformable("layer2.gate", 3)]
    points = np.array([[10.0, 12.0], [20.0, 8.0]])
    mask = np.zeros((30, 40), bool)
    mask[5:20, 5:20] = True
    table = [("gates", "logit"), ("trained", "1.23"), ("ones: predicts $x_1$",)]
    figure = gate_figure(GateFigure(PHOTO, "das", "predicted cat", gates, points, "a_b^c", mask, table))
    shown = texts(figure)
    for text in ("das", "predicted cat", "a_b^c", "trained", "1.23", "ones: predicts $x_1$", "layer1.gate  6 × 6"):
        assert text in shown
    assert shown.count("offsets 5.0 px") == 2, "3 to the right and 4 down, everywhere"
    drawn = images(figure)
    for gate in gates:
        for map_ in (gate.mean, gate.passed):
            assert any(each.shape == map_.shape and np.array_equal(each, map_) for each in drawn)
    photos = [each for each in drawn if each.shape == PHOTO.shape]
    assert len(photos) == 3, "the photo itself, and under each gate's places"
    dots = [
        collection
        for axes in figure.axes
        for collection in axes.collections
        if isinstance(collection, PathCollection) and len(collection.get_offsets()) == 9
    ]
    for gate in gates:
        for number in range(2):
            there = [each for each in dots if np.allclose(each.get_offsets(), gate.places[number])]
            assert len(there) == 1
            np.testing.assert_allclose(there[0].get_sizes(), LARGEST / 2 * gate.modulation[number])
            assert any(np.allclose(each.get_offsets(), gate.grid[number]) for each in dots)
    # one scale for all gates of a row, whose ends are told
    ends = [f"{min(g.passed.min() for g in gates):.2f}", f"{max(g.passed.max() for g in gates):.2f}"]
    assert set(ends) <= set(ticks(figure))
    ends = [f"{min(g.mean.min() for g in gates):.3f}", f"{max(g.mean.max() for g in gates):.3f}"]
    assert set(ends) <= set(ticks(figure))


@pytest.mark.parametrize(("scale", "told"), [(1.0, {"0.25", "0.5", "1"}), (2.0, {"0.5", "1", "2"})])
def test_the_largest_dot_is_the_most_modulation_that_the_gate_can_have(scale: float, told: set[str]) -> None:
    gate = replace(deformable("gate", 4, scale), modulation=np.full((2, 9), scale))
    figure = gate_figure(GateFigure(PHOTO, "das", "", [gate], np.array([[10.0, 12.0]])))
    assert told <= set(texts(figure))
    sizes = [c.get_sizes() for axes in figure.axes for c in axes.collections if isinstance(c, PathCollection)]
    assert sum(np.allclose(each, LARGEST) and len(each) == 9 for each in sizes) == 1
    legend = next(each for each in sizes if len(each) == 3)
    np.testing.assert_allclose(legend, LARGEST * np.array([0.25, 0.5, 1]))


def test_nothing_leaves_the_figure() -> None:
    gates = [deformable(f"layer{i}.gate", 4) for i in range(5)]
    long = GateFigure(
        PHOTO, "m" * 200, "p" * 300, gates, np.array([[1.0, 2.0]]), "l" * 100, None, [("gates", "9" * 40)]
    )
    figure = gate_figure(long)
    figure.draw_without_rendering()
    box = figure.bbox
    for text in figure.texts:
        extent = text.get_window_extent()
        assert box.x0 - 1 <= extent.x0
        assert extent.x1 <= box.x1 + 1
        assert box.y0 - 1 <= extent.y0
        assert extent.y1 <= box.y1 + 1


def test_channel_attentions_are_drawn_as_sorted_weights() -> None:
    weights = np.array([0.2, 0.9, 0.5])
    gates = [GatePanel(name=f"layer{i}.0.gate", passed=np.full((4, 4), 0.4), weights=weights) for i in range(8)]
    figure = gate_figure(GateFigure(PHOTO, "se", "", gates, np.empty((0, 2))))
    lines = [line.get_ydata() for axes in figure.axes for line in axes.lines if len(line.get_ydata()) == 3]
    assert len(lines) == 8
    assert all(list(line) == [0.9, 0.5, 0.2] for line in lines)
    assert texts(figure).count("A, channels\nsorted") == 8
    assert texts(figure).count("0.20 to 0.90") == 8
    assert not any("offsets" in text for text in texts(figure))
    assert sum(each.shape == (4, 4) for each in images(figure)) == 8
