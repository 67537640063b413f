"""The tables behind the outcome: measures, nulls and classes by hand; copies and sorting in a browser."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest

from das_explain.evidence.run import Run
from das_explain.measures import MEASURES
from das_explain.report import build_report, details
from das_explain.report.results import Results
from das_explain.scoring.options import ScoreOptions
from tests.report.browser import needs_chromium, open_page, probe
from tests.report.synthetic_run import Item, make_run

HOSTILE = "a|b_<b>&\\1"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    items = [Item(f"{i}.jpg", ("cat", "dog", None)[i % 3]) for i in range(9)]
    items += [Item("x.jpg", "dog", "unreadable"), Item("y.jpg", "cat", "no_mask")]
    options = ScoreOptions(measures=("sfd", "pointing_game", "entropy"))
    folder = make_run(
        tmp_path_factory.mktemp("tables") / "run", items, models=("plain", HOSTILE), options=options, seed=5
    )
    build_report(folder)
    return folder


@pytest.fixture(scope="module")
def results(run):
    return Results.read(Run.open(run))


def test_measures_are_the_means_of_measures_csv(run, results):
    table = Run.open(run).table("measures").astype({"model": str, "block": str, "measure": str})
    rows = {(row.title, row.block): row for row in details.measure_rows(results)}
    assert set(table["measure"]) >= {"sfd", "pointing_game", "entropy"}
    for measure, mine in table.groupby("measure"):
        known = MEASURES[measure]
        for block, part in mine.groupby("block"):
            wide = part.pivot(index="image", columns="model", values="value")
            row = rows[known.title, block]
            assert row.means == pytest.approx([wide["plain"].mean(), wide[HOSTILE].mean()])
            assert row.difference == pytest.approx((wide[HOSTILE] - wide["plain"]).mean())
            assert row.better in ("", ("plain", HOSTILE)[(row.difference > 0) == known.higher_is_better])
            assert row.direction == ("more is better" if known.higher_is_better else "less is better")
    assert len(rows) == 2 * table["measure"].nunique()


def test_every_lift_is_told(run, results):
    nulls, rows = details.null_rows(results)
    lift = Run.open(run).table("lift")
    assert sum(len(row["over"]) for row in rows) == len(lift)
    assert nulls == list(dict.fromkeys(lift["null"]))


def test_classes_by_hand(run, results):
    scores = Run.open(run).table("scores").astype({"model": str, "block": str})
    last = scores[(scores["block"] == "layer4") & (scores["label"] != "")]
    rows = details.class_rows(results)
    assert [(row.name, row.images) for row in rows] == [("cat", 4), ("dog", 4)]
    for row in rows:
        wide = last[last["label"] == row.name].pivot(index="image", columns="model", values="sfd")
        assert row.means == pytest.approx([wide["plain"].mean(), wide[HOSTILE].mean()], abs=1e-6)
        assert row.difference == pytest.approx((wide[HOSTILE] - wide["plain"]).mean(), abs=1e-6)


def test_one_class_needs_no_table(tmp_path):
    assert details.class_rows(Results.read(Run.open(make_run(tmp_path / "run", [Item("a.jpg")])))) == []


@needs_chromium
def test_copies_say_what_the_table_says_and_headings_sort(run, tmp_path):
    probe(
        run / "report",
        """
  const copied = [];
  Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (text) => copied.push(text) } });
  for (const title of ['comparison-title', 'measures-title']) {
    const place = document.querySelector(`[aria-labelledby=${title}] + .copies`);
    for (const button of place.querySelectorAll('button')) { button.click(); await wait(); }
  }
  const table = document.querySelector('[aria-labelledby=measures-title] table');
  const column = (i) => [...table.tBodies[0].rows].map((row) => row.cells[i].textContent);
  const sorted = {};
  for (const i of [2, 0]) for (const turn of ['first', 'second']) {
    table.tHead.rows[0].cells[i].querySelector('button').click();
    sorted[`${i} ${turn}`] = [column(i), table.tHead.rows[0].cells[i].getAttribute('aria-sort')];
  }
  return { copied, sorted, tables: all('main table').length, places: all('main .copies').length,
    told: document.querySelector('[aria-labelledby=comparison-title] + .copies [role=status]').textContent };
""",
    )
    page = open_page(f"file://{run}/report/index.html", tmp_path / "profile")
    assert page.console == []
    seen = page.result()
    assert seen["tables"] == seen["places"] > 4
    assert seen["told"] == "copied as CSV"
    markdown, latex, text, *_ = seen["copied"]
    comparison = Run.open(run).table("comparison")
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0][:4] == ["Block", "Images", "plain", HOSTILE]
    assert [row[0] for row in rows[1:]] == ["layer3", "layer4"]
    for row, expected in zip(rows[1:], comparison.itertuples()):
        assert [float(row[2]), float(row[3])] == [round(expected.mean_a, 3), round(expected.mean_b, 3)]
        assert float(row[4].split(" [")[0]) == round(expected.delta, 3)
    assert markdown.splitlines()[0].startswith(r"| Block | Images | plain | a\|b\_\<b\>&\\1 |")
    assert markdown.splitlines()[1].startswith("| --- | --: | --: | --: |")
    assert len(markdown.splitlines()) == 4
    assert latex.startswith("\\begin{tabular}{lrrrrrrr}\n\\toprule\n")
    assert r"plain & a|b\_$<$b$>$\&\textbackslash{}1 & Difference, 95" in latex
    assert r"95 \% interval" in latex
    assert latex.endswith("\\bottomrule\n\\end{tabular}\n")
    numbers = [float(value) for value in seen["sorted"]["2 first"][0]]
    assert numbers == sorted(numbers, reverse=True)
    assert seen["sorted"]["2 first"][1] == "descending"
    assert [float(value) for value in seen["sorted"]["2 second"][0]] == sorted(numbers)
    words, direction = seen["sorted"]["0 first"]
    assert (words, direction) == (sorted(words, key=str.lower), "ascending")
    assert seen["sorted"]["0 second"][1] == "descending"


def test_tables_hold_no_more_than_they_say(monkeypatch, results):
    monkeypatch.setattr(details, "MOST_CLASSES", 1)
    assert len(details.class_rows(results)) == 1


def test_figures_are_named_by_their_pair(tmp_path):
    from das_explain.report.publish import publish

    folder = make_run(
        tmp_path / "run", [Item(f"{i}.jpg") for i in range(4)], models=("a/b", "v1.5"), blocks=("layer4",)
    )
    page = publish(Run.open(folder))
    assert {path.name for path in (folder / "figures").glob("paired*")} == {
        "paired-a-b-v1.5.png",
        "paired-a-b-v1.5.pdf",
    }
    assert 'href="files/paired-a-b-v1.5.png"' in page.read_text(encoding="utf-8")
    assert (page.parent / "files/paired-a-b-v1.5.png").is_file()
    assert np.isfinite(pd.read_csv(page.parent / "files/summary.csv")["mean_sfd"]).all()
    assert json.loads((folder / "run.json").read_text())["schema"] == 2
