"""Specification curves, and the rows of another pair: in a browser, against the CSV files."""

import csv
import io
import shutil

import pytest

from das_explain.evidence.run import Run
from das_explain.report import build_report, build_single_file, words
from tests.report.browser import needs_chromium, open_page, probe
from tests.report.devtools import tab
from tests.report.synthetic_run import Item, make_run

pytestmark = needs_chromium
MODELS = ("plain", "das", "</script><b>third")

SCRIPT = """
  const drawn = async () => { for (let i = 0; i < 300 && all('.curve svg').length < 2; i++) await wait(20); };
  await drawn();
  const curves = () => all('.curve').map((place) => ({
    label: place.querySelector('svg')?.getAttribute('aria-label'), own: place.querySelector('.default-word')?.textContent,
    strong: [...place.querySelectorAll('.level.own')].map((node) => node.textContent) }));
  const rows = (name) => [...document.querySelector(`[aria-labelledby="${name}-title"] tbody`).rows]
    .map((row) => [...row.cells].map((cell) => cell.textContent.replace(/\\s+/g, ' ').trim()));
  const result = { curves: curves(), strata: rows('strata'), classes: rows('classes'), choosers: all('.pair-choice select').length };

  const chart = document.querySelector('.curve[data-block="1"] svg');
  const press = (key) => chart.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
  press('ArrowRight');
  result.first = [...document.getElementById('tip').children].map((node) => node.textContent);
  press('ArrowLeft');
  result.last = [...document.getElementById('tip').children].map((node) => node.textContent);
  press('Escape');
  result.tip = document.getElementById('tip').hidden;

  const select = document.querySelector('#strata .pair-choice select');
  result.options = [...select.options].map((option) => option.textContent);
  select.value = select.options[2].value;
  select.dispatchEvent(new Event('change', { bubbles: true }));
  for (let i = 0; i < 300 && rows('strata')[0][3] === result.strata[0][3]; i++) await wait(20);
  await wait(300);
  result.other = { curves: curves(), strata: rows('strata'), classes: rows('classes'), signs: rows('signs') };
  result.address = location.hash;
  result.injected = all('main script, section b').filter((node) => !node.matches('.score')).length;

  const copied = [];
  Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (text) => copied.push(text) } });
  all('[aria-labelledby=classes-title] + .copies button')[2].click();
  await wait();
  result.copied = copied[0];
  const table = document.querySelector('[aria-labelledby=classes-title] table');
  const button = [...table.tHead.rows[0].cells].find((cell) => cell.textContent.startsWith('Images')).querySelector('button');
  button.click();
  result.sorted = [...table.tBodies[0].rows].map((row) => Number(row.cells[3].textContent));
  return result;
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    items = [Item(f"{i}.jpg", "cat" if i < 5 else "dog") for i in range(8)]
    return make_run(tmp_path_factory.mktemp("pairs") / "run", items, models=MODELS, seed=4)


@pytest.fixture(scope="module")
def seen(run, tmp_path_factory):
    build_report(run)
    probe(run / "report", SCRIPT)
    page = open_page(f"file://{run}/report/index.html", tmp_path_factory.mktemp("profile"), "--window-size=1280,900")
    assert page.console == []
    result = page.result()
    assert "error" not in result, result["error"]
    return result


def strata(run, family, a, b):
    table = Run.open(run).table("strata").astype({"block": str, "model_a": str, "model_b": str})
    mine = table[(table["family"] == family) & (table["model_a"] == a) & (table["model_b"] == b)]
    return {(row.stratum, row.block): words.signed(row.delta) for row in mine.itertuples()}


@pytest.mark.parametrize(("place", "a", "b"), [(None, "plain", "das"), ("other", "das", MODELS[2])])
def test_curves_and_rows_are_those_of_the_chosen_pair(run, seen, place, a, b):
    shown = seen[place] if place else seen
    readings = Run.open(run).table("readings").astype({"block": str, "model_a": str, "model_b": str})
    comparison = Run.open(run).table("comparison").astype({"block": str, "model_a": str, "model_b": str})
    for block, curve in zip(("layer3", "layer4"), shown["curves"], strict=True):
        mine = readings[(readings["block"] == block) & (readings["model_a"] == a) & (readings["model_b"] == b)]
        above, below = int((mine["ci_low"] > 0).sum()), int((mine["ci_high"] < 0).sum())
        assert curve["label"].startswith(
            f"{block}: {b} minus {a} in {len(mine)} readings. {b} ahead with an interval above zero in {above}, "
            f"{a} in {below}, neither in {len(mine) - above - below}."
        )
        row = comparison[(comparison["block"] == block) & (comparison["model_a"] == a) & (comparison["model_b"] == b)]
        assert curve["own"] == f"as scored {words.signed(float(row['delta'].iloc[0]))}"
        assert curve["strong"] == ["10^w − 1", "0.3", "rect", "as is", "left out", "counts 1"]
    correct = {(row[1], row[2]): row[7].split(" [")[0] for row in shown["strata"] if row[0] == "Prediction"}
    assert correct == strata(run, "correct", a, b)
    assert {(row[0], row[1]): row[6].split(" [")[0] for row in shown["classes"]} == strata(run, "class", a, b)


def test_the_arrow_keys_read_one_reading_after_the_other(run, seen):
    readings = Run.open(run).table("readings").astype({"block": str, "model_a": str, "model_b": str})
    mine = readings[(readings["block"] == "layer4") & (readings["model_a"] == "plain") & (readings["model_b"] == "das")]
    for told, row in (
        (seen["first"], mine.loc[mine["delta"].idxmin()]),
        (seen["last"], mine.loc[mine["delta"].idxmax()]),
    ):
        delta, low, high = (words.signed(row[name]) for name in ("delta", "ci_low", "ci_high"))
        assert told[0] == f"{delta} [{low}, {high}]"
        assert told[2] == f"{row['n']:.0f} images"
    assert seen["tip"] is True


def test_a_pair_is_chosen_for_all_sections_at_once(seen):
    assert seen["choosers"] == 4
    assert seen["options"] == ["plain and das", f"plain and {MODELS[2]}", f"das and {MODELS[2]}"]
    assert "pair=das" in seen["address"]
    assert seen["injected"] == 0
    copied = list(csv.reader(io.StringIO(seen["copied"])))
    assert [row[0] for row in copied] == ["Class", *(row[0] for row in seen["other"]["classes"])]
    assert {row[2] for row in copied[1:]} == {f"{MODELS[2]} - das"}
    assert seen["sorted"] == sorted(seen["sorted"], reverse=True)


def test_one_file_has_them_too(run, tmp_path):
    with tab(tmp_path / "profile") as page:
        page.look(375, 800, dark=True)
        address = f"file://{build_single_file(run)}"
        page.open(address)
        found = page.run(
            "for (let i = 0; i < 100 && document.querySelectorAll('.curve svg').length < 2; i++)"
            " await new Promise((done) => setTimeout(done, 50));"
            "return [document.querySelectorAll('.curve svg').length, document.documentElement.scrollWidth];"
        )
        assert page.complaints == []
        assert [each for each in page.asked if not each.startswith("data:")] == [address]
    assert found == [2, 375]


def test_a_folder_that_was_moved_asks_for_its_own_files_only_and_paper_has_every_table(run, tmp_path):
    build_report(run)
    moved = shutil.copytree(run / "report", tmp_path / "elsewhere")
    with tab(tmp_path / "profile") as page:
        page.look(1000, 800, media="print")
        page.open(f"file://{moved}/index.html")
        links = page.run("return [...document.querySelectorAll('a[href^=files]')].map((link) => link.href);")
        assert len(links) > 5
        assert all((moved / "files" / link.rsplit("/", 1)[1]).is_file() for link in links)
        found = page.run(
            "const shown = (selector) => [...document.querySelectorAll(selector)]"
            ".filter((node) => node.checkVisibility({ contentVisibilityAuto: true })).length;"
            "return [shown('main table'), document.querySelectorAll('main table').length,"
            " shown('.copies, .pair-choice, #controls')];"
        )
        assert page.complaints == []
        assert {f"file://{moved}/{name}" for name in ("data.js", "report.js", "pairs.js")} <= set(page.asked)
        assert all(each.startswith((f"file://{moved}/", "data:")) for each in page.asked)
    assert found[0] == found[1] > 8
    assert found[2] == 0
