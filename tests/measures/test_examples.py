"""Examples in the docstrings of measures and nulls run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest
import torch

from das_explain import measures, nulls

MODULES = [
    name
    for room in (measures, nulls)
    for name in (room.__name__, *(f"{room.__name__}.{module.name}" for module in pkgutil.iter_modules(room.__path__)))
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of(name: str):
    result = doctest.testmod(importlib.import_module(name), extraglobs={"torch": torch})
    assert result.failed == 0
