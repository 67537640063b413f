"""The figures of a run, of every kind, at the widths of a paper: what is on them, what their files are called and hold."""

from __future__ import annotations

import io
import re
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from PIL import Image

from das_explain import figures
from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence.run import ALL, Run
from das_explain.evidence.values import Key
from das_explain.figures import examples, kinds
from das_explain.figures.kinds import KINDS, FigureOptions, draw, save_figures
from das_explain.figures.strata import MOST_CLASSES
from das_explain.scoring.options import ScoreOptions
from tests.figures.readable import assert_readable, strings, texts
from tests.report.synthetic_run import Item, make_run

LABELS = ("cat", "dog", "a class of a very long name that says everything")
EVERYTHING = ScoreOptions(measures=("all",), nulls=("all",), threshold=0.4)


def items(count: int) -> list[Item]:
    return [Item(f"{i:02d}.jpg", LABELS[i % 3], "no_object" if i == 3 else "ok") for i in range(count)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.open(make_run(tmp_path_factory.mktemp("figures") / "run", items(30), options=EVERYTHING))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Run:
    names = ("$x$ v1.5", "b", "a model/with a name that is far too long for a column of a paper")
    blocks = ("layer1", "layer3", "layer4")
    folder = tmp_path_factory.mktemp("figures") / "three"
    return Run.open(make_run(folder, items(12), models=names, blocks=blocks, second_size=(64, 96)))


def only(run: Run, kind: str, options: FigureOptions = FigureOptions()):  # noqa: B008 - frozen
    ((name, figure),) = draw(run, kind, options)
    return name, figure


# --- all kinds


@pytest.mark.parametrize("width", [3.5, 7.16])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_legible_and_as_wide_as_it_is_asked_to_be(run: Run, kind: str, width: float):
    name, figure = only(run, kind, FigureOptions(width=width, images=("3",)))
    assert name == f"{kind}-plain-das"
    assert figure.get_figwidth() == pytest.approx(width)
    assert figure.get_figheight() < 9.5
    assert min(text.get_fontsize() for text in texts(figure)) >= 6
    assert_readable(figure)


@pytest.mark.parametrize("kind", KINDS)
def test_many_models_blocks_and_long_names_are_legible_too(three: Run, kind: str):
    drawn = list(draw(three, kind, FigureOptions(images=("2",))))
    assert len(drawn) == (3 if kind in ("paired", "readings", "strata") else 1)
    for _, figure in drawn:
        assert figure.get_figwidth() <= figures.PAGE
        assert_readable(figure)


def test_files_carry_the_pair_and_embed_their_fonts(run: Run, tmp_path: Path):
    made = save_figures(run, ["nulls"], tmp_path, FigureOptions(width=3.5), ("png", "pdf", "svg"))
    assert [path.name for path in made] == [f"nulls-plain-das.{suffix}" for suffix in ("png", "pdf", "svg")]
    png, pdf, svg = made
    with Image.open(png) as image:
        assert abs(image.width - 3.5 * 300) <= 1
    content = pdf.read_bytes()
    assert b"/Type3" not in content
    assert b"/FontFile2" in content
    assert b"CreationDate" not in content
    drawing = svg.read_text(encoding="utf-8")
    assert "<text" not in drawing  # letters are outlines: no reader needs the font
    assert "<dc:date>" not in drawing
    again = save_figures(run, ["nulls"], tmp_path / "again", FigureOptions(width=3.5), ("pdf", "svg"))
    assert [path.read_bytes() for path in again] == [content, svg.read_bytes()]


def test_of_three_models_each_pair_has_a_file_that_no_name_leads_out_of_the_folder(three: Run, tmp_path: Path):
    made = save_figures(three, ["paired"], tmp_path, formats=("png",))
    long = "a model-with a name that is far too long for a column of a paper"
    assert [path.name for path in made] == [
        f"paired-{pair}.png" for pair in ("$x$ v1.5-b", f"$x$ v1.5-{long}", f"b-{long}")
    ]
    assert {path.parent for path in made} == {tmp_path}
    assert only(three, "distribution")[0] == "distribution"


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("bars", {}, "--kind 'bars' is unknown; choose among grid, paired"),
        ("grid", {"colormap": "hsv"}, "--colormap 'hsv' is unknown; choose among turbo, viridis, inferno, jet"),
        ("grid", {"images": ("nope.jpg",)}, "--images nope.jpg: the run has no such image"),
        ("grid", {"images": ("0",)}, "--images 0: a sheet needs a photo"),
        ("grid", {"blocks": ("layer9",)}, "--blocks layer9: the run's blocks are layer3, layer4"),
        ("grid", {"width": 2.0}, "4 maps beside a photo have 0.3. inches each in 2: choose --width 7.16"),
        ("nulls", {"width": 1.0}, "--width is in inches, from 2 to 30, not 1"),
        ("paired", {"measure": "beauty"}, "--measure 'beauty' is unknown"),
        ("strata", {"measure": "iou"}, "--kind strata is of sfd only"),
        ("paired", {"measure": "road"}, "was scored without road: das-explain score RUN --measure road"),
        ("nulls", {"measure": "road"}, "has no nulls of road"),
    ],
)
def test_what_cannot_be_drawn_is_said(run: Run, kind: str, options: dict, message: str):
    with pytest.raises(UsageError, match=message):
        list(draw(run, kind, FigureOptions(**options)))


def test_an_unknown_format_is_a_usage_error(run: Run, tmp_path: Path):
    with pytest.raises(UsageError, match="not written as 'eps'; choose among png, pdf, svg"):
        save_figures(run, ["nulls"], tmp_path, formats=("eps",))


def test_runs_without_a_pair_or_readings_say_so(tmp_path: Path):
    one = Run.open(make_run(tmp_path / "one", items(4), models=("plain",), options=ScoreOptions(readings=False)))
    for kind in ("paired", "strata"):
        with pytest.raises(UsageError, match="compares nothing: this figure needs two models"):
            list(draw(one, kind))
    with pytest.raises(UsageError, match="scored without readings: das-explain score RUN --readings"):
        list(draw(one, "readings"))
    assert only(one, "grid", FigureOptions(images=("2",)))[0] == "grid"


@pytest.mark.parametrize("kind", ["distribution", "paired", "nulls"])
def test_other_measures_are_drawn_and_named(run: Run, kind: str):
    name, figure = only(run, kind, FigureOptions(measure="auroc"))
    assert name == f"{kind}-auroc-plain-das"
    assert any("AUROC" in text for text in strings(figure))


# --- grid


def frame_of(run: Run, image: str) -> tuple[np.ndarray, dict[Key, np.ndarray]]:
    for evidence in run.evidence(ALL):
        for row, at in enumerate(evidence.shown):
            if evidence.photos[at].image == image:
                (files,) = evidence.frames.values()
                frame = np.asarray(Image.open(io.BytesIO(files[row])).convert("RGB"))
                return frame, {key: maps.native[row] for key, maps in evidence.maps.items()}
    raise AssertionError(image)


@pytest.mark.parametrize("colours", ["turbo", "viridis", "inferno", "jet"])
def test_a_grid_has_every_photo_by_every_block_and_model(run: Run, colours: str):
    names = ("07.jpg", "02.jpg") if colours == "turbo" else ("07.jpg",)
    _, figure = only(run, "grid", FigureOptions(images=names, colormap=colours))
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == len(names) * (1 + 2 * 2)
    written = texts(figure)
    table = np.rint(255 * figures.colormap(colours)(np.arange(256))[:, :3]).astype(np.uint8)
    scores = run.table("scores").set_index(["image", "block", "model"])
    at = iter(panels)
    for name in names:
        frame, maps = frame_of(run, name)
        np.testing.assert_array_equal(next(at).images[0].get_array(), frame)
        for block in ("layer3", "layer4"):  # as in the paper: the models side by side, block by block
            for model in ("plain", "das"):
                panel = next(at)
                expected = figures.overlay(frame, maps[Key(model, block)], colours=table)
                np.testing.assert_array_equal(panel.images[0].get_array(), expected)
                row = scores.loc[(name, block, model)]
                (below,) = (text for text in written if _is_below(text, panel))
                assert below.get_text() == f"sfd {row.sfd:.2f}"
                assert [patch.get_width() for patch in panel.patches] == pytest.approx([row.b_x1 - row.b_x0] * 2, abs=1)
    assert strings(figure).count("layer3") == 1
    assert strings(figure).count("das") == 2


def _is_below(text, panel) -> bool:
    box, under = text.get_window_extent(), panel.get_window_extent()
    return under.x0 - 2 <= box.x0 and box.x1 <= under.x1 + 2 and 0 <= under.y0 - box.y1 < 30


def test_turbo_is_the_scale_of_the_reports_and_the_others_are_matplotlibs():
    assert figures.colormap("turbo") is figures.HEAT
    for name in ("viridis", "inferno", "jet"):
        assert figures.colormap(name) == matplotlib.colormaps[name]


def test_an_image_without_a_region_is_shown_with_its_status(run: Run):
    _, figure = only(run, "grid", FigureOptions(images=("03.jpg",), blocks=("layer4",)))
    assert strings(figure).count("no_object") == 2
    assert not any(axes.patches for axes in figure.axes if axes.images)


def test_models_of_other_frames_are_shown_on_their_own(three: Run):
    _, figure = only(three, "grid", FigureOptions(images=("04.jpg",)))
    shapes = [axes.images[0].get_array().shape for axes in figure.axes if axes.images]
    assert shapes == [(64, 64, 3), *([(64, 64, 3), (64, 64, 3), (64, 96, 3)] * 3)]


def test_an_image_that_no_model_was_shown_cannot_be_drawn(tmp_path: Path):
    run = Run.open(make_run(tmp_path / "run", [Item("a.jpg"), Item("b.jpg", None, "unreadable", "broken")]))
    with pytest.raises(DasExplainError, match=r"b.jpg has no maps: no model was shown it"):
        list(draw(run, "grid", FigureOptions(images=("b.jpg",))))


def test_photos_that_stand_for_all_are_spread_over_the_ranks_of_the_difference():
    differences = np.array([5, 1, 3, 9, 7, 2, 8, 4, 6, 0]) / 10
    scores = pd.DataFrame(
        {
            "image": [f"{10 * value:.0f}" for value in differences] * 2,
            "model": ["a"] * 10 + ["b"] * 10,
            "block": "x",
            "sfd": [0.05] * 10 + [*(0.05 + differences)],
            "status": ["ok"] * 20,
        }
    )
    columns = {"x": ["a", "b"]}
    assert examples.representative(scores, columns, 2) == ["7", "2"]  # the middles of both halves
    assert examples.representative(scores, columns, 10) == [str(value) for value in range(9, -1, -1)]
    assert examples.representative(scores, columns, 99) == examples.representative(scores, columns, 10)
    one = scores[scores["model"] == "b"]
    assert examples.representative(one, {"x": ["b"]}, 2) == ["7", "2"]
    with pytest.raises(UsageError, match="no image is scored"):
        examples.representative(scores.assign(status="zero_cam"), columns, 2)


# --- readings


def test_the_curve_has_every_reading_in_order_and_marks_the_runs_own(run: Run):
    _, figure = only(run, "readings")
    readings, panels = run.table("readings"), [axes for axes in figure.axes if not axes.images]
    for axes, block in zip(panels, ("layer3", "layer4"), strict=True):
        mine = readings[(readings["block"] == block) & readings["delta"].notna()]
        curve = next(line for line in axes.lines if len(line.get_ydata()) == len(mine))
        np.testing.assert_allclose(curve.get_ydata(), np.sort(mine["delta"]))
        (diamond,) = (line for line in axes.lines if line.get_marker() == "D")
        own = mine[
            (mine["scaling"] == "antilog") & (mine["threshold"] == 0.4) & (mine["box"] == "rect")
            & (mine["region"] == "as is") & (mine["zero_cam"] == "out") & (mine["no_background"] == "1")
        ]  # fmt: skip
        assert list(diamond.get_ydata()) == pytest.approx(own["delta"].tolist())
        numbers = [int(number) for number in re.findall(r"\d+", axes.get_title())]
        (sentence,) = (each for each in run.manifest["verdicts"] if f"at {block} " in each)
        assert numbers == [int(number) for number in re.findall(r"\d+", sentence.split(block)[1])]
    bold = [text.get_text() for text in texts(figure) if text.get_fontweight() == "bold"]
    assert bold == ["antilog", "tau 0.4", "B rect", "R as is", "zero_cam out", "no_background 1"]


def test_a_mark_says_how_many_of_the_readings_under_it_make_a_choice(run: Run):
    _, figure = only(run, "readings", FigureOptions(width=7.16))
    curves, choices = ([axes for axes in figure.axes if bool(axes.images) == drawn] for drawn in (False, True))
    readings = run.table("readings")
    readings = readings[(readings["block"] == "layer4") & readings["delta"].notna()].sort_values("delta", kind="stable")
    shares = (1 - np.asarray(choices[1].images[0].get_array())) / 0.85
    assert len(shares) == 4 + 6 + 3 + 3 + 2 + 2
    starts = np.arange(shares.shape[1]) * len(readings) // shares.shape[1]
    parts = np.split((readings["scaling"] == "linear").to_numpy(dtype=float), starts[1:])
    np.testing.assert_allclose(shares[3], [part.mean() for part in parts], atol=1e-6)
    np.testing.assert_allclose(shares[:4].sum(axis=0), 1, atol=1e-6)
    assert len(curves) == 2


def test_readings_that_agree_on_nothing_have_no_figure(run: Run):
    readings = run.table("readings").assign(delta=np.nan)
    with pytest.raises(UsageError, match="no readings of the difference between plain and das"):
        figures.readings_figure(readings, "plain", "das")


# --- strata


def test_strata_show_each_difference_with_its_interval_and_what_is_significant(run: Run):
    strata = run.table("strata").copy()
    chosen = strata.index[(strata["block"] == "layer3") & (strata["stratum"] == "small")]
    strata.loc[chosen, "p_adjusted"] = 0.01
    strata.loc[strata.index.difference(chosen), "p_adjusted"] = 0.5
    figure = figures.strata_figure(strata, run.table("comparison").assign(p_adjusted=1.0), "plain", "das")
    for axes, block in zip(figure.axes, ("layer3", "layer4"), strict=True):
        mine = strata[strata["block"] == block]
        overall = run.table("comparison").query("block == @block")
        marked = [line for line in axes.lines if line.get_marker() == "o"]
        np.testing.assert_allclose(
            [line.get_xdata()[0] for line in marked], [*overall["delta"], *mine["delta"]], rtol=1e-5
        )
        bars = [line.get_xdata() for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 2]
        ends = pd.concat([overall, mine])[["ci_low", "ci_high"]].dropna().to_numpy()
        np.testing.assert_allclose(bars, ends, rtol=1e-5)
        filled = [line.get_xdata()[0] for line in marked if line.get_markerfacecolor() == line.get_color()]
        assert filled == pytest.approx(strata.loc[chosen, "delta"].tolist() if block == "layer3" else [])
    assert {"prediction", "object's area", "object's place", "class", "all images", "cat", "dog"} <= set(
        strings(figure)
    )


@pytest.mark.parametrize("width", [None, 3.5])
@pytest.mark.parametrize(("low", "high"), [(-0.06, 0.01), (-0.013, 0.094), (0.02, 0.031), (-0.21, 0.19), (-0.5, -0.02)])
def test_every_panel_of_strata_has_a_scale(run: Run, low: float, high: float, width: float | None):
    ends = {"ci_low": low, "ci_high": high, "delta": (low + high) / 2}
    tables = (run.table("strata").assign(**ends), run.table("comparison").assign(**ends))
    figure = figures.strata_figure(*tables, "plain", "das", width=width)
    figure.canvas.draw()
    for axes in figure.axes:
        least, most = axes.get_xlim()
        assert sum(least <= tick <= most for tick in axes.get_xticks()) >= 2, axes.get_xticks()


def test_of_many_classes_those_with_the_most_images_are_shown_and_the_heading_says_so(run: Run):
    strata = run.table("strata")
    row = strata[strata["family"] == "class"].iloc[:1]
    many = pd.concat([row.assign(stratum=f"class {i:02d}", n=100 - i if i % 2 else i) for i in range(40)])
    figure = figures.strata_figure(many, run.table("comparison"), "plain", "das")
    shown = [text for text in strings(figure) if re.fullmatch(r"class \d\d", text)]
    assert shown == [f"class {i:02d}" for i in range(1, 2 * MOST_CLASSES, 2)]
    assert f"class, {MOST_CLASSES} of 40" in strings(figure)
    with pytest.raises(UsageError, match="no strata of the difference between das and plain"):
        figures.strata_figure(many, run.table("comparison"), "das", "plain")


def test_points_of_the_paired_figure_are_the_runs_scores(run: Run):
    _, figure = only(run, "paired")
    scores = run.table("scores").query("status == 'ok' and block == 'layer3'")
    wide = scores.astype({"model": str}).pivot(index="image", columns="model", values="sfd")
    (drawn,) = (c.get_offsets().data for c in figure.axes[0].collections if isinstance(c, PathCollection))
    np.testing.assert_allclose(
        sorted(map(tuple, drawn)), sorted(map(tuple, wide[["plain", "das"]].dropna().to_numpy()))
    )


def test_every_kind_that_takes_a_measure_is_a_kind():
    assert set(kinds.OF_ANY_MEASURE) < set(KINDS)
