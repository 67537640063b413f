"""axe-core finds nothing serious in the page: light and dark, on a desk and on a phone, its tables and its viewer open.

axe-core is no Python package. ``npm install axe-core`` in the repository's folder, or AXE_CORE=.../axe.min.js.
"""

import os
from pathlib import Path

import pytest

from das_explain.report import build_report
from tests.report.browser import needs_chromium
from tests.report.devtools import tab
from tests.report.synthetic_run import Item, make_run

ROOT = Path(__file__).parent.parent.parent
AXE = Path(os.environ.get("AXE_CORE", ROOT / "node_modules/axe-core/axe.min.js"))
pytestmark = [needs_chromium, pytest.mark.skipif(not AXE.is_file(), reason="no axe-core: npm install axe-core")]

ITEMS = [
    *(Item(f"{'folder/' * 12}{i}.jpg", ("cat", "dog", "l" * 90)[i % 3]) for i in range(6)),
    Item("<b>.jpg", None),
    Item("broken.jpg", "dog", "unreadable", "cut off at byte 1024"),
    Item("nomask.jpg", "dog", "no_mask", "the mask column is empty"),
]
RUN = """
  for (const details of document.querySelectorAll("details")) details.open = true;
  await new Promise((done) => setTimeout(done, 300));
  const seen = async () => (await axe.run({ preload: false })).violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => [id, nodes.slice(0, 3).map((node) => node.html.slice(0, 200))]);
  const page = await seen();
  document.querySelector(".card .open").click();
  await new Promise((done) => setTimeout(done, 300));
  return { page, viewer: await seen(), checks: axe.getRules().length };
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("axe") / "run"
    return build_report(make_run(folder, ITEMS, models=("plain", "das", "m" * 60)))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 375])
def test_nothing_serious(report, tmp_path, width, dark):
    with tab(tmp_path / "profile") as page:
        page.look(width, 900, dark=dark)
        page.open(f"file://{report}")
        page.run(AXE.read_text(encoding="utf-8"))
        found = page.run(RUN)
        assert page.complaints == []
    assert found["checks"] > 50
    assert (found["page"], found["viewer"]) == ([], [])
