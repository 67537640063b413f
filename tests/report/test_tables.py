"""The tables behind the outcome, against the CSV files; copies and sorting in a browser."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest

from das_explain.evidence.run import Run
from das_explain.evidence.tables import LIFT, REGION_UNCERTAINTY, write_table
from das_explain.measures import MEASURES
from das_explain.report import build_report, doubts, measured, outcome, strata, words
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


def texts(table) -> list[list[str]]:
    """What the cells of a table say, row by row; columns that only draw are left out."""
    drawn = [column.drawn for column in table.columns]
    said = [[f"{cell.text} {cell.interval}".strip() for cell in row.cells] for row in table.rows]
    assert all(len(row) == len(drawn) for row in said)
    return [[text for text, only in zip(row, drawn) if not only] for row in said]


def test_measures_are_those_of_the_csv_with_their_direction(run, results):
    table, compared = measured.measures(results), Run.open(run).table("measure_comparison")
    assert set(compared["measure"]) == {"sfd", "pointing_game", "entropy"}
    assert len(table.rows) == len(compared)
    for said, row in zip(texts(table), compared.itertuples(), strict=True):
        known = MEASURES[row.measure]
        assert said[:4] == [known.title, row.block, f"{row.mean_a:.3f}", f"{row.mean_b:.3f}"]
        assert said[4].split(" [")[0] == words.signed(row.delta)
        better = "–" if abs(row.delta) < 5e-4 else ("plain", HOSTILE)[(row.delta > 0) == known.higher_is_better]
        assert said[6:] == [better, "more is better" if known.higher_is_better else "less is better"]


def test_a_single_model_has_means_by_measure_and_by_class(tmp_path):
    items = [Item(f"{i}.jpg", ("cat", "dog", None)[i % 3]) for i in range(7)]
    folder = make_run(tmp_path / "run", items, models=("only",), options=ScoreOptions(readings=False))
    results = Results.read(Run.open(folder))
    values = Run.open(folder).table("measures").astype({"block": str, "measure": str})
    means = values.groupby(["measure", "block"])["value"].mean()
    assert {(row[0], row[1], row[3]) for row in texts(measured.measures(results))} == {
        (MEASURES[measure].title, block, f"{mean:.3f}") for (measure, block), mean in means.items()
    }
    scores = Run.open(folder).table("scores").astype({"block": str})
    by_class = scores[scores["label"] != ""].groupby(["label", "block"])["sfd"].mean().unstack()
    assert texts(strata.classes(results)) == [
        [label, str(n), f"{by_class.loc[label, 'layer3']:.3f}", f"{by_class.loc[label, 'layer4']:.3f}"]
        for label, n in (("cat", 3), ("dog", 2))
    ]
    assert not doubts.readings(results)
    assert not doubts.curves(results)
    assert not strata.strata(results)


def test_every_lift_is_told(run, results):
    table, lift = measured.lifts(results), Run.open(run).table("lift")
    said = [text for row in texts(table) for text in row[4:]]
    assert sorted(text.split(" [")[0] for text in said if text != "–") == sorted(
        map(words.signed, lift["lift"].dropna())
    )
    assert len(table.columns) == 4 + lift["null"].nunique()


def test_strata_and_classes_are_those_of_the_csv(run, results):
    whole = Run.open(run).table("strata")
    for table, mine, names in (
        (strata.strata(results), whole[whole["family"] != "class"], 2),
        (strata.classes(results), whole[whole["family"] == "class"], 1),
    ):
        expected = sorted(
            [row.stratum, str(row.block), f"{row.n:.0f}", words.number(row.mean_a), words.number(row.mean_b)]
            for row in mine.itertuples()
        )
        assert sorted(row[names - 1 : names + 4] for row in texts(table)) == expected
        assert {row.pair for row in table.rows} == {"0-1"}
    assert {"both right", "one right", "small", "central"} <= {row[1] for row in texts(strata.strata(results))}


def test_classes_with_the_most_images_come_first_and_the_others_are_said_to_be_left_out(monkeypatch, tmp_path):
    items = [Item(f"{i}.jpg", "cat" if i < 2 else "dog") for i in range(7)]
    results = Results.read(Run.open(make_run(tmp_path / "run", items, blocks=("layer4",))))
    assert [row[0] for row in texts(strata.classes(results))] == ["dog", "cat"]
    monkeypatch.setattr(strata, "MOST_ROWS", 1)
    table = strata.classes(results)
    assert [row[0] for row in texts(table)] == ["dog"]
    assert table.note.startswith("The 1 classes with the most images, of 2; strata.csv has all.")


def test_one_class_needs_no_table(tmp_path):
    assert strata.classes(Results.read(Run.open(make_run(tmp_path / "run", [Item("a.jpg")])))) is None


def test_readings_count_what_the_csv_has(run, results):
    readings = Run.open(run).table("readings")
    for said, (block, mine) in zip(texts(doubts.readings(results)), readings.groupby("block"), strict=True):
        own = mine[
            (mine["scaling"] == "antilog") & (mine["threshold"] == 0.3) & (mine["box"] == "rect")
            & (mine["region"] == "as is") & (mine["zero_cam"] == "out") & (mine["no_background"] == "1")
        ]  # fmt: skip
        (delta,) = own["delta"]
        same = int((mine["delta"] * delta > 0).sum())
        assert said[:3] == [block, words.signed(delta), f"{same} of {mine['delta'].notna().sum()}"]
        clear = mine["ci_low"] > 0 if delta > 0 else mine["ci_high"] < 0
        assert said[3] == f"{clear.sum():,}"
        assert said[5:] == [
            words.signed(each) for each in (mine["delta"].min(), mine["delta"].median(), mine["delta"].max())
        ]


def test_a_curve_holds_every_reading_in_order_and_marks_the_run_s_own(run, results):
    found = doubts.curves(results)
    readings = Run.open(run).table("readings")
    choices = dict(found["choices"])
    assert choices["threshold"] == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.7"]
    assert choices["scaling"] == ["antilog", "antilog-literal", "exp", "linear"]
    for number, block in enumerate(results.blocks):
        curve, mine = found["curves"]["0-1"][str(number)], readings[readings["block"] == block]
        assert curve["delta"] == sorted(curve["delta"])
        own = {choice: choices[choice][int(at[curve["default"]])] for choice, at in zip(choices, curve["values"])}
        assert own == {
            "scaling": "antilog", "threshold": "0.3", "box": "rect", "region": "as is", "zero_cam": "out", "no_background": "1",
        }  # fmt: skip
        keyed = mine.set_index(list(choices))
        assert len(keyed) == len(curve["delta"]) == len(curve["n"])
        for place in (0, curve["default"], len(curve["delta"]) - 1):
            named = [choices[choice][int(at[place])] for choice, at in zip(choices, curve["values"])]
            row = keyed.loc[(named[0], float(named[1]), *named[2:])]
            for key, column in (("delta", "delta"), ("low", "ci_low"), ("high", "ci_high")):
                assert curve[key][place] / 1e6 == pytest.approx(float(row[column]), abs=1e-6)


def test_readings_that_are_not_of_this_run_s_scoring_are_left_out(tmp_path):
    folder = make_run(tmp_path / "run", [Item(f"{i}.jpg") for i in range(3)], blocks=("layer4",))
    manifest = json.loads((folder / "run.json").read_text())
    manifest["scoring"]["threshold"] = 0.33
    (folder / "run.json").write_text(json.dumps(manifest))
    results = Results.read(Run.open(folder))
    assert doubts.readings(results) is None
    assert doubts.curves(results) is None


def test_exclusions_and_statuses_are_counted(run, results):
    exclusions = Run.open(run).table("exclusions")
    for said, row in zip(texts(doubts.exclusions(results)), exclusions.itertuples(), strict=True):
        assert said[:5] == [
            row.block,
            *(f"{n:.0f}" for n in (row.n, row.excluded_a, row.excluded_b, row.excluded_both)),
        ]
        assert said[6].startswith(f"{words.signed(row.delta_low)} to {words.signed(row.delta_high)}")
        assert said[7] == ("yes" if row.holds else "no")
    table = doubts.statuses(results)
    assert [column.head for column in table.columns] == ["Model", "Block", "ok", "unreadable", "no_mask"]
    assert {tuple(row[2:]) for row in texts(table)} == {("9", "1", "1")}


def test_flips_by_another_region_are_told(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg")], blocks=("layer4",))
    rows = [
        ("layer4", "plain", "das", 10, 3, 0.3, 0.1, 0.12, 0.02, -0.01, 0.05),
        ("layer3", "plain", "das", 0, *[np.nan] * 7),
    ]
    write_table(folder / "region_uncertainty.csv", pd.DataFrame(rows, columns=list(REGION_UNCERTAINTY)))
    assert texts(doubts.regions(Results.read(Run.open(folder)))) == [
        ["layer4", "10", "3 (30 %)", "0.100", "0.120", "+0.020", "−0.010 to +0.050"]
    ]


def test_the_best_threshold_of_iou_is_told_where_it_was_measured(tmp_path, results):
    assert measured.best_iou(results) is None
    options = ScoreOptions(measures=("sfd", "iou"), readings=False, nulls=())
    folder = make_run(tmp_path / "run", [Item("a.jpg"), Item("b.jpg")], blocks=("layer4",), options=options)
    table = Run.open(folder).table("best_iou")
    assert texts(measured.best_iou(Results.read(Run.open(folder)))) == [
        [
            "layer4",
            str(row.model),
            "2",
            "0.300",
            f"{row.mean_iou:.3f}",
            f"{row.best_threshold:.3f}",
            f"{row.best_iou:.3f}",
        ]
        for row in table.itertuples()
    ]


def test_agreement_and_signs_are_those_of_the_csv(run, results):
    said = texts(measured.agreement(results))
    expected = Run.open(run).table("agreement")
    assert [row[3] for row in said] == [words.signed(tau) for tau in expected["tau"]]
    signs = Run.open(run).table("signs")
    assert [row[2] for row in texts(measured.signs(results))] == [
        f"{row.same:.0f} of {row.measures:.0f}" for row in signs.itertuples()
    ]


def test_the_strongest_blind_map_decides_who_beats_a_blind_spot(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg")], models=("clear", "vague", "worse"), blocks=("layer4",))
    rows = [
        (model, "layer4", "sfd", 0.5, null, mean, lift, lift - spread, lift + spread, 10)
        for model, lift, spread in (("clear", 0.1, 0.05), ("vague", 0.1, 0.2), ("worse", -0.1, 0.05))
        for null, mean, lift in (
            ("shuffled", 0.9, 0.0),
            ("centre", 0.3, 0.4),
            ("centre-fitted", 0.4, lift),
            ("uniform", 0.35, 0.3),
        )
    ]
    write_table(folder / "lift.csv", pd.DataFrame(rows, columns=list(LIFT)))
    results = Results.read(Run.open(folder))
    assert [(row[1], row[3], row[6]) for row in texts(measured.blind_maps(results))] == [
        ("clear", "fitted Gaussian", "yes"),
        ("vague", "fitted Gaussian", "not clearly"),
        ("worse", "fitted Gaussian", "no"),
    ]
    assert outcome.blind_spots(results) == [
        "Above the strongest blind map (fitted Gaussian): clear at layer4.",
        "Above the strongest blind map (fitted Gaussian): vague at layer4, but not clearly (the interval of the lift holds zero).",
        "Not above the strongest blind map (fitted Gaussian): worse at layer4.",
    ]


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
