"""The page in a browser, from disk: gallery, sorting, filters, viewer, keys, colours, phone width; a silent console."""

import shutil

import numpy as np
import pytest
import torch

from das_explain.cam.colours import colourize
from das_explain.cam.maps import upsample
from das_explain.evidence.run import Run
from das_explain.evidence.values import Key
from das_explain.report import build_report
from das_explain.statuses import SCORED
from tests.report.browser import needs_chromium, open_page, probe
from tests.report.synthetic_run import Item, make_run

pytestmark = needs_chromium

ITEMS = [
    Item("val/a.jpg", "cat"),
    Item("<img src=x onerror=alert(1)>.jpg", "</script><b>x"),
    Item("broken.jpg", "dog", "unreadable", "cut off at byte 1024"),
    *(Item(f"val/photo_{i:02d}.jpg", ("cat", "dog")[i % 2]) for i in range(27)),
    Item("val/nomask.jpg", "dog", "no_mask", "the mask column is empty"),
]

SCRIPT = """
  const result = { cards: shown(), count: document.querySelector('#pager-top p').textContent };
  result.printed = document.getElementById('printed').checkVisibility();
  result.names = all('.card .open').slice(0, 3).map((node) => node.textContent);
  result.injected = all('.card b, .card img[onerror], main script').filter((node) => !node.matches('.score')).length;
  result.alts = all('.card canvas').every((node) => node.getAttribute('aria-label'))
    && all('img').every((node) => node.hasAttribute('alt'));
  const named = (node) => node.textContent.trim() || node.getAttribute('aria-label') || node.labels?.length;
  result.unlabelled = all('button, select, input').filter((node) => !named(node)).length;
  result.missing = document.querySelector('.card[data-index="2"] .missing').textContent;
  result.photos = all('.card img').every((node) => node.complete && node.naturalWidth > 0);

  for (let i = 0; i < 500 && all('.card').some((card) => card.querySelector('canvas') && !card.querySelector('.r-line')); i++) await wait(20);
  const canvas = document.querySelector('.card[data-index="0"] canvas[aria-label*="das at layer4"]');
  result.unpainted = all('.card canvas:not([data-painted])').length;
  window.dispatchEvent(new Event('beforeprint'));
  result.unpaintedInPrint = all('.card canvas:not([data-painted])').length;
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  result.canvas = [canvas.width, canvas.height, [...pixels]];

  const views = {
    delta: '#sort=delta&block=layer4', deltaUp: '#sort=delta&block=layer3&dir=asc', abs: '#sort=abs&block=layer4',
    sfd: '#sort=sfd%3Adas&block=layer3', name: '#sort=name', dogs: '#class=dog', unreadable: '#status=unreadable',
    search: '#q=PHOTO_1', differ: '#hit=mixed', onlyDas: '#hit=only%3Adas',
    both: '#class=cat&q=photo&sort=name&dir=desc', second: '#page=2', beyond: '#page=99',
    odd: '#sort=nothing&block=none&page=-3&pair=x', none: '#q=zzz',
  };
  result.views = {};
  for (const [name, hash] of Object.entries(views)) { await go(hash); result.views[name] = shown(); }
  result.empty = document.querySelector('#pager-top p').textContent;

  await go('#sort=order&dir=asc&r=1'); location.hash = '#gallery'; await wait();
  result.afterAnchor = shown().length;
  const select = document.querySelector('select[name=sort]');
  select.focus(); select.value = 'abs'; select.dispatchEvent(new Event('change', { bubbles: true })); await wait(250);
  result.byControl = shown(); result.address = location.hash; result.focusKept = document.activeElement.name;
  document.querySelector('input[name=hidemodel][value=plain]').click(); await wait();
  result.modelsLeft = [...new Set(all('.card .model-head .key').map((node) => node.textContent))];
  document.querySelector('input[name=hideblock][value=layer3]').click(); await wait();
  result.blocksLeft = [...new Set(all('.card .tile .block').map((node) => node.textContent))];
  const search = document.querySelector('input[name=q]');
  search.value = 'photo_05'; search.dispatchEvent(new Event('input', { bubbles: true })); await wait();
  result.typed = shown(); result.sameField = search.isConnected;
  const heat = document.querySelector('input[name=heat]');
  heat.value = 20; heat.dispatchEvent(new Event('input', { bubbles: true }));
  result.heat = getComputedStyle(document.querySelector('.card canvas')).opacity;
  document.querySelector('input[name=b]').click();
  result.boxes = getComputedStyle(document.querySelector('.card .drawing .b')).display;

  await go('#sort=order&image=1');
  const viewer = document.getElementById('viewer');
  const close = () => viewer.querySelector('button[name=close]').click();
  const title = () => document.getElementById('viewer-title')?.textContent;
  result.viewer = { open: viewer.open, title: title(), painted: all('#viewer canvas[data-painted]').length,
    rows: all('#viewer tbody tr').length };
  const press = (node, key) => node.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
  press(viewer, 'ArrowRight'); await wait(250);
  result.next = [title(), location.hash];
  close(); await wait(250);
  result.closed = [viewer.open, location.hash.includes('image')];
  document.querySelector('.card[data-index="3"] .open').click(); await wait();
  result.clicked = [viewer.open, title()];
  close(); await wait();
  await go('#image=4'); await go('#image=6&sort=name'); await wait(250);
  result.reopened = [viewer.open, title()];
  close(); await wait(250);
  result.focusBack = document.activeElement.closest('.card')?.dataset.index ?? null;

  const chart = document.querySelector('.scatter[data-block="1"] svg');
  result.points = chart.querySelectorAll('.dots circle').length;
  const dot = chart.querySelector('.dots circle[data-index="5"]');
  chart.scrollIntoView({ behavior: 'instant' }); await wait();
  const { x, y, width, height } = dot.getBoundingClientRect();
  chart.dispatchEvent(new MouseEvent('click', { clientX: x + width / 2, clientY: y + height / 2, bubbles: true }));
  await wait();
  result.pointOpened = [viewer.open, title()];
  close(); await wait();
  chart.focus();
  for (const key of ['ArrowRight', 'ArrowRight', 'Enter']) press(chart, key);
  await wait();
  result.keyOpened = [viewer.open, title()];
  close(); await wait();
  await go('#class=cat'); result.pale = all('.scatter[data-block="1"] .pale').length;
  return result;
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("page") / "run", ITEMS, seed=3)
    build_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    copy = tmp_path_factory.mktemp("probed") / "report"
    shutil.copytree(run / "report", copy)
    probe(copy, SCRIPT)
    return open_page(f"file://{copy}/index.html", tmp_path_factory.mktemp("profile"), "--window-size=1280,900")


@pytest.fixture(scope="module")
def seen(page):
    result = page.result()
    assert "error" not in result, result["error"]
    return result


@pytest.fixture(scope="module")
def wide(run):
    """sfd of scored rows: index of the image x (model, block)."""
    scores = Run.open(run).table("scores")
    scores = scores[scores["status"].isin(SCORED)].astype({"model": str, "block": str})
    scores["index"] = scores["image"].map({item.name: i for i, item in enumerate(ITEMS)})
    return scores.pivot(index="index", columns=["model", "block"], values="sfd")


def ranked(values, *, up=False):
    """The first page: scored images by value (ties by index), then the others in order."""
    order = sorted(values.index, key=lambda i: ((1 if up else -1) * round(values[i], 9), i))
    return (order + [i for i in range(len(ITEMS)) if i not in values.index])[:24]


def test_the_console_stays_empty(page):
    assert page.console == []


def test_cards_show_every_image_hostile_names_as_text(seen):
    assert seen["cards"] == list(range(24))
    assert seen["count"] == "1 to 24 of 31 images"
    assert seen["names"] == ["val/a.jpg", "<img src=x onerror=alert(1)>.jpg", "broken.jpg"]
    assert seen["injected"] == 0
    assert seen["missing"] == "cut off at byte 1024"
    assert seen["photos"]


def test_pictures_have_alternatives_and_controls_have_labels(seen):
    assert seen["alts"]
    assert seen["unlabelled"] == 0


def test_maps_are_painted_late_and_all_for_print(seen):
    assert seen["unpainted"] > 0
    assert seen["unpaintedInPrint"] == 0


def test_a_map_is_enlarged_as_torch_does_and_then_coloured(run, seen):
    native = next(Run.open(run).evidence()).maps[Key("das", "layer4")].native[0]
    large = upsample(torch.from_numpy(native.copy())[None], (64, 64))[0].numpy()
    width, height, pixels = seen["canvas"]
    assert (width, height) == (64, 64)
    drawn = np.array(pixels).reshape(64, 64, 4)
    assert (drawn[..., 3] == 255).all()
    exact = (drawn[..., :3] == colourize(large)).all(axis=-1)
    near = [(drawn[..., :3] == colourize(large + step)).all(axis=-1) for step in (-1e-6, 1e-6)]
    assert (exact | near[0] | near[1]).all()
    assert exact.mean() > 0.99


def test_sorting_by_difference_size_score_and_name(seen, wide):
    four = wide["das"]["layer4"] - wide["plain"]["layer4"]
    three = wide["das"]["layer3"] - wide["plain"]["layer3"]
    views = seen["views"]
    # The page holds four digits of each score: neighbours closer than that may change places.
    for shown, values, up in (
        (views["delta"], four, False),
        (views["deltaUp"], three, True),
        (views["abs"], four.abs(), False),
        (views["sfd"], wide["das"]["layer3"], False),
    ):
        expected = ranked(values, up=up)
        assert len(set(shown)) == 24
        found = [values.get(i, np.nan) for i in shown]
        assert np.allclose(found, [values.get(i, np.nan) for i in expected], atol=3e-4, equal_nan=True)
    names = sorted(range(len(ITEMS)), key=lambda i: ITEMS[i].name)
    assert views["name"] == names[:24]


def test_filters_by_class_status_prediction_and_name(run, seen):
    views = seen["views"]
    assert views["dogs"] == [i for i, item in enumerate(ITEMS) if item.label == "dog"]
    assert views["unreadable"] == [2]
    assert views["search"] == [i for i, item in enumerate(ITEMS) if "photo_1" in item.name]
    scores = Run.open(run).table("scores").astype({"model": str})
    scores = scores.drop_duplicates(["image", "model"]).pivot(index="image", columns="model", values="correct")
    right = {i: tuple(scores.loc[item.name]) for i, item in enumerate(ITEMS)}  # (das, plain)
    assert views["differ"] == [i for i, pair in right.items() if set(pair) == {1.0, 0.0}]
    assert views["onlyDas"] == [i for i, pair in right.items() if pair == (1.0, 0.0)]
    assert views["both"] == [
        i for i, item in reversed(list(enumerate(ITEMS))) if item.label == "cat" and "photo" in item.name
    ]
    assert views["none"] == []
    assert seen["empty"] == "No image passes these filters."


def test_pages_and_odd_addresses(seen):
    assert seen["views"]["second"] == list(range(24, 31))
    assert seen["views"]["beyond"] == list(range(24, 31))
    assert seen["views"]["odd"] == list(range(24))
    assert seen["afterAnchor"] == 24


def test_controls_change_the_view_and_the_address_and_keep_focus(seen):
    assert seen["byControl"] == seen["views"]["abs"]
    assert "sort=abs" in seen["address"]
    assert seen["focusKept"] == "sort"
    assert seen["modelsLeft"] == ["das"]
    assert seen["blocksLeft"] == ["layer4"]
    assert seen["typed"] == [next(i for i, item in enumerate(ITEMS) if "photo_05" in item.name)]
    assert seen["sameField"]
    assert float(seen["heat"]) == pytest.approx(0.2)
    assert seen["boxes"] == "none"


def test_the_viewer_opens_from_address_card_and_keys(seen):
    assert seen["viewer"] == {"open": True, "title": ITEMS[1].name, "painted": 4, "rows": 4}
    assert seen["next"][0] == "broken.jpg"
    assert "image=2" in seen["next"][1]
    assert seen["closed"] == [False, False]
    assert seen["clicked"] == [True, ITEMS[3].name]
    assert seen["reopened"] == [True, ITEMS[6].name]
    assert seen["focusBack"] == "6"


def test_the_scatter_has_a_point_per_scored_image_and_opens_it(seen, wide):
    assert seen["points"] == len(wide)
    assert seen["pointOpened"][0] is True
    plain, das = wide["plain"]["layer4"], wide["das"]["layer4"]
    opened = next(i for i, item in enumerate(ITEMS) if item.name == seen["pointOpened"][1])
    # The nearest point to the click: image 5, or one that lies on the same spot.
    assert abs(plain[opened] - plain[5]) + abs(das[opened] - das[5]) < 0.005
    by_plain = sorted(wide.index, key=lambda i: plain[i])
    assert seen["keyOpened"][0] is True
    opened = next(i for i, item in enumerate(ITEMS) if item.name == seen["keyOpened"][1])
    assert plain[opened] == pytest.approx(plain[by_plain[1]], abs=2e-4)
    assert seen["pale"] == sum(ITEMS[i].label != "cat" for i in wide.index)


@pytest.mark.parametrize(
    ("name", "items", "options"),
    [
        (
            "one model, one block, no labels",
            [Item(f"{i}.jpg", None) for i in range(3)],
            {"models": ("only",), "blocks": ("layer4",)},
        ),
        (
            "three models, two geometries, long names",
            [Item("folder/" * 30 + "x.jpg", "l" * 120), Item("b.jpg"), Item("c.jpg")],
            {"models": ("a", "b" * 90, "<i>c"), "size": (48, 64), "second_size": (40, 40)},
        ),
        ("nothing scored", [Item("a.jpg", status="no_mask"), Item("b.jpg", status="unreadable")], {}),
    ],
)
def test_other_runs_load_without_complaint_and_fit_a_phone(tmp_path, name, items, options):
    """In a frame of 375 px, since a headless window is never narrower than 500 px."""
    folder = make_run(tmp_path / "run", items, **options)
    build_report(folder)
    probe(
        folder / "report",
        "document.querySelector('.card .open').click(); await wait();"
        "const over = () => all('main *, header *, dialog *').filter((node) => !node.closest('svg, .scroll, .hidden')"
        " && node.getBoundingClientRect().right > innerWidth + 1).map((node) => node.className || node.tagName);"
        "const open = over(); document.querySelector('[name=close]').click();"
        "return { width: innerWidth, scroll: document.documentElement.scrollWidth,"
        " over: [...new Set([...open, ...over()])], cards: shown().length,"
        " scatters: all('.scatter:not([hidden])').length };",
    )
    (tmp_path / "phone.html").write_text(
        '<iframe src="run/report/index.html" style="border:0;width:375px;height:3000px"></iframe><script>'
        "addEventListener('message', ({ data }) => { const p = document.createElement('pre'); p.id = 'probe';"
        " p.textContent = JSON.stringify(data); document.body.append(p); });</script>"
    )
    page = open_page(f"file://{tmp_path}/phone.html", tmp_path / "profile", "--window-size=600,3100")
    result = page.result()
    assert page.console == []
    assert result == {
        "width": 375,
        "scroll": 375,
        "over": [],
        "cards": len(items),
        "scatters": len(options.get("blocks", "12")) if len(options.get("models", "12")) > 1 else 0,
    }


def test_paper_says_what_it_leaves_out(run, tmp_path):
    shutil.copytree(run / "report", tmp_path / "report")
    style = tmp_path / "report" / "report.css"
    style.write_text(style.read_text(encoding="utf-8").replace("@media print", "@media all"), encoding="utf-8")
    probe(
        tmp_path / "report",
        "const line = () => [document.getElementById('printed').checkVisibility(),"
        " document.getElementById('printed').textContent, all('.card').filter((card) => card.checkVisibility()).length];"
        "const seen = { start: line() };"
        "for (const hash of ['#page=2', '#sort=abs&class=cat']) { await go(hash); seen[hash] = line(); }"
        "return seen;",
    )
    seen = open_page(f"file://{tmp_path}/report/index.html", tmp_path / "profile").result()
    assert seen["start"] == [
        True,
        "12 of 31 images, sorted by order of the run (first to last); the rest is in the file.",
        12,
    ]
    assert seen["#page=2"] == [
        True,
        "7 of 31 images, sorted by order of the run (first to last), from number 25 on; the rest is in the file.",
        7,
    ]
    cats = sum(item.label == "cat" for item in ITEMS)
    assert seen["#sort=abs&class=cat"] == [
        True,
        f"12 of 31 images, sorted by size of the difference (highest first), of {cats} that pass the filters; "
        "the rest is in the file.",
        12,
    ]


def test_a_run_that_fits_on_paper_and_the_screen_have_no_such_line(tmp_path, seen):
    assert seen["printed"] is False
    folder = make_run(tmp_path / "run", ITEMS[3:15])
    build_report(folder)
    probe(folder / "report", "return { text: document.getElementById('printed').textContent, cards: shown().length };")
    page = open_page(f"file://{folder}/report/index.html", tmp_path / "profile")
    assert page.result() == {"text": "", "cards": 12}


def test_the_charts_of_a_block_stay_side_by_side(run, tmp_path):
    """Regression: three columns, where the window had room for them, put one pair into two rows."""
    shutil.copytree(run / "report", tmp_path / "report")
    probe(
        tmp_path / "report",
        "const seen = {};"
        "for (const width of [340, 640, 900, 1000, 1100, 1200, 1360]) {"
        "  document.body.style.width = `${width}px`; await wait();"
        "  seen[width] = all('.charts .pair').map((pair) => new Set([...pair.children].map((each) => each.offsetTop)).size);"
        "} return seen;",
    )
    page = open_page(f"file://{tmp_path}/report/index.html", tmp_path / "profile", "--window-size=1500,900")
    assert page.result() == {"340": [2, 2], **{str(width): [1, 1] for width in (640, 900, 1000, 1100, 1200, 1360)}}
