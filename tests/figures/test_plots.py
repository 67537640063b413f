"""Figures by what is on them: pixels, positions, texts, and that no text meets another or leaves the page."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from skimage import data

from das_explain import figures
from das_explain.errors import DasExplainError, UsageError
from das_explain.figures import HeatmapRow, distribution
from das_explain.stats import tables as stats
from tests.figures.readable import assert_readable, strings, texts

HOSTILE = "$\\frac{1}{$ \n_^ %s {0}\t\udc80"
LITERAL = "$\\frac{1}{$ \\n_^ %s {0}\\t\\udc80"
LONG = "a very long name of a model that nobody will read to its end, or would they, $x$"


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.asarray(Image.fromarray(data.chelsea()).resize((150, 100)))


def shown(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]


def outlines(figure: Figure) -> list[ContourSet]:
    return figure.findobj(ContourSet)


# --- overlay


def test_overlay_runs_from_blue_to_red():
    grey = np.full((40, 60, 3), 128, np.uint8)
    ramp = figures.overlay(grey, np.tile(np.linspace(0, 1, 12), (8, 1)))
    assert (ramp.shape, ramp.dtype) == ((40, 60, 3), np.uint8)
    red, _, blue = (int(x) for x in ramp[20, -1])
    assert red > blue + 50
    red, _, blue = (int(x) for x in ramp[20, 0])
    assert blue > red + 50
    middle = ramp[20, 30].astype(int)
    assert middle[1] > middle[0]
    assert middle[1] > middle[2]


def test_overlay_mixes_by_opacity(photo):
    one = np.ones((2, 2))
    np.testing.assert_array_equal(figures.overlay(photo, one, opacity=0), photo)
    full = np.array(figures.HEAT(1.0)[:3]) * 255  # the red end of the scale
    assert full[0] > 150 > 50 > full[1:].max()
    np.testing.assert_allclose(figures.overlay(photo, one, opacity=1), np.broadcast_to(full, photo.shape), atol=0.51)
    np.testing.assert_allclose(figures.overlay(photo, one, opacity=0.25), 0.75 * photo + 0.25 * full, atol=0.51)


def test_overlay_enlarges_as_torch_does():
    cam = np.random.default_rng(0).random((7, 5)).astype(np.float32)
    large = torch.nn.functional.interpolate(
        torch.from_numpy(cam)[None, None], size=(98, 61), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    colours = figures.HEAT(large)[..., :3] * 255
    mine = figures.overlay(np.zeros((98, 61, 3), np.uint8), cam, opacity=1)
    assert np.abs(mine - colours).max() < 5  # one of the scale's 256 steps


@pytest.mark.parametrize(
    "cam", [np.full((3, 3), np.nan), np.full((3, 3), 1.5), np.full((3, 3), -0.5), np.ones((1, 3, 3)), np.ones((0, 3))]
)
def test_overlay_refuses_what_is_no_map(cam):
    with pytest.raises(DasExplainError, match="overlay needs a finite map"):
        figures.overlay(np.zeros((9, 9, 3), np.uint8), cam)


def test_overlay_refuses_what_is_no_photo():
    for wrong in (np.zeros((9, 9, 3)), np.zeros((9, 9), np.uint8), np.zeros((3, 9, 9), np.uint8)):
        with pytest.raises(DasExplainError, match="overlay needs a uint8 photo"):
            figures.overlay(wrong, np.ones((3, 3)))


# --- heatmap_figure


def test_heatmap_figure_shows_photo_maps_scores_and_regions(photo):
    cams = {"layer3": np.eye(10), "layer4": np.ones((5, 5)), "layer5": None}
    rows = [
        HeatmapRow("plain", cams, {"layer3": 0.594, "layer4": 1.0}, "cat", 0.87, "cat", {"layer4": "no_background"}),
        HeatmapRow("das", cams, {"layer3": None}, "dog", None, "cat", {"layer3": "zero_cam"}),
    ]
    mask = np.zeros(photo.shape[:2], bool)
    mask[20:70, 30:] = True
    figure = figures.heatmap_figure(photo, rows, "cat", mask, {"plain": {"layer3": (12, 15, 110, 90)}})
    assert figure.get_figwidth() == figures.PAGE
    images = shown(figure)
    assert len(images) == 1 + 6
    np.testing.assert_array_equal(images[0], photo)
    np.testing.assert_array_equal(images[1], figures.overlay(photo, np.eye(10)))
    assert len(outlines(figure)) == 7
    vertices = np.concatenate([path.vertices for path in outlines(figure)[0].get_paths()])
    assert vertices.min(axis=0).tolist() == [29.5, 19.5]  # the mask's edge, in pixel centres
    assert vertices.max(axis=0).tolist() == [149.5, 69.5]
    drawn = [r for axes in figure.axes for r in axes.patches if isinstance(r, Rectangle)]
    assert {tuple(r.get_bbox().extents) for r in drawn} == {(11.5, 14.5, 109.5, 89.5)}
    assert {r.axes for r in drawn} == {figure.axes[1]}
    written = strings(figure)
    named = {"cat", "plain", "das", "predicted 87% cat", "predicted dog, map of cat", "weight of the map"}
    said = {"sfd 0.59", "sfd 1.00", "no_background", "zero_cam", "no map", "R, object", "B, scored region"}
    assert named | said <= set(written)
    assert written.count("no sfd") == 3  # das at layer4 and both models at layer5
    assert written.count("layer3") == 2
    scale = figure.axes[-1]
    assert (scale.get_ylim(), scale.get_yticks().tolist()) == ((0, 1), [0, 0.5, 1])
    assert_readable(figure)


def test_heatmap_figure_without_mask_says_nothing_of_regions(photo):
    figure = figures.heatmap_figure(photo, [HeatmapRow("m", {"layer4": np.ones((2, 2))})])
    assert figure.get_figwidth() == figures.COLUMN
    assert outlines(figure) == []
    assert set(strings(figure)) == {"photo", "m", "layer4", "0", "0.5", "1", "weight of the map"}


def test_box_at_the_edge_of_the_frame_stays_visible(photo):
    rows = [HeatmapRow("m", {"x": np.ones((2, 2))}, {"x": 0.5})]
    figure = figures.heatmap_figure(photo, rows, boxes={"m": {"x": (0, 0, 150, 100)}})
    for rectangle in figure.axes[1].patches:
        x0, y0, x1, y1 = rectangle.get_bbox().extents
        assert -0.5 < x0 < 2
        assert -0.5 < y0 < 2
        assert 147 < x1 < 149.5
        assert 97 < y1 < 99.5


@pytest.mark.parametrize("shape", [(300, 60), (100, 100), (60, 400), (2, 400)])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_heatmap_figure_stays_readable_with_any_photo_and_name(shape, count):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    blocks = ["layer3", "features.17.conv.0.deep.down", HOSTILE, LONG][:count]
    rows = [
        HeatmapRow(name, {b: rng.random((3, 3)) for b in blocks}, dict.fromkeys(blocks, 0.5), name, 1.0, LONG[3:])
        for name in (HOSTILE, LONG)
    ]
    mask = np.ones(shape, bool)
    boxes = {LONG: {blocks[0]: (5, 5, 50, 50)}}
    for label in (HOSTILE, LONG, "x" * 300):
        assert_readable(figures.heatmap_figure(photo, rows, label, mask, boxes))


def test_a_row_with_a_view_of_its_own_is_drawn_on_it(photo):
    other = np.ascontiguousarray(photo[20:60, :50, ::-1])
    region, own = np.zeros(photo.shape[:2], bool), np.zeros(other.shape[:2], bool)
    region[20:70, 30:] = own[10:30, 5:25] = True
    cams = {"layer3": np.eye(10), "layer4": None}
    rows = [HeatmapRow("a", cams), HeatmapRow("b", cams, photo=other, mask=own), HeatmapRow("c", cams)]
    figure = figures.heatmap_figure(photo, rows, "cat", region, {"b": {"layer3": (4, 6, 30, 36)}})
    views = [photo, figures.overlay(photo, np.eye(10)), photo // 3 + 160]
    own_views = [other, figures.overlay(other, np.eye(10)), other // 3 + 160]
    for image, expected in zip(shown(figure), views + own_views + views, strict=True):
        np.testing.assert_array_equal(image, expected)
    corners = [
        np.concatenate([path.vertices for path in outline.get_paths()]).min(axis=0).tolist()
        for outline in outlines(figure)
    ]
    assert corners == [[29.5, 19.5]] * 3 + [[4.5, 9.5]] * 3 + [[29.5, 19.5]] * 3
    assert tuple(figure.axes[4].patches[0].get_bbox().extents) == (3.5, 5.5, 29.5, 35.5)
    for axes in figure.axes[:9]:  # no frame is distorted or smaller than its cell
        assert axes.get_window_extent().width == pytest.approx(figure.axes[0].get_window_extent().width)
        high, wide = axes.images[0].get_array().shape[:2]
        assert axes.get_window_extent().height / axes.get_window_extent().width == pytest.approx(high / wide)
    assert_readable(figure)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("height", [33, 60, 120])
def test_wide_frames_leave_room_for_the_colour_bar_and_no_gap_above_captions(height, count):
    frame, mask = np.full((height, 301, 3), 90, np.uint8), np.ones((height, 301), bool)
    blocks = [f"layer{i}" for i in range(count)]
    row = HeatmapRow("m", dict.fromkeys(blocks), {}, "cat", 1.0, status=dict.fromkeys(blocks, "zero_cam"))
    figure = figures.heatmap_figure(frame, [row], "cat", mask, {"m": {blocks[0]: (0, 0, 9, 1)}})
    assert_readable(figure)  # with "no map" in strips as low as a line
    extents = {text.get_text(): text.get_window_extent() for text in texts(figure)}
    assert extents["weight of the map"].height <= figure.axes[-1].get_window_extent().height + 2
    assert figure.axes[0].get_window_extent().y0 - extents["layer0"].y1 < 0.06 * figures.DPI


def test_hostile_names_are_shown_as_they_are(photo, tmp_path):
    rows = [HeatmapRow(HOSTILE, {"a$b$": np.ones((2, 2)), "b": None, "c": None}, predicted="$x$ \n cat")]
    figure = figures.heatmap_figure(photo, rows, "50$ or 60$")
    written = strings(figure)
    assert {LITERAL, "a$b$", "predicted $x$ \\n cat", "50$ or 60$"} <= set(written)
    figures.save(figure, tmp_path / "x")  # would raise on the broken formula


def test_heatmap_figure_needs_a_model(photo):
    with pytest.raises(UsageError, match="at least one model"):
        figures.heatmap_figure(photo, [])


# --- plots of sfd


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    parts = []
    for model, shift, blocks in (("plain", 0, ("layer3", "layer4")), (LONG, 0.1, ("layer3", "layer4", "layer5"))):
        for block in blocks:
            sfd = rng.beta(8, 8, 40) + shift
            status = ["ok"] * 36 + ["zero_cam"] * 4
            sfd[36:] = np.nan
            image = [f"{i}.jpg" for i in range(40)]
            parts.append(pd.DataFrame({"image": image, "model": model, "block": block, "sfd": sfd, "status": status}))
    parts.append(
        parts[0].iloc[:3].assign(block="layer5", sfd=[0.2, np.nan, np.nan], status=["ok", "no_mask", "no_mask"])
    )
    return pd.concat(parts, ignore_index=True)


def plots(figure: Figure) -> dict:
    return {axes.get_title(): axes for axes in figure.axes}


def points(axes) -> list[np.ndarray]:
    return [c.get_offsets().data for c in axes.collections if isinstance(c, PathCollection)]


def test_distributions_show_every_scored_image_and_the_mean(scores):
    figure = figures.distribution_figure(scores)
    assert list(plots(figure)) == ["layer3", "layer4", "layer5"]
    for block, axes in plots(figure).items():
        assert axes.get_xlim() == (0, 1)
        assert any(line.get_xdata() == [0.5, 0.5] for line in axes.lines)
        for y, (model, drawn) in enumerate(zip(("plain", LONG), points(axes), strict=True)):
            mine = scores[(scores["model"] == model) & (scores["block"] == block) & (scores["status"] == "ok")]["sfd"]
            np.testing.assert_allclose(np.sort(drawn[:, 0]), np.sort(mine))
            assert (np.abs(drawn[:, 1] - y) < 0.5).all()
            markers = [line for line in axes.lines if line.get_marker() == "D" and abs(line.get_ydata()[0] - y) < 0.5]
            assert [line.get_xdata()[0] for line in markers] == [pytest.approx(mine.mean())]
            assert f"{mine.mean():.2f} (n {len(mine)})" in [text.get_text() for text in axes.texts]
    summary = stats.summarize(scores)
    bars = [
        line.get_xdata() for line in figure.axes[0].lines if line.get_color() == "black" and len(line.get_xdata()) == 2
    ]
    expected = summary[summary["block"] == "layer3"][["ci_low", "ci_high"]].to_numpy()
    np.testing.assert_allclose(np.array(bars, dtype=float), expected)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names[0] == "plain"
    assert names[1].startswith("a very long")
    assert "…" in names[1]
    assert names[1].endswith(LONG[-4:])
    assert_readable(figure)


def test_the_density_of_a_distribution_is_scipys():
    from scipy.stats import gaussian_kde

    values, grid = np.random.default_rng(0).normal(size=40), np.linspace(-2, 2, 50)
    ours, theirs = distribution._density(values, grid), gaussian_kde(values)(grid)
    np.testing.assert_allclose(ours / ours.max(), theirs / theirs.max(), rtol=1e-9)


def test_a_model_without_scores_is_said_to_have_none(scores):
    nothing = scores[scores["block"] == "layer3"].assign(status="no_mask")
    figure = figures.distribution_figure(nothing)
    assert strings(figure).count("nothing scored") == 2
    assert_readable(figure)
    with pytest.raises(DasExplainError, match="no rows"):
        figures.distribution_figure(scores.iloc[:0])


def test_scatter_pairs_the_images(scores):
    shuffled = scores.sample(frac=1, random_state=0)
    figure = figures.scatter_figure(shuffled, "plain", LONG)
    comparison = stats.compare(scores).set_index("block")
    wide = scores[scores["status"] == "ok"].pivot(index="image", columns=["block", "model"], values="sfd")
    assert len(figure.axes) == 3
    written = strings(figure)
    for block in ("layer3", "layer4", "layer5"):
        row = comparison.loc[block]
        interval = f" [{row.ci_low:+.3f}, {row.ci_high:+.3f}]" if row.n > 1 else ""
        title = f"y − x {row.delta:+.3f}{interval}\nn {row.n}, y wins {row.win_rate:.0%}"
        axes = plots(figure)[title]
        expected = wide[block][["plain", LONG]].dropna().to_numpy()
        np.testing.assert_allclose(np.sort(points(axes)[0], axis=0), np.sort(expected, axis=0))
        np.testing.assert_allclose(sorted(map(tuple, points(axes)[0])), sorted(map(tuple, expected)))
        assert axes.get_xlim() == axes.get_ylim() == (-0.02, 1.02)
        box = axes.get_window_extent()
        assert box.width == pytest.approx(box.height), "a square panel, or the diagonal misleads"
        assert axes.get_xlabel() == "sfd plain"
        assert block in written
    assert figure.axes[0].get_ylabel().startswith("sfd a very long")
    assert_readable(figure)


def test_scatter_of_what_cannot_be_paired(scores):
    with pytest.raises(UsageError, match="no model is called das: the run's models are plain"):
        figures.scatter_figure(scores, "plain", "das")
    one = scores[scores["block"] == "layer4"]
    apart = one.assign(block=one["block"].where(one["model"] == "plain", "features.17"))
    with pytest.raises(UsageError, match="no block of the same name"):
        figures.scatter_figure(apart, "plain", LONG)


def test_lift_figure_shows_means_and_intervals(scores):
    hostile = HOSTILE.replace("\udc80", "")  # tables hold UTF-8 only
    nulls = pd.concat(
        [
            scores.assign(null=null, sfd=scores["sfd"] ** power)
            for null, power in (("shuffled", 1.1), ("centre", 0.9), (hostile, 1.5))
        ]
    )
    lifts = stats.lift_over_nulls(scores, nulls)
    figure = figures.lift_figure(lifts)
    assert list(plots(figure)) == ["layer3", "layer4", "layer5"]
    for block, axes in plots(figure).items():
        mine = lifts[lifts["block"] == block]
        marked = [line.get_xdata()[0] for line in axes.lines if line.get_marker() in figures.MARKERS]
        np.testing.assert_allclose(marked, mine["mean_null"])
        bars = {line.get_xdata()[0] for line in axes.lines if line.get_color() == "black"}
        assert bars == set(mine["mean"])
        whiskers = [line.get_xdata() for line in axes.lines if line.get_linewidth() == 1.2]
        np.testing.assert_allclose(whiskers, mine[["mean"]].to_numpy() - mine[["ci_high", "ci_low"]].to_numpy())
        low, high = axes.get_xlim()
        assert low <= np.nanmin([*marked, *bars, *np.ravel(whiskers)])
        assert high >= np.nanmax([*marked, *bars, *np.ravel(whiskers)])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:3] == ["the model", "shuffled", "centre"]
    assert legend[3].startswith("$\\frac")
    assert_readable(figure)


def test_many_panels_go_on_several_lines(scores):
    many = pd.concat([scores[scores["block"] == "layer3"].assign(block=f"layer{i}") for i in range(6)])
    for figure in (figures.distribution_figure(many), figures.scatter_figure(many, "plain", LONG)):
        assert len({round(axes.get_position().y0, 6) for axes in figure.axes}) == 2
        assert len({round(axes.get_position().x0, 6) for axes in figure.axes}) == 3
        assert figure.get_figwidth() <= figures.PAGE
        assert_readable(figure)


def test_any_measure_can_be_drawn(scores):
    """A long table as measures.csv; entropy has no upper bound, so that its axis follows the values."""
    from das_explain.measures import MEASURES

    long = pd.concat(
        [
            scores.rename(columns={"sfd": "value"}).assign(measure="sfd"),
            scores.rename(columns={"sfd": "value"}).assign(measure="entropy", value=scores["sfd"] * 10),
        ]
    )
    nulls = long.assign(null="centre", value=long["value"] * 0.9)
    lifts = stats.lift_over_nulls(long, nulls)
    drawn = [
        figures.distribution_figure(long, "entropy"),
        figures.scatter_figure(long, "plain", LONG, "entropy"),
        figures.lift_figure(lifts, "entropy"),
    ]
    title = MEASURES["entropy"].title
    for figure, named in zip(drawn, (title, f"{title} plain", f"mean {title}"), strict=True):
        assert named in {axes.get_xlabel() for axes in figure.axes}
        assert_readable(figure)
    values = scores.loc[(scores["block"] == "layer3") & (scores["status"] == "ok"), "sfd"] * 10
    shown = np.concatenate([each[:, 0] for each in points(drawn[0].axes[0])])
    np.testing.assert_allclose(np.sort(shown), np.sort(values))
    low, high = drawn[0].axes[0].get_xlim()
    assert low <= values.min() <= values.max() <= high
    assert not [line for line in drawn[0].axes[0].lines if list(line.get_xdata()) == [0.5, 0.5]]
    same = figures.distribution_figure(long, "sfd")
    assert same.axes[0].get_xlim() == (0, 1)


# --- save


def test_save_writes_both_files_at_the_stated_size(photo, tmp_path):
    figure = figures.heatmap_figure(photo, [HeatmapRow("狸", {"layer4": np.ones((2, 2))})], "cat")
    stem = tmp_path / "new" / "resnet.v2"
    png, pdf = figures.save(figure, stem)
    assert (png.name, pdf.name) == ("resnet.v2.png", "resnet.v2.pdf")
    with Image.open(png) as image:
        image.load()
        assert abs(image.width - figures.COLUMN * 300) <= 1
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert np.asarray(image.convert("RGB")).std() > 10
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    assert b"CreationDate" not in content
    assert b"/Type3" not in content
    again = figures.save(figure, tmp_path / "again")
    assert [path.read_bytes() for path in again] == [png.read_bytes(), content]


def test_save_names_what_it_cannot_write(photo, tmp_path):
    (tmp_path / "file").write_text("")
    figure = figures.heatmap_figure(photo, [HeatmapRow("m", {"layer4": np.ones((2, 2))})])
    with pytest.raises(DasExplainError, match=r"cannot write the figure .*file: "):
        figures.save(figure, tmp_path / "file" / "x")


def test_no_global_state_is_left(photo, scores, tmp_path):
    from matplotlib import pyplot

    before, open_before = dict(matplotlib.rcParams), pyplot.get_fignums()
    figures.save(figures.heatmap_figure(photo, [HeatmapRow("m", {"x": np.ones((2, 2))})]), tmp_path / "a")
    figures.distribution_figure(scores)
    assert pyplot.get_fignums() == open_before
    assert dict(matplotlib.rcParams) == before
