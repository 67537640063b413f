"""What all figures share: sizes, colours, panels, and how a figure is written.

Every figure is a `matplotlib.figure.Figure` of one or two paper columns' width (3.5 or 7.16 inches, text 6 to 8 points)
that touches no pyplot state; `save` writes it as PNG (300 dpi), PDF or SVG. Names from data (classes, models, files) are
shown as they are: no mathtext, control characters escaped, the middle of too long ones cut out. Lines and points use the
colour-blind-safe palette of Okabe and Ito; maps run from blue (0) to red (1), or in another of ``COLORMAPS``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from das_explain.cam import colours
from das_explain.errors import DasExplainError, UsageError
from das_explain.figures.lettering import fit, inches, plain
from das_explain.files import replace_file
from das_explain.measures import MEASURES

COLUMN, PAGE = 3.5, 7.16  # inches: one column, two columns
DPI = 300
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P")
HEAT = ListedColormap(colours.HEAT / 255, "heat")
COLORMAPS = ("turbo", "viridis", "inferno", "jet")
FORMATS = ("png", "pdf", "svg")
PANEL = 1.7  # inches of a page that a panel needs at least, if its text shall be legible
SMALL, TEXT = 6.0, 7.0  # points
GREY = "#666666"
MANY = 1000  # points from which on they are drawn as pixels inside the vector file
HALO = [withStroke(linewidth=1.8, foreground="black")]
CLEAR = [withStroke(linewidth=1.5, foreground="white")]
DASHES = (
    ("black", 1.8, "-"),
    ("white", 0.9, (0, (3, 2))),
)  # a dashed line that shows on any ground: colour, points, style


def save(figure: Figure, stem: str | Path, formats: Sequence[str] = ("png", "pdf")) -> list[Path]:
    """Write ``stem.png`` (300 dpi), ``stem.pdf`` (vectors, embedded Type 42 fonts) and ``stem.svg`` (letters as outlines),
    those of ``formats``; none has a time stamp. Returns the paths."""
    stem = Path(stem)
    how: dict[str, dict[str, Any]] = {
        "png": {"pil_kwargs": {"compress_level": 3}},
        "pdf": {"metadata": {"CreationDate": None}},
        "svg": {"metadata": {"Date": None}},
    }
    if unknown := [kind for kind in formats if kind not in how]:
        raise UsageError(f"figures are not written as {unknown[0]!r}; choose among {', '.join(FORMATS)}")
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in formats]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        fonts = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "das-explain"}
        with matplotlib.rc_context(fonts), _without_layout_tables(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box is drawn in its place
            for path, kind in zip(paths, formats, strict=True):
                settings = {"dpi": DPI, "format": kind, **how[kind]}
                replace_file(path, lambda part, settings=settings: figure.savefig(part, **settings))
    except OSError as error:
        raise DasExplainError(
            f"cannot write the figure {error.filename or stem}: {error.strerror or error}; choose another --out"
        ) from None
    return paths


@contextmanager
def _without_layout_tables() -> Iterator[None]:
    """Leaves out of the fonts in a PDF what says how letters are set, since they are set already: to read these tables
    and cut them to the letters that are used takes longer than to draw a figure."""
    from fontTools import subset

    load = subset.load_font

    def load_letters(*args: Any, **kwargs: Any) -> Any:
        font = load(*args, **kwargs)
        for table in {"GDEF", "GPOS", "GSUB", "MATH"} & set(font.keys()):
            del font[table]
        return font

    subset.load_font = load_letters
    try:
        yield
    finally:
        subset.load_font = load


def colormap(name: str) -> Colormap:
    """One of ``COLORMAPS``; ``turbo`` is the one of reports, whose ends are cut. Raises UsageError for any other."""
    if name not in COLORMAPS:
        raise UsageError(f"--colormap {name!r} is unknown; choose among {', '.join(COLORMAPS)}")
    return HEAT if name == "turbo" else matplotlib.colormaps[name]


def block_panels(
    blocks: list[str], models: list[str], row_inches: float, legend: float = 0.0, width: float | None = None
) -> tuple[Figure, list[Axes]]:
    """One panel per block, titled; models from top to bottom at y = 0, 1, ..., named at the left.

    ``legend``: inches that are left free at the bottom; ``width``: of the page, as in `grid`.
    """
    if not blocks:
        raise DasExplainError("there is nothing to draw: the table has no rows")
    lines, columns, page = grid(len(blocks), width)
    names = [fit(model, 0.3 * COLUMN, TEXT) for model in models]
    left = max(inches(name, TEXT) for name in names) + 0.1
    right, gap, above, below = 0.1, 0.14, 0.2, 0.34
    wide = (page - left - right - (columns - 1) * gap) / columns
    high = row_inches * len(models)
    total = lines * (high + above + below) + legend
    figure, panels = Figure(figsize=(page, total), dpi=DPI), []
    for index, block in enumerate(blocks):
        line, column = divmod(index, columns)
        x, y = left + column * (wide + gap), total - line * (high + above + below) - above - high
        panel = figure.add_axes((x / page, y / total, wide / page, high / total))
        panel.set_title(fit(block, wide, TEXT), size=TEXT, pad=3, **plain())
        panel.set_ylim(len(models) - 0.5, -0.55)
        tidy(panel)
        panel.tick_params(axis="y", length=0)
        panel.set_yticks(range(len(models)), names if column == 0 else [""] * len(names), size=TEXT, **plain())
        panels.append(panel)
    return figure, panels


def grid(panels: int, width: float | None = None) -> tuple[int, int, float]:
    """Lines and columns for so many panels, at most four a line, and the figure's width in inches: that asked for, else a
    column of a paper for up to two panels a line, else its page."""
    most = 4 if width is None else max(1, min(4, int(width / PANEL)))
    lines = -(-panels // most)
    columns = -(-panels // lines)
    return lines, columns, width or (COLUMN if columns <= 2 else PAGE)


def tidy(panel: Axes) -> None:
    panel.tick_params(labelsize=SMALL, length=2, width=0.5, pad=1.5)
    for side, spine in panel.spines.items():
        spine.set(linewidth=0.5, visible=side in ("left", "bottom"))


def title_of(measure: str) -> str:
    """What a measure is called on an axis."""
    return MEASURES[measure].title if measure in MEASURES else measure


def range_of(measure: str, values: np.ndarray) -> tuple[float, float]:
    """From where to where an axis of a measure runs: its bounds, where they are finite, else around the values."""
    low, high = MEASURES[measure].bounds if measure in MEASURES else (-np.inf, np.inf)
    values = values[np.isfinite(values)]
    least, most = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    margin = 0.05 * (most - least) or 0.5
    return low if np.isfinite(low) else least - margin, high if np.isfinite(high) else most + margin


def value_ticks(panel: Axes, low: float, high: float, *, across: bool = True, named: bool = True) -> None:
    """Few ticks along an axis from ``low`` to ``high``: its ends and its middle where it runs from 0 to 1."""
    axis = panel.xaxis if across else panel.yaxis
    if (low, high) == (0, 1):
        axis.set_ticks([0, 0.5, 1], ["0", "0.5", "1"] if named else [""] * 3)
    else:
        axis.set_major_locator(MaxNLocator(4, prune="both"))
        axis.set_tick_params(labelleft=named, labelbottom=named)


def show_photo(panel: Axes, pixels: np.ndarray, mask: np.ndarray | None, weight: float = 1.0) -> None:
    """A frame uint8 (H, W, 3) with the outline of a mask bool (H, W); ``weight`` scales its line."""
    height, width = pixels.shape[:2]
    panel.imshow(pixels, interpolation="lanczos" if max(height, width) < 400 else "antialiased")
    frame_panel(panel, height, width, mask, weight)


def frame_panel(panel: Axes, height: int, width: int, mask: np.ndarray | None, weight: float = 1.0) -> None:
    """The axes of a frame of so many pixels, without ticks, and the outline of a mask bool (height, width) in it."""
    if mask is not None and mask.any():
        framed = np.pad(mask.astype(float), 1)  # so that an object at the frame's edge is outlined there, too
        lines = panel.contour(
            np.arange(-1, width + 1),
            np.arange(-1, height + 1),
            framed,
            levels=[0.5],
            colors="white",
            linewidths=0.9 * weight,
        )
        lines.set_path_effects([withStroke(linewidth=1.8 * weight, foreground="black")])
    panel.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[], anchor="NW")
    for spine in panel.spines.values():
        spine.set_visible(False)


def draw_box(panel: Axes, box: Sequence[float], weight: float = 1.0) -> None:
    """Region B, xyxy exclusive, dashed, and kept wholly inside the frame, whose edge would cut off half the line."""
    (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
    inset = 0.006 * max(right - left, bottom - top)
    x0, x1 = np.clip(np.array([box[0], box[2]]) - 0.5, left + inset, right - inset)
    y0, y1 = np.clip(np.array([box[1], box[3]]) - 0.5, top + inset, bottom - inset)
    for colour, width, style in DASHES:
        look = {"edgecolor": colour, "lw": width * weight, "linestyle": style}
        panel.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, **look))


def region_keys(outlined: bool, boxed: bool) -> dict[str, Any]:
    """What the lines in a frame mean, for a legend: R if it is outlined, B if boxes are drawn."""
    outline = Line2D([], [], color="white", linewidth=0.9, path_effects=HALO)
    dashes = tuple(Line2D([], [], color=colour, linewidth=width, linestyle=style) for colour, width, style in DASHES)
    keys: dict[str, Any] = {"R, object": outline} if outlined else {}
    return keys | ({"B, scored region": dashes} if boxed else {})
