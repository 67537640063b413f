"""A run's folder becomes a report: its files, its safety, its size, and what broken folders lead to."""

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence.run import ALL, Run
from das_explain.evidence.values import Key
from das_explain.report import build, build_report
from das_explain.report.payload import outline
from das_explain.report.results import Results
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from das_explain.statuses import SCORED, STATUSES
from tests.report.packets import read_packet
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
    parts = re.fullmatch(r"window\.DAS = (.*);\nDAS\.packets = \{\};\nDAS\.shapes = (.*);\n", text, re.DOTALL)
    return json.loads(parts[1]) | {"shapes": json.loads(parts[2])}


def evidence_of(folder):
    """The evidence of a run of one shard."""
    return next(Run.open(folder).evidence(ALL))


def edit_shard(folder, **columns) -> None:
    """Replaces columns of the first shard; each value maps the column's list to another."""
    shards = Run.open(folder).shards
    table = shards.read(0)
    for name, change in columns.items():
        changed = pa.array(change(table[name].to_pylist()), table.schema.field(name).type)
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), changed)
    shards.write(0, table)


def edit_manifest(folder, **changes) -> None:
    manifest = json.loads((folder / "run.json").read_text())
    manifest = {name: value for name, value in (manifest | changes).items() if value is not ...}
    (folder / "run.json").write_text(json.dumps(manifest))


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
    assert files == {
        *(
            f"files/{name}.csv"
            for name in build.SMALL_TABLES
            if name not in ("designs", "variance", "readings", "region_uncertainty")
        ),
        "index.html",
        "data.js",
        "pairs.js",
        "report.js",
        "report.css",
        *(f"images/00000{i}.{kind}" for i in (0, 1) for kind in ("jpg", "js")),
    }
    (frames,) = evidence_of(folder).frames.values()
    assert (folder / "report/images/000001.jpg").read_bytes() == frames[1]
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".report")]


def test_nothing_is_asked_for_from_outside(hostile):
    page = Text(hostile[1].read_text(encoding="utf-8"))
    asked = [attributes[name] for _, attributes in page.tags for name in ("src", "href") if attributes.get(name)]
    assert {"report.css", "data.js", "report.js", "files/summary.csv"} <= set(asked)
    assert all((hostile[1].parent / link).is_file() for link in asked if not link.startswith("#"))
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
    assert (image["name"], image["label"]) == (SCRIPT_NAME, SCRIPT_LABEL)


def test_the_tables_hold_the_numbers_of_the_csv_files_without_javascript(hostile):
    folder, index = hostile
    cells = Text(index.read_text(encoding="utf-8")).cells
    run = Run.open(folder)
    for row in run.table("comparison").itertuples():
        assert f"{row.mean_a:.3f}" in cells
        assert f"{row.mean_b:.3f}" in cells
    for row in run.table("summary").itertuples():
        assert any(cell.startswith(f"{row.mean_sfd:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}]") for cell in cells)
        assert f"{row.n_scored:.0f} of {row.n:.0f}" in cells
    assert {"ok", "unreadable"} <= set(cells)
    lift = run.table("lift")
    blind = lift[(lift["measure"] == "sfd") & (lift["null"] == "shuffled")]["mean_null"]
    assert len(blind) == 4
    assert all(f"{value:.3f}" in cells for value in blind)


def test_gallery_data_are_the_evidence_and_the_scores_in_order(hostile):
    folder, index = hostile
    data = data_of(index.parent)
    run, evidence = Run.open(folder), evidence_of(folder)
    scores = run.table("scores").set_index(["image", "model", "block"])
    assert data["models"] == ["plain", "das</title><i>"]
    assert data["blocks"] == ["layer3", "layer4"]
    assert data["frames"] == [{"height": 64, "width": 64}]
    assert [entry["name"] for entry in data["images"]] == run.sample
    assert [entry["status"] for entry in data["images"]] == [photo.status for photo in evidence.photos]
    for row, entry in enumerate(data["images"]):
        for model, answer in zip(data["models"], entry["models"]):
            for block, cell in zip(data["blocks"], answer["cells"]):
                line = scores.loc[(entry["name"], model, block)]
                assert answer["target"] == (line["target"] or None)
                assert answer["predicted"] == (line["predicted"] or None)
                assert cell["status"] == line["status"]
                if entry["name"] == "broken.jpg":
                    assert cell["sfd"] is cell["box"] is None
                    assert cell["blank"]
                    continue
                assert cell["sfd"] == line["sfd"]
                assert list(cell["box"].values()) == line[["b_x0", "b_y0", "b_x1", "b_y1"]].tolist()
        if entry["packet"]:
            outlines, maps = read_packet(index.parent, entry, data["shapes"])
            (masks,) = evidence.masks.values()
            assert outlines == [outline(masks[row])]
            natives = [evidence.maps[Key(m, b)].native[row] for m in data["models"] for b in data["blocks"]]
            assert [native.shape for native in natives] == [read.shape for read in maps]
            assert all(np.abs(read - native).max() < 1e-7 for read, native in zip(maps, natives))
    assert data["images"][2]["message"] == "cut off <b>here</b>"
    assert data["images"][2]["frames"] == [None]


def test_models_keep_the_order_of_the_manifest(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg")], models=("zeta", "alpha"))
    build_report(folder)
    assert data_of(folder / "report")["models"] == ["zeta", "alpha"]


def test_copies_of_one_design_are_known_as_such(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg")], models=("das#1", "das#2", "plain"))
    edit_manifest(folder, groups={"das": ["das#1", "das#2"], "other": ["unknown"]})
    build_report(folder)
    data = data_of(folder / "report")
    assert data["pairs"] == [[0, 1], [0, 2], [1, 2]]
    assert data["pair"] == 1, "two designs first, not two copies of one"


def test_pairs_are_those_of_the_comparison_in_its_order(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg")], models=("a", "b", "c"), options=ScoreOptions(baseline="c"))
    build_report(folder)
    assert data_of(folder / "report")["pairs"] == [[2, 0], [2, 1]]


def test_frames_that_are_no_jpeg_of_their_size_are_not_copied(tmp_path):
    folder = make_run(tmp_path / "run", [Item(f"{i}.jpg") for i in range(5)])
    other = next(iter(evidence_of(make_run(tmp_path / "large", [Item("a.jpg")], size=(80, 80))).frames.values()))[0]

    def change(lists):
        for at, file in ((0, b"<script>alert(1)</script>"), (1, b"\xff\xd8\xff\xe0rest"), (2, other), (4, b"")):
            lists[at][0]["jpeg"] = file
        return lists

    edit_shard(folder, frames=change)
    page = build_report(folder)
    assert [path.name for path in (folder / "report/images").glob("*.jpg")] == ["000003.jpg"]
    frames = [entry["frames"][0] for entry in data_of(folder / "report")["images"]]
    assert frames == [None, None, None, "images/000003.jpg", None]
    assert "4 images without a picture" in page.read_text(encoding="utf-8")


def test_a_long_run_shows_the_extremes_and_a_sample_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "LIMIT", 24)
    folder = make_run(tmp_path / "run", [Item(f"{i}.jpg") for i in range(80)], blocks=("layer4",))
    page = build_report(folder)
    shown = {entry["name"] for entry in data_of(folder / "report")["images"]}
    assert len(shown) == len(list((folder / "report/images").glob("*.jpg"))) == 24
    sfd = Run.open(folder).table("scores").pivot(index="image", columns="model", values="sfd")
    for values in (sfd["plain"], sfd["das"], sfd["das"] - sfd["plain"]):
        assert {values.idxmin(), values.idxmax()} <= shown
    text = page.read_text(encoding="utf-8")
    assert re.search(r"Shows 24 of 80 images: \d+ with the highest and lowest sfd and the largest differences", text)
    numbers = sorted(int(name.removesuffix(".jpg")) for name in shown)
    assert max(b - a for a, b in itertools.pairwise(numbers)) < 12, "the sample covers the whole run"


def test_a_class_called_na_and_a_block_of_one_model_only(tmp_path):
    folder = make_run(tmp_path / "run", [Item("NA", "NA"), Item("null", "nan")])
    path = folder / "scores.csv"
    rows = [row for row in path.read_text().splitlines() if not row.startswith(("NA,das,layer3", "null,das,layer3"))]
    path.write_text("\n".join(rows) + "\n")
    build_report(folder)
    images = data_of(folder / "report")["images"]
    assert [image["label"] for image in images] == ["NA", "nan"]
    assert [[cell is None for cell in answer["cells"]] for answer in images[0]["models"]] == [
        [False, False],
        [True, False],
    ]


def test_a_second_geometry_has_its_own_frames_and_outlines(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg")], size=(48, 64), second_size=(32, 32))
    build_report(folder)
    data = data_of(folder / "report")
    assert data["frames"] == [{"height": 48, "width": 64}, {"height": 32, "width": 32}]
    (image,) = data["images"]
    assert image["frames"] == ["images/000000.jpg", "images/000000-1.jpg"]
    outlines, _ = read_packet(folder / "report", image, data["shapes"])
    assert outlines[0] != outlines[1]
    assert [answer["frame"] for answer in image["models"]] == [0, 1]


def truncated(run):
    shard = run / "evidence/part-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-100])


def no_models(run):
    edit_manifest(run, models=[3])


def huge_mask(run):
    edit_shard(run, masks=lambda lists: [[{**each, "height": 10**9} for each in masks] for masks in lists])


def huge_map(run):
    edit_shard(run, maps=lambda lists: [[{**each, "height": 10**9} for each in maps] for maps in lists])


def a_map_of_nothing(run):
    edit_shard(run, maps=lambda lists: [[{**each, "native": None} for each in maps] for maps in lists])


def no_region(run):
    edit_shard(run, region=lambda lists: [None for _ in lists])


def no_status(run):
    edit_shard(run, maps=lambda lists: [maps[:1] for maps in lists], logits=lambda lists: [None for _ in lists])


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (lambda run: (run / "run.json").unlink(), "run.json is missing"),
        (lambda run: (run / "run.json").write_text("{"), "run.json cannot be read"),
        (lambda run: (run / "run.json").write_text("[]"), "no JSON object"),
        (lambda run: edit_manifest(run, schema=1), "was written with schema 1"),
        (no_models, "does not name its models"),
        (lambda run: edit_manifest(run, sample=[1]), "does not name its images"),
        (lambda run: edit_manifest(run, sample=["b.jpg"]), "names other images than run.json"),
        (lambda run: edit_manifest(run, sample=["a.jpg", "b.jpg"]), "has rows of 1 of 2 images"),
        (lambda run: (run / "evidence/part-00000.parquet").unlink(), "names other images than run.json"),
        (truncated, "part-00000.parquet is damaged"),
        (huge_mask, "part-00000.parquet is damaged"),
        (huge_map, "part-00000.parquet is damaged"),
        (a_map_of_nothing, "damaged"),
        (no_region, "damaged"),
        (no_status, "damaged"),
        (lambda run: (run / "scores.csv").unlink(), "scores.csv is missing"),
        (lambda run: (run / "scores.csv").write_text("image,model\na,b\n"), "lacks the column block"),
        (lambda run: (run / "scores.csv").write_text('a,b\n"1,2\n3'), "scores.csv"),
        (lambda run: (run / "scores.csv").write_text(""), "scores.csv is empty"),
        (lambda run: (run / "lift.csv").write_bytes(b"\xff\xfe\x00"), "lift.csv"),
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


def test_the_page_knows_every_status_and_which_count():
    script = (Path(build.__file__).parent / "js/base.js").read_text(encoding="utf-8")
    words = re.search(r"STATUS_WORDS = \{(.*?)\};", script, re.DOTALL)[1]
    assert set(re.findall(r"^  (\w+):", words, re.MULTILINE)) == set(STATUSES)
    assert tuple(json.loads(re.search(r"SCORED = new Set\((\[.*?\])\)", script)[1])) == SCORED


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(UsageError, match="is no folder; name the --out of an sfd run"):
        build_report(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds no run"):
        build_report(tmp_path)


def test_a_failure_half_way_leaves_the_old_report_whole(tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", [Item("a.jpg")])
    build_report(folder)
    before = {path: path.read_bytes() for path in (folder / "report").rglob("*") if path.is_file()}

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build, "page", fail)
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


def test_a_report_that_is_a_link_out_of_the_folder_is_refused_and_its_goal_untouched(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg")])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "index.html").write_text("mine")
    (folder / "report").symlink_to(elsewhere)
    with pytest.raises(DasExplainError, match="leads out of"):
        build_report(folder)
    assert (elsewhere / "index.html").read_text() == "mine"


def test_leftovers_of_a_killed_build_do_no_harm(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg")])
    (folder / ".report.old").mkdir()
    (folder / ".report.old/notes.txt").write_text("mine")
    assert build_report(folder).is_file()
    assert not list(folder.glob(".report*"))
    assert (folder / "report/notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "changes",
    [
        dict.fromkeys(("versions", "created", "segmenter", "scoring", "assumptions", "command", "device"), ...),
        {"versions": 3, "created": 7, "segmenter": [], "scoring": "x", "assumptions": {}, "command": None, "data": {}},
    ],
)
def test_a_manifest_with_missing_or_odd_keys_is_enough(tmp_path, changes):
    folder = make_run(tmp_path / "run", [Item("a.jpg", None)])
    edit_manifest(folder, **changes)
    assert "not recorded" in build_report(folder).read_text(encoding="utf-8")
    assert data_of(folder / "report")["models"] == ["plain", "das"]


def test_what_was_assumed_is_told(tmp_path):
    items = [Item("a.jpg", "cat"), Item("b.jpg", None), *(Item(f"{i}.jpg", None) for i in range(8)), Item("z", "dog")]
    folder = make_run(tmp_path / "run", items)
    told = json.loads((folder / "run.json").read_text())["assumptions"]
    assert len(told) == 3  # the third: there are few images
    edit_manifest(folder, assumptions=[*told, "<b>masks</b> were thresholded"])
    page = Text(build_report(folder).read_text(encoding="utf-8"))
    assert all(line in page.text for line in told)
    assert "<b>masks</b> were thresholded" in page.text
    tally = Results.read(Run.open(folder)).tally
    assert f"on {tally.differing} images of 11 the models explain different classes" in page.text
    assert "on 9 images without one, each model’s own prediction" in page.text
    assert told[1] == f"models explain different classes on {tally.differing} of 11 images"


def test_an_unfinished_run_says_so_in_the_head_and_in_the_verdict(tmp_path):
    items = [Item(f"{i}.jpg") for i in range(66)]
    folder = make_run(tmp_path / "run", items, blocks=("layer4",), options=ScoreOptions(readings=False))
    assert 'class="unfinished"' not in build_report(folder).read_text(encoding="utf-8")
    run = Run.open(folder)
    run.shards.path(1).unlink()
    score_run(run)
    text = Text(build_report(folder).read_text(encoding="utf-8")).text
    head, outcome = text.split("Outcome", 1)
    assert "Unfinished: 64 of 66 images." in head
    assert "On 64 of 66 images, the run is unfinished: " in outcome
    assert len(data_of(folder / "report")["images"]) == 64


def test_labels_for_all_are_one_class_for_every_model(tmp_path):
    page = Text(build_report(make_run(tmp_path / "run", [Item("a.jpg"), Item("b.jpg")])).read_text(encoding="utf-8"))
    assert "label: each image’s label, the same class for every model" in page.text


def test_a_run_without_a_scored_row_says_so(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg", status="no_mask"), Item("b.jpg", status="unreadable")])
    text = build_report(folder).read_text(encoding="utf-8")
    assert "No image was scored for both plain and das." in text
    folder = make_run(tmp_path / "empty", [])
    text = build_report(folder).read_text(encoding="utf-8")
    assert "scores.csv has no rows" in text


def test_missing_nulls_are_said_to_be_missing(tmp_path):
    folder = make_run(tmp_path / "run", [Item("a.jpg")])
    (folder / "nulls.csv").unlink()
    (folder / "lift.csv").unlink()
    assert "no null maps" in build_report(folder).read_text(encoding="utf-8")
