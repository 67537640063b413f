"""Every Python block of the docs runs, page by page, and prints what stands below it."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import matplotlib
import pytest

from das_explain import MEASURES
from das_explain.data.dataset import SOURCES
from das_explain.engines import ENGINES
from das_explain.nn import ATTENTION
from das_explain.nulls import NULLS
from das_explain.segment import SEGMENTERS
from tests.docs.pages import PAGES, ROOT, blocks_of

matplotlib.use("agg")
WITH_PYTHON = [page for page in PAGES if any(block.kind == "python" for block in blocks_of(page))]
REGISTRIES = (ATTENTION, MEASURES, NULLS, SEGMENTERS, SOURCES, ENGINES)


@pytest.fixture
def unregistered():
    """What an example registers is gone after it."""
    before = [dict(registry) for registry in REGISTRIES]
    yield
    for registry, entries in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(entries)


@pytest.mark.usefixtures("unregistered")
@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(page: Path, beside: Path):
    names: dict = {"__name__": "__main__"}
    for block in blocks_of(page):
        if block.kind != "python":
            continue
        if block.title:
            (beside / block.title).write_text(block.text, encoding="utf-8")
            continue
        out = StringIO()
        with redirect_stdout(out):
            exec(compile(block.text, f"{page.name}", "exec"), names)
        if block.printed is not None:
            assert out.getvalue().split() == block.printed.split()


@pytest.mark.parametrize("registry", ["attention", "measure", "null", "masks", "data", "engine"])
def test_each_kind_of_addition_has_a_page_with_a_whole_example(registry: str):
    blocks = blocks_of(ROOT / "docs" / "add" / f"{registry}.md")
    assert [block.title for block in blocks if block.title]
    assert any(block.printed for block in blocks)
