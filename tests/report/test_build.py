"""A run's folder becomes a report: its files, its safety, its size, and what broken folders lead to."""

import json
import os
import re
from html.parser import HTMLParser

import pytest

from das_explain.errors import DasExplainError
from das_explain.report import build, build_report, gallery
from tests.report.synthetic_run import Item, make_run

SCRIPT_NAME = "<img src=x onerror=alert(1)>.jpg"
SCRIPT_LABEL = "</script><script>alert(2)</script>"


class Text(HTMLParser):
    """The tags of a page with their attributes, and the text in cells of its tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.cells, self.text = [], [], ""
        self.in_cell = False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag in ("td", "th"):
            self.in_cell = True
            self.cells.append("")

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.in_cell = False

    def handle_data(self, data):
        self.text += data
        if self.in_cell:
            self.cells[-1] += data


def data_of(report) -> dict:
    text = (report / "data.js").read_text(encoding="ascii")
    assert text.startswith("window.DAS = ")
    return json.loads(text.removeprefix("window.DAS = ").rstrip().removesuffix(";"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    items = [
        Item("val/a.jpg"),
        Item(SCRIPT_NAME, SCRIPT_LABEL),
        Item("broken.jpg", "dog", "unreadable", "cut off <b>here</b>"),
    ]
    folder = make_run(tmp_path_factory.mktemp("hostile") / "run", items, models=("plain", "das</title><i>"))
    return folder, build_report(folder)


def test_the_report_is_a_folder_with_everything_it_needs(hostile):
    folder, page = hostile
    assert page == folder / "report" / "index.html"
    files = {str(path.relative_to(folder / "report")) for path in (folder / "report").rglob("*") if path.is_file()}
    assert files == {"index.html", "data.js", "report.js", "report.css", "images/000000.jpg", "images/000001.jpg"}
    assert (folder / "report/images/000001.jpg").read_bytes() == (folder / "frames/000001.jpg").read_bytes()
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".report")]


def test_nothing_is_asked_for_from_outside(hostile):
    page = Text(hostile[1].read_text(encoding="utf-8"))
    asked = [attributes[name] for _, attributes in page.tags for name in ("src", "href") if attributes.get(name)]
    assert {"report.css", "data.js", "report.js", "../scores.csv"} <= set(asked)
    assert not [link for link in asked if re.match(r"[a-z]+:|//", link)]
    for name in ("report.js", "report.css"):
        text = (hostile[1].parent / name).read_text(encoding="utf-8")
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|fetch\(|innerHTML|eval\(", text)


def test_hostile_names_stay_text(hostile):
    source = hostile[1].read_text(encoding="utf-8")
    page = Text(source)
    assert "das</title><i>" in page.text
    assert not [tag for tag, _ in page.tags if tag in ("i", "img")]
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [
        {"src": "data.js", "defer": None},
        {"src": "report.js", "defer": None},
    ]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    data = (hostile[1].parent / "data.js").read_text(encoding="ascii")
    assert "<" not in data
    image = data_of(hostile[1].parent)["images"][1]
    assert image[1:3] == [SCRIPT_NAME, SCRIPT_LABEL]


def test_the_tables_hold_the_numbers_of_the_csv_files_without_javascript(hostile):
    folder, index = hostile
    cells = Text(index.read_text(encoding="utf-8")).cells
    tables = build.read_run(folder)
    for row in tables.comparison.itertuples():
        assert f"{row.mean_a:.3f}" in cells
        assert f"{row.mean_b:.3f}" in cells
    for row in tables.summary.itertuples():
        assert any(cell.startswith(f"{row.mean_sfd:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}]") for cell in cells)
        assert f"{row.n_scored:.0f} of {row.n:.0f}" in cells
    assert {"ok", "unreadable"} <= set(cells)
    shuffled = tables.nulls[tables.nulls["null"] == "shuffled"].groupby(["model", "block"])["sfd"].mean()
    assert all(f"{value:.3f}" in cells for value in shuffled)


def test_gallery_data_are_the_journal_in_order(hostile):
    folder, index = hostile
    data = data_of(index.parent)
    records = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert data["models"] == ["plain", "das</title><i>"]
    assert data["blocks"] == ["layer3", "layer4"]
    assert data["frames"][0] == [64, 64]
    for entry, record in zip(data["images"], records):
        assert entry[0] == record["index"]
        assert data["statuses"][entry[3]] == record["status"]
        for m, model in enumerate(data["models"]):
            facts, cells = entry[7][m]
            for b, block in enumerate(data["blocks"]):
                row = next(row for row in record["scores"] if (row["model"], row["block"]) == (model, block))
                assert facts[:2] == [row["target"] or None, row["predicted"] or None]
                assert cells[b][0] == (None if row["sfd"] is None else pytest.approx(row["sfd"], rel=1e-3))
                drawn = record["maps"].get(model, {}).get(block)
                assert (cells[b][7] or [None] * 3)[2] == (drawn or {}).get("data")
    assert data["images"][2][4] == "cut off <b>here</b>"
    assert data["images"][2][5] == [None]


def test_models_keep_the_order_of_the_manifest(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg")], models=("zeta", "alpha"))
    build_report(folder)
    assert data_of(folder / "report")["models"] == ["zeta", "alpha"]


def test_copies_of_one_design_are_known_as_such(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg")], models=("das#1", "das#2", "plain"))
    manifest = json.loads((folder / "run.json").read_text())
    manifest["groups"] = {"das": ["das#1", "das#2"], "other": ["unknown"]}
    (folder / "run.json").write_text(json.dumps(manifest))
    build_report(folder)
    first, second, alone = data_of(folder / "report")["groups"]
    assert first == second != alone


def test_frames_that_leave_the_run_are_not_copied(tmp_path):
    folder = make_run(tmp_path / "run", [Item(f"{i}.jpg") for i in range(4)])
    secret = tmp_path / "secret.jpg"
    secret.write_bytes((folder / "frames/000000.jpg").read_bytes())
    (folder / "frames/000003.jpg").unlink()
    (folder / "frames/000003.jpg").symlink_to(secret)
    lines = (folder / "journal.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    records[0]["frame"], records[1]["frame"] = "../secret.jpg", str(secret)
    (folder / "journal.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    page = build_report(folder)
    assert os.listdir(folder / "report/images") == ["000002.jpg"]
    assert [entry[5][0] for entry in data_of(folder / "report")["images"]] == [None, None, "images/000002.jpg", None]
    assert "3 images without a picture" in page.read_text(encoding="utf-8")


def test_journal_of_a_stopped_run_last_record_counts_and_a_cut_line_is_reported(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg"), Item("b.jpg")])
    first, second = (folder / "journal.jsonl").read_text().splitlines()
    newer = json.dumps({**json.loads(first), "image": "newer.jpg"})
    (folder / "journal.jsonl").write_text("\n".join([second, first, newer, second[:100]]) + "\n")
    page = build_report(folder)
    assert [entry[1] for entry in data_of(folder / "report")["images"]] == ["newer.jpg", "b.jpg"]
    assert "1 line of the journal could not be read" in page.read_text(encoding="utf-8")


def test_a_long_run_shows_images_evenly_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "GALLERY_LIMIT", 3)
    folder = make_run(tmp_path / "run", [Item(f"{i}.jpg") for i in range(9)], blocks=("layer4",))
    page = build_report(folder)
    assert [entry[0] for entry in data_of(folder / "report")["images"]] == [0, 3, 6]
    assert len(os.listdir(folder / "report/images")) == 3
    assert "Shows 3 of 9 images" in page.read_text(encoding="utf-8")


def test_a_class_called_na_and_a_block_of_one_model_only(tmp_path):
    folder = make_run(tmp_path / "run", [Item("NA", "NA"), Item("null", "nan")])
    path = folder / "scores.csv"
    rows = [row for row in path.read_text().splitlines() if not row.startswith(("NA,das,layer3", "null,das,layer3"))]
    path.write_text("\n".join(rows) + "\n")
    run = build.read_run(folder)
    assert set(run.scores["label"]) == {"NA", "nan"}
    build_report(folder)


def test_a_second_geometry_has_its_own_frames_and_outlines(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg")], size=(48, 64), second_size=(32, 32))
    build_report(folder)
    data = data_of(folder / "report")
    assert data["frames"] == [[48, 64], [32, 32]]
    frames, outlines, models = data["images"][0][5:8]
    assert frames == ["images/000000.jpg", "images/000000-1.jpg"]
    assert outlines[0] != outlines[1]
    assert [cells[0][8] for _, cells in models] == [0, 1]


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (lambda run: (run / "run.json").unlink(), "run.json is missing"),
        (lambda run: (run / "run.json").write_text("{"), "cannot be read as JSON"),
        (lambda run: (run / "run.json").write_text("[]"), "no JSON object"),
        (lambda run: (run / "journal.jsonl").unlink(), "journal.jsonl is missing"),
        (lambda run: (run / "scores.csv").unlink(), "scores.csv is missing"),
        (lambda run: (run / "scores.csv").write_text("image,model\na,b\n"), "lacks the column block"),
        (lambda run: (run / "scores.csv").write_text('a,b\n"1,2\n3'), "scores.csv"),
    ],
)
def test_a_broken_run_is_one_clear_line_and_keeps_the_old_report(tmp_path, breakage, message):
    folder = make_run(tmp_path / "run", [Item("a.jpg")])
    before = build_report(folder).read_bytes()
    breakage(folder)
    with pytest.raises(DasExplainError, match=re.escape(message)) as caught:
        build_report(folder)
    assert "\n" not in str(caught.value)
    assert (folder / "report/index.html").read_bytes() == before


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(DasExplainError, match="is not a folder"):
        build_report(tmp_path / "nowhere")


def test_a_failure_half_way_leaves_the_old_report_whole(tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", [Item("a.jpg")])
    build_report(folder)
    before = {path: path.read_bytes() for path in (folder / "report").rglob("*") if path.is_file()}

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build, "_page", fail)
    with pytest.raises(DasExplainError, match="No space left on device"):
        build_report(folder)
    assert {path: path.read_bytes() for path in (folder / "report").rglob("*") if path.is_file()} == before
    assert not list(folder.glob(".report*"))


def test_what_is_no_report_is_not_replaced(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg")])
    (folder / "report").mkdir()
    (folder / "report/thesis.tex").write_text("years of work")
    with pytest.raises(DasExplainError, match="is no report"):
        build_report(folder)
    assert (folder / "report/thesis.tex").read_text() == "years of work"


def test_an_old_report_that_is_a_link_is_replaced_and_its_goal_untouched(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg")])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "index.html").write_text("mine")
    (folder / "report").symlink_to(elsewhere)
    build_report(folder)
    assert not (folder / "report").is_symlink()
    assert (elsewhere / "index.html").read_text() == "mine"


def test_leftovers_of_a_killed_build_do_no_harm(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg")])
    (folder / ".report.new/images").mkdir(parents=True)
    (folder / ".report.old").mkdir()
    assert build_report(folder).is_file()
    assert not list(folder.glob(".report*"))


@pytest.mark.parametrize("manifest", [{}, {"models": 3, "data": [], "options": "x", "versions": None, "created": 7}])
def test_a_manifest_with_missing_or_odd_keys_is_enough(tmp_path, manifest):
    folder = make_run(tmp_path / "run", [Item("a.jpg", None)])
    (folder / "run.json").write_text(json.dumps(manifest))
    assert "not recorded" in build_report(folder).read_text(encoding="utf-8")
    assert data_of(folder / "report")["models"] == ["plain", "das"]


def test_a_run_without_a_scored_row_says_so(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg", status="no_mask"), Item("b.jpg", status="unreadable")])
    text = build_report(folder).read_text(encoding="utf-8")
    assert "No image was scored for both plain and das." in text
    for name in ("scores.csv", "nulls.csv", "summary.csv", "comparison.csv"):
        (folder / name).write_text((folder / name).read_text().splitlines()[0] + "\n")
    (folder / "journal.jsonl").write_text("")
    assert "scores.csv has no rows" in build_report(folder).read_text(encoding="utf-8")


def test_missing_nulls_are_said_to_be_missing(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg")])
    (folder / "nulls.csv").unlink()
    (folder / "lift.csv").unlink()
    assert "no null maps" in build_report(folder).read_text(encoding="utf-8")


def test_a_missing_lift_table_is_made_from_the_scores(tmp_path):
    folder = make_run(tmp_path / "run", [Item(f"{i}.jpg") for i in range(6)], blocks=("layer4",))
    before = Text(build_report(folder).read_text(encoding="utf-8")).cells
    (folder / "lift.csv").unlink()
    after = Text(build_report(folder).read_text(encoding="utf-8")).cells
    assert [cell.split(" [")[0] for cell in after] == [cell.split(" [")[0] for cell in before]
