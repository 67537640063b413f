"""The examples in the docstrings say what the functions give."""

from __future__ import annotations

import doctest

import pytest

from das_explain.stats import copies, effects, intervals, significance


@pytest.mark.parametrize("module", [copies, effects, intervals, significance])
def test_the_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed
