"""A thousand images stay light: on the disk, and in the browser."""

import json

import pytest

from das_explain.report import build_report
from das_explain.report.packets import map_bits
from tests.report.browser import needs_chromium, open_page, probe
from tests.report.synthetic_run import Item, make_run

SIDES = {"layer2": 28, "layer3": 14, "layer4": 7}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = make_run(
        tmp_path_factory.mktemp("size") / "run",
        [Item(f"val/class_{i % 20}/photo_{i:05d}.jpg", f"class_{i % 20}") for i in range(1000)],
        blocks=tuple(SIDES),
        sides=SIDES,
        size=(224, 224),
        quick=True,
    )
    build_report(folder)
    return folder / "report"


def test_on_the_disk(report):
    """Pictures of 224 px apart, packets are held to what their maps have in bits, and the facts to a few MB."""
    text = (report / "data.js").read_text(encoding="ascii").removeprefix("window.DAS = ").split(";\nDAS.packets")[0]
    images = json.loads(text)["images"]
    assert all(not cell.get("blank") for image in images for answer in image["models"] for cell in answer["cells"])
    bits = 1000 * 2 * sum(side * side * map_bits(side, side) for side in SIDES.values())
    packets = sum(path.stat().st_size for path in (report / "images").glob("*.js"))
    sizes = {path.name: path.stat().st_size for path in report.iterdir() if path.is_file()}
    assert len(images) == len(list((report / "images").glob("*.jpg"))) == 1000
    assert packets < 1.25 * bits / 8  # one bit for what is zero, 16 bits for 15, outlines
    assert sizes["data.js"] < 2e6
    assert sizes["index.html"] < 120_000  # most of it rows of tables
    assert sizes["pairs.js"] < 100_000  # of each block 864 readings
    assert sizes["report.js"] + sizes["report.css"] < 100_000


@needs_chromium
def test_in_the_browser(report, tmp_path):
    probe(
        report,
        "await go('#sort=delta&block=layer4');"
        "return { cards: shown().length, nodes: all('*').length,"
        " count: document.querySelector('#pager-top p').textContent };",
    )
    page = open_page(f"file://{report}/index.html", tmp_path / "profile")
    result = page.result()
    assert page.console == []
    assert (result["cards"], result["count"]) == (24, "1 to 24 of 1,000 images")
    assert result["nodes"] < 11_000  # 3,000 of them are points of the scatter charts, as many stand in tables
