"""Memory that is too small for a batch costs time, and no photo and no digit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from das_explain.errors import DasExplainError
from das_explain.explain import explainer
from das_explain.explain.fitting import Fitting
from tests.explain.test_pipeline import run, setting  # noqa: F401 - a fixture
from tests.runs import assert_same_numbers


def call_that_fits(most: int, asked: list[int]):
    """What can do ``most`` items at a time; gives back which it was called with."""

    def call(part: slice) -> list[int]:
        asked.append(part.stop - part.start)
        if asked[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(range(part.start, part.stop))

    return call


def test_what_does_not_fit_is_tried_again_with_half_and_the_size_is_remembered():
    fitting, asked = Fitting(), []
    parts = fitting.in_parts(16, call_that_fits(5, asked))
    assert parts == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    assert asked == [16, 8, 4, 4, 4, 4]
    assert fitting.in_parts(6, call_that_fits(5, asked)) == [[0, 1, 2, 3], [4, 5]]
    assert asked[6:] == [4, 2]
    assert Fitting().in_parts(3, call_that_fits(5, asked)) == [[0, 1, 2]]


def test_one_photo_that_does_not_fit_is_one_line_and_other_errors_pass():
    with pytest.raises(DasExplainError, match="not memory enough to explain one photo"):
        Fitting().in_parts(4, call_that_fits(0, []))

    def broken(part: slice) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        Fitting().in_parts(4, broken)


def test_a_run_in_little_memory_has_the_same_numbers_and_says_how_many_photos_fit(setting, tmp_path: Path, monkeypatch):  # noqa: F811
    whole = run(setting, tmp_path / "whole", batch=8)
    real, shown = explainer.explain_with, []

    def little(method, network, images, *arguments, **named):
        shown.append(len(images))
        if len(images) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
        return real(method, network, images, *arguments, **named)

    monkeypatch.setattr(explainer, "explain_with", little)
    parts = run(setting, tmp_path / "parts", batch=8)
    assert shown[:4] == [8, 4, 2, 2]
    assert max(shown[2:]) == 2
    assert (whole.manifest["batch"], parts.manifest["batch"]) == (8, 2)
    for name in ("scores", "nulls", "lift"):
        assert_same_numbers(parts.table(name), whole.table(name))
