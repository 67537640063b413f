"""The examples in the docstrings run and print what they say; nothing public is without one."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest
import torch

import das_explain
from das_explain import create_segmenter, measures, nn, nulls, open_dataset
from tests.runs import score_dataset

PACKAGE = Path(das_explain.__file__).parent
ELSEWHERE = ("measures", "nulls", "stats")  # rooms whose own tests run their examples
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8") and path.relative_to(PACKAGE).parts[0] not in ELSEWHERE
)
PUBLIC = [
    f"{room.__name__}.{name}"
    for room in (das_explain, nn, measures, nulls)
    for name in room.__all__
    if inspect.isfunction(getattr(room, name)) or inspect.isclass(getattr(room, name))
]


@pytest.fixture(scope="module", autouse=True)
def beside_a_run(tmp_path_factory):
    """The examples run in a folder that holds a small run of the demo's, ``runs/demo``."""
    folder = tmp_path_factory.mktemp("doctests")
    data = open_dataset("collage:2")
    models = ("plain=collage-resnet18", "das=collage-das-resnet18")
    score_dataset(data, create_segmenter("masks", data), models=models, out=folder / "runs/demo", blocks=("layer4",))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


@pytest.mark.parametrize("name", [*WITH_EXAMPLES, "das_explain.measures.sfd"])
def test_the_examples_run(name: str):
    torch.manual_seed(0)
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_has_an_example(name: str):
    room, _, short = name.rpartition(".")
    public = getattr(importlib.import_module(room), short)
    assert any(test.examples for test in doctest.DocTestFinder().find(public, short))
