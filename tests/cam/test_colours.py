"""The colours of maps: turbo between its dark ends, laid over a photo."""

from __future__ import annotations

import matplotlib
import numpy as np

from das_explain import figures as plots
from das_explain.cam.colours import HEAT, colourize, overlay


def test_the_colours_are_turbo_s_between_its_dark_ends() -> None:
    turbo = matplotlib.colormaps["turbo"](np.linspace(0.07, 0.96, 256))[:, :3]
    assert HEAT.shape == (256, 3)
    assert HEAT.dtype == np.uint8
    np.testing.assert_array_equal(HEAT, np.rint(turbo * 255))


def test_colours_by_hand() -> None:
    maps = np.array([0.0, 1 / 512, 1 / 256, 0.5, 255 / 256, 1.0, 1.0 + 1e-7, -1e-7])
    np.testing.assert_array_equal(colourize(maps), HEAT[[0, 0, 1, 128, 255, 255, 255, 0]])


def test_figures_use_the_same_colours() -> None:
    maps = np.linspace(0, 1, 1001)
    np.testing.assert_array_equal(np.rint(plots.HEAT(maps)[:, :3] * 255), colourize(maps))


def test_an_overlay_by_hand() -> None:
    photo = np.array([[[10, 20, 31], [200, 100, 0]]], np.uint8)
    found = overlay(photo, np.array([[0.0, 1.0]]), opacity=0.5)
    np.testing.assert_array_equal(found, np.rint((photo.astype(float) + HEAT[[0, 255]][None]) / 2))
